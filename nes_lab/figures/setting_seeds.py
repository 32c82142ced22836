"""Draw the result of every seed of some settings, with the mean and the spread of each setting.

Tests: tests/figures/test_pictures.py
"""

from __future__ import annotations

from collections import Counter

import plotly.graph_objects as go

from nes_lab.figures.theme import method_style, new_figure, plain
from nes_lab.runs.compare_settings import SettingComparison
from nes_lab.runs.measures import RESULTS

__all__ = ["setting_seeds"]


def setting_seeds(comparison: SettingComparison) -> go.Figure:
    """Draw one row per setting: a dot for each seed, and the mean with the standard deviation over seeds.

    Args:
        comparison: What :func:`nes_lab.compare_settings` returns.

    Returns:
        A figure. Settings have the color of their method. The best setting is at the top.

    Examples:
        >>> import nes_lab
        >>> rows = [{"routing": r, "setting": r, "seed": s, "madds": 10, "top1": 90.0 + s} for r in ("free", "tiled") for s in (0, 1)]
        >>> figure = nes_lab.figures.setting_seeds(nes_lab.compare_settings(rows))
        >>> sorted(figure.data[0].x), figure.data[1].x[0]
        ([90.0, 91.0], 90.5)
    """
    measure = RESULTS[comparison.result]
    sign = 1 if measure.lower_is_better else -1
    settings = sorted(comparison.settings, key=lambda entry: sign * entry.result)
    repeated = Counter(entry.method for entry in settings)
    names = [plain(entry.method if repeated[entry.method] == 1 else entry.name) for entry in settings]
    figure = new_figure(
        f"{measure.name} of {len(settings)} settings, each with the results of its seeds.",
        title={
            "text": f"{measure.name.capitalize()} of each seed",
            "subtitle": {"text": "a dot: one seed<br>the diamond and its bar: mean and standard deviation"},
        },
        margin_t=84,
        height=190 + 46 * len(settings),
        showlegend=False,
    )
    for name, entry in zip(names, settings, strict=True):
        color = method_style(entry.method).color
        figure.add_scatter(
            x=[seed.result for seed in entry.seeds],
            y=[name] * entry.n,
            text=[f"seed {seed.seed}" for seed in entry.seeds],
            mode="markers",
            marker={"color": color, "size": 8, "opacity": 0.55},
            hovertemplate="%{text}: %{x:.2f}<extra></extra>",
        )
        figure.add_scatter(
            x=[entry.result],
            y=[name],
            error_x={"type": "data", "array": [entry.spread or 0], "thickness": 1.5, "width": 6},
            mode="markers",
            marker={"color": color, "symbol": "diamond", "size": 12, "line": {"width": 1}},
            hovertemplate="mean %{x:.2f}<extra></extra>",
        )
    figure.update_xaxes(title_text=measure.title)
    figure.update_yaxes(title_text="setting", autorange="reversed")
    return figure
