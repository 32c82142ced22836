"""Draw how the measured time of layers follows their multiply-adds, both as shares of the dense layer.

Tests: tests/figures/test_by_hand.py
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import plotly.graph_objects as go

from nes_lab.errors import OptionError
from nes_lab.figures.theme import REPORTED, legend_below, new_figure, plain, series_style, share_ticks
from nes_lab.text import format_number, format_share

if TYPE_CHECKING:
    from nes_lab.records.cost_report import CostReport, LatencyReport

__all__ = ["time_against_madds"]


def time_against_madds(
    costs: Mapping[str, Mapping[str, CostReport]],
    times: Mapping[str, Mapping[str, LatencyReport]],
    dense: str = "dense",
) -> go.Figure:
    """Draw the time of layers or networks against their multiply-adds. Both are shares of those of the dense form.

    Args:
        costs: Name of a layer -> name of each way to compute it, such as its execution plan -> the report of :func:`nes_lab.count`.
        times: The same names -> the reports of :func:`nes_lab.measure_latency`.
        dense: Name of the way that the others are compared with.

    Returns:
        A figure with a line for each layer and a marker for each way to compute it. On the diagonal, the time falls as the
        multiply-adds do. On the dotted line and above it, the layer is not faster than the dense one.

    Raises:
        OptionError: If ``costs`` is empty, or a layer lacks the dense form or one of its times.

    Examples:
        >>> import torch, nes_lab
        >>> layers = {"dense": torch.nn.Linear(64, 64), "small": torch.nn.Linear(64, 32)}
        >>> x = torch.zeros(8, 64)
        >>> costs = {name: nes_lab.count(layer, x) for name, layer in layers.items()}
        >>> times = nes_lab.measure_latency(layers, x, pairs=5)
        >>> figure = nes_lab.figures.time_against_madds({"64 to 64": costs}, {"64 to 64": times})
        >>> [float(x) for x in figure.data[0].x], figure.data[0].text
        ([1.0, 0.5], ('dense', 'small'))
    """
    if not costs:
        raise OptionError("costs is empty; give the cost reports of at least one layer")
    for layer, ways in costs.items():
        missing = {dense, *ways} - set(times.get(layer, {})) | ({dense} - set(ways))
        if missing:
            raise OptionError(f"layer {layer!r} has no cost or no time of {', '.join(sorted(missing))}")
    measured = next(iter(next(iter(times.values())).values()))
    where = f"{measured.device}, {measured.threads} thread{'' if measured.threads == 1 else 's'}, {measured.dtype}"
    ways = list(dict.fromkeys(way for found in costs.values() for way in (dense, *found)))
    figure = new_figure(
        f"Time of {len(costs)} layers against their multiply-adds, as shares of the dense layer's.",
        title={"text": "Does the time follow the multiply-adds?", "subtitle": {"text": f"measured here: {where}"}},
    )
    for place, (layer, found) in enumerate(costs.items()):
        _add_layer(figure, layer, place, found, times[layer], ways)
    top = 1.1 * max(max(trace.y) for trace in figure.data)
    for place, way in enumerate(ways):
        marker = {"color": REPORTED, "symbol": series_style(place).symbol, "size": 10}
        figure.add_scatter(x=[None], y=[None], mode="markers", marker=marker, name=plain(way))
    line = {"color": REPORTED, "width": 1}
    figure.add_scatter(x=[0, 1], y=[0, 1], mode="lines", line=line, name="time falls as the MAdds do", hoverinfo="skip")
    line = {"color": REPORTED, "width": 1.5, "dash": "dot"}
    figure.add_scatter(x=[0, 1.1], y=[1, 1], mode="lines", line=line, name="as slow as dense", hoverinfo="skip")
    most = max(1.1, *(1.05 * max(trace.x) for trace in figure.data[: len(costs)]))
    figure.update_xaxes(title_text="MAdds (share of dense)", range=[0, most], **share_ticks(most))
    figure.update_yaxes(title_text="time (share of dense)", range=[0, top], **share_ticks(top))
    legend_below(figure, 430, len(list(figure.data)))
    return figure


def _add_layer(
    figure: go.Figure,
    layer: str,
    place: int,
    costs: Mapping[str, CostReport],
    times: Mapping[str, LatencyReport],
    ways: list[str],
) -> None:
    full, base = costs[ways[0]], times[ways[0]]
    shown = sorted((way for way in ways if way in costs), key=lambda way: (-costs[way].madds, ways.index(way)))
    style = series_style(place)
    figure.add_scatter(
        x=[costs[way].madds / full.madds for way in shown],
        y=[times[way].median_ms / base.median_ms for way in shown],
        text=[plain(way) for way in shown],
        customdata=[
            [
                f"{format_number(costs[way].madds)} MAdds ({format_share(costs[way].madds, full.madds, 0)})",
                f"{times[way].median_ms:.3f} ms ({format_share(times[way].median_ms, base.median_ms, 0)})",
            ]
            for way in shown
        ],
        mode="lines+markers",
        line={"color": style.color, "dash": style.dash, "width": 1.5},
        marker={"color": style.color, "symbol": [series_style(ways.index(way)).symbol for way in shown], "size": 10},
        name=plain(layer),
        hovertemplate="%{fullData.name}, %{text}<br>%{customdata[0]}<br>%{customdata[1]}<extra></extra>",
    )
