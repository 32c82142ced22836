"""Draw how fast the answers of two networks fall and rise when the most important parts of their inputs are deleted or inserted first.

Tests: tests/figures/test_attributions.py
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import plotly.graph_objects as go

from nes_lab.errors import OptionError
from nes_lab.figures.theme import new_figure, plain, series_style, title_at_top

__all__ = ["curve_data", "deletion_curves"]

_HALVES = ("deletion", "insertion")


def curve_data(curves: Any) -> dict[str, list[Any]]:
    """Return the curves of :func:`nes_lab.attribution.score_curves` as data for JSON: ``shares``, ``deletion`` and ``insertion``."""
    return {name: np.asarray(getattr(curves, name)).round(4).tolist() for name in ("shares", *_HALVES)}


def deletion_curves(curves: Mapping[str, Any], title: str = "Does the answer depend on it?") -> go.Figure:
    """Draw the mean probability of the explained class while parts of the inputs are deleted (left) or inserted (right).

    A map is right about its network if the left curve falls fast and the right one rises fast.

    Args:
        curves: Name of each network -> what :func:`nes_lab.attribution.score_curves` returned, or its :func:`curve_data`.
        title: Title of the figure.

    Raises:
        OptionError: If there are no curves.

    Examples:
        >>> import nes_lab
        >>> curves = {"shares": [0, 1], "deletion": [[0.9, 0.1]], "insertion": [[0.1, 0.9]]}
        >>> len(nes_lab.figures.deletion_curves({"dense": curves}).data)
        2
    """
    if not curves:
        raise OptionError("curves is empty; give the curves of at least one network")
    data = {name: found if isinstance(found, Mapping) else curve_data(found) for name, found in curves.items()}
    areas = {name: [_area(found, half) for half in _HALVES] for name, found in data.items()}
    told = "; ".join(f"{name}: {low:.2f} and {high:.2f}" for name, (low, high) in areas.items())
    figure = new_figure(
        f"{title} Mean area under the curves of deletion and insertion: {told}.",
        title=title_at_top(plain(title), "mean probability of the explained class"),
        height=320,
        margin={"t": 84, "b": 84, "l": 52, "r": 16},
        legend={"y": -0.3},
    )
    for number, (name, found) in enumerate(data.items()):
        style = series_style(number)
        for half, axis in zip(_HALVES, ("", "2"), strict=True):
            figure.add_scatter(
                x=[100 * share for share in found["shares"]],
                y=np.mean(found[half], axis=0),
                mode="lines+markers",
                line={"color": style.color, "dash": style.dash},
                marker={"symbol": style.symbol, "size": 5},
                name=plain(name),
                legendgroup=name,
                showlegend=half == _HALVES[0],
                xaxis=f"x{axis}",
                yaxis="y",
                hovertemplate=f"{plain(name)}<br>%{{x:.0f}} % {half[:-3]}ed: %{{y:.2f}}<extra></extra>",
            )
    figure.update_layout(
        xaxis={"domain": [0, 0.45], "title": {"text": "% deleted"}, "range": [0, 100], "tickvals": [0, 50, 100]},
        xaxis2={"domain": [0.55, 1], "title": {"text": "% inserted"}, "range": [0, 100], "tickvals": [0, 50, 100]},
        yaxis={"title": {"text": "probability"}, "range": [0, 1.02]},
    )
    return figure


def _area(found: Mapping[str, Any], half: str) -> float:
    return float(np.trapezoid(np.mean(found[half], axis=0), found["shares"]))
