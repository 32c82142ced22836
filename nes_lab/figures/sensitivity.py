"""Draw how much the loss grows when each layer is shrunk, and how much a compression plan shrinks each layer.

Tests: tests/figures/test_pictures.py
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go

from nes_lab.errors import OptionError
from nes_lab.figures.theme import COUNTS, OKABE_ITO, heat_colorbar, legend_below, new_figure, plain
from nes_lab.text import format_percent, format_shape, shorten_name

if TYPE_CHECKING:
    from nes_lab.records.compression_plan import CompressionPlan
    from nes_lab.records.sensitivity_report import LayerSensitivity, SensitivityReport

__all__ = ["sensitivity"]

_SHARES = tuple(round(1 - 0.05 * i, 2) for i in range(20))
"""Shares of cells kept, from all to a twentieth: the columns of the heatmap."""
_TITLES = {"loss": "increase of the loss", "residual": "−log of the energy kept"}


def sensitivity(report: SensitivityReport, plan: CompressionPlan | None = None) -> go.Figure:
    """Draw how much the loss grows when each layer gets a smaller epitome.

    The size of an epitome is given in percent of the layer's weight. If no loss was measured, the figure shows instead
    how badly an epitome of that size matches the weight.

    Args:
        report: The measurements that :func:`nes_lab.measure_sensitivity` returns.
        plan: Compression plan. A marker shows the size of each layer's epitome in the plan. A dense layer has 100 %.
            None draws no markers.

    Returns:
        A heatmap with one row per layer in module order. Small dots mark the measured sizes. Values between them are
        interpolated.

    Raises:
        OptionError: If the report has no layer, or the plan belongs to another model.

    Examples:
        >>> import torch, nes_lab
        >>> network = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.Linear(64, 4))
        >>> plan = nes_lab.plan_for_budget(network, nes_lab.Budget(params="60%"), torch.zeros(1, 64))
        >>> report = nes_lab.measure_sensitivity(network, torch.zeros(1, 64))
        >>> nes_lab.figures.sensitivity(report, plan).layout.title.text
        'What shrinking each layer costs'
    """
    if not report.layers:
        raise OptionError("report has no layer; give a report with at least one measured layer")
    names = [layer.name for layer in report.layers]
    by = report.measured_by
    rows = [[layer.cost(share, by) for share in _SHARES] for layer in report.layers]
    bound = _robust([value for row in rows for value in row])
    note = _note(report)
    figure = new_figure(
        f"Heatmap of the cost of shrinking {len(names)} layers, one at a time, against the share of cells kept; {note}.",
        title={"text": "What shrinking each layer costs", "subtitle": {"text": note}},
        margin_t=84,
    )
    figure.add_heatmap(
        x=[100 * share for share in _SHARES],
        y=list(range(len(names))),
        z=rows,
        zmin=0,
        zmax=bound,
        colorscale=COUNTS,
        colorbar=heat_colorbar(_TITLES[by]),
        customdata=[[plain(name)] * len(_SHARES) for name in names],
        hovertemplate="<b>%{customdata}</b><br>%{x:.0f} % of its cells<br>" + _TITLES[by] + " %{z:.3g}<extra></extra>",
    )
    _add_measured(figure, report.layers, by)
    if plan is not None:
        _add_plan(figure, names, plan)
    legend_below(figure, 150 + 20 * max(len(names), 4), entries=1 if plan is None else 2)
    figure.update_xaxes(title_text="cells kept (% of the weight)", range=[103, -2], showgrid=False, zeroline=False)
    figure.update_yaxes(
        title_text="layer",
        range=[len(names) - 0.4, -0.6],
        zeroline=False,
        tickvals=list(range(len(names))),
        ticktext=[plain(shorten_name(name)) for name in names],
        tickfont_size=11,
        showgrid=False,
    )
    return figure


def _add_measured(figure: go.Figure, layers: Sequence[LayerSensitivity], by: str) -> None:
    points = [(100 * p.ratio, row, layer, p) for row, layer in enumerate(layers) for p in layer.points]
    figure.add_scatter(
        x=[x for x, *_ in points],
        y=[row for _, row, *_ in points],
        mode="markers",
        name="measured",
        marker={"symbol": "circle", "size": 4, "color": "#FFFFFF", "line": {"color": "#1F2430", "width": 0.8}},
        text=[_hover(layer, point, by) for _, _, layer, point in points],
        hovertemplate="%{text}<extra></extra>",
    )


def _hover(layer: LayerSensitivity, point: Any, by: str) -> str:
    parts = [f"<b>{plain(layer.name)}</b>", "epitome " + format_shape(point.epitome_shape)]
    parts.append(f"residual {point.residual:.3f}")
    if by == "loss":
        parts.append(f"loss {point.loss_increase:+.4g}")
    return "<br>".join(parts)


def _add_plan(figure: go.Figure, names: Sequence[str], plan: CompressionPlan) -> None:
    known = {**plan.layers, **plan.kept_layers}
    missing = next((name for name in names if name not in known), None)
    if missing is not None:
        raise OptionError(f"plan has no layer {missing!r}, but the report has; give a plan for the same model")
    kept = [_share(plan, name) for name in names]
    figure.add_scatter(
        x=kept,
        y=list(range(len(names))),
        mode="markers",
        name="chosen",
        marker={"symbol": "diamond", "size": 9, "color": OKABE_ITO[1], "line": {"color": "#FFFFFF", "width": 1}},
        text=[
            f"<b>{plain(name)}</b><br>chosen: {format_percent(share)} of its cells"
            for name, share in zip(names, kept, strict=True)
        ],
        hovertemplate="%{text}<extra></extra>",
    )


def _share(plan: CompressionPlan, name: str) -> float:
    layer = plan.layers.get(name)
    return 100.0 if layer is None else 100 * prod(layer.epitome_shape) / prod(layer.weight_shape)


def _note(report: SensitivityReport) -> str:
    if report.dense_loss is None:
        return "measured by the residual of the closest epitome"
    return f"measured by the loss on {report.samples:,} samples; the dense model has {report.dense_loss:.3g}"


def _robust(values: Sequence[float]) -> float:
    """Return the 97th percentile of the values, as the upper end of a color scale."""
    # The percentile keeps outliers from stretching the scale.
    ordered = sorted(values)
    return max(ordered[int(0.97 * (len(ordered) - 1))], 1e-12)
