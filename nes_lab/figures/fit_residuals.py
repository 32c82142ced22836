"""Draw how closely the epitome of each layer matches the layer's dense weight, before and after fitting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from nes_lab.errors import OptionError
from nes_lab.figures.inputs import Rows, fit_rows
from nes_lab.figures.theme import OKABE_ITO, legend_below, new_figure, plain
from nes_lab.records.fit_report import FitReport
from nes_lab.text import format_percent, shorten_name

__all__ = ["fit_residuals"]

_PANELS = (("residual", "weight (%)"), ("error", "output (%)"))
_POINTS = (
    (
        "before",
        "before: starts of the plan, fitted to the weights alone",
        {"symbol": "circle-open", "size": 9, "color": "#8A8A8A", "line": {"width": 1.5}},
    ),
    ("after", "fitted", {"symbol": "circle", "size": 9, "color": OKABE_ITO[0]}),
)


def fit_residuals(report: FitReport | Rows) -> go.Figure:
    """Draw the relative residual of each fitted layer as two points, before and after fitting.

    The residual is the norm of the difference between dense weight and sampled weight, relative to the norm of the dense
    weight. If the fit used calibration data, a second panel shows the same for the layers' outputs.

    Args:
        report: The report of :func:`nes_lab.fit`, or its ``rows()``, one mapping per layer with these keys:

            - ``name``: name of the layer
            - ``residual_before`` and ``residual_after``: residuals of the weight
            - ``error_before`` and ``error_after``: the same for the layer's output; None without calibration data
            - ``weight_energy``: squared norm of the dense weight, for the residual of all layers together
            - ``starts``, ``method`` and ``norm``: shown in the hover text, as in :class:`nes_lab.records.fit_report.LayerFit`

    Returns:
        A figure of residuals in percent. 0 means that the epitome gives the dense weight exactly. A weight of zeros
        would give 100.

    Raises:
        OptionError: If there are no rows.

    Examples:
        >>> import torch, nes_lab
        >>> network = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.Linear(64, 4))
        >>> plan = nes_lab.plan_for_budget(network, nes_lab.Budget(params="60%"), torch.zeros(1, 64))
        >>> small, report = nes_lab.fit(network, plan)
        >>> nes_lab.figures.fit_residuals(report).layout.title.text
        'Relative residual of each layer'
    """
    rows = fit_rows(report)
    if not rows:
        raise OptionError("report has no rows; give the report of a fit with at least one layer")
    panels = [p for p in _PANELS if any(row.get(f"{p[0]}_after") is not None for row in rows)]
    note = (
        f"all weights together: {format_percent(100 * _whole(rows, 'before'))} before, "
        f"{format_percent(100 * _whole(rows, 'after'))} after"
    )
    figure = go.Figure(make_subplots(rows=1, cols=len(panels), shared_yaxes=True, horizontal_spacing=0.05))
    figure.update_layout(
        new_figure(
            f"Relative residuals of {len(rows)} fitted layers, before and after; {note}.",
            title={"text": "Relative residual of each layer", "subtitle": {"text": note}},
            margin_t=88,
        ).layout
    )
    for column, (key, title) in enumerate(panels, start=1):
        _add_panel(figure, rows, key, column)
        figure.update_xaxes(title_text=title, rangemode="tozero", nticks=6, row=1, col=column)
    legend_below(figure, 126 + 18 * max(len(rows), 4), entries=2)
    figure.update_yaxes(
        range=[len(rows) - 0.4, -0.6],
        tickvals=list(range(len(rows))),
        ticktext=[plain(shorten_name(str(row["name"]))) for row in rows],
        tickfont_size=11,
    )
    figure.update_yaxes(title_text="layer", row=1, col=1)
    return figure


def _add_panel(figure: go.Figure, rows: Sequence[Mapping[str, Any]], key: str, column: int) -> None:
    shown = [(place, row) for place, row in enumerate(rows) if row.get(f"{key}_after") is not None]
    ends: dict[str, list[float | None]] = {"x": [], "y": []}
    for place, row in shown:
        ends["x"] += [100 * row[f"{key}_before"], 100 * row[f"{key}_after"], None]
        ends["y"] += [place, place, None]
    line = {"color": "rgba(138,138,138,0.6)", "width": 1}
    figure.add_scatter(**ends, mode="lines", line=line, hoverinfo="skip", showlegend=False, row=1, col=column)
    for when, name, marker in _POINTS:
        figure.add_scatter(
            x=[100 * row[f"{key}_{when}"] for _, row in shown],
            y=[place for place, _ in shown],
            mode="markers",
            marker=marker,
            name=name,
            legendgroup=when,
            showlegend=column == 1,
            text=[_hover(row) for _, row in shown],
            hovertemplate="%{text}<br>" + name + ": %{x:.1f} %<extra></extra>",
            row=1,
            col=column,
        )


def _hover(row: Mapping[str, Any]) -> str:
    parts = [
        f"<b>{plain(row['name'])}</b>",
        f"starts: {plain(row.get('starts', 'plan'))}",
        plain(row.get("method", "")),
    ]
    if row.get("norm"):
        parts.append(f"rows scaled in {plain(row['norm'])}")
    return "<br>".join(part for part in parts if part)


def _whole(rows: Sequence[Mapping[str, Any]], when: str) -> float:
    """Return the norm of the difference between sampled and dense weights, divided by the norm of the dense weights.

    The weights of all layers count as one long vector.
    """
    energy = sum(row["weight_energy"] for row in rows)
    left = sum(row["weight_energy"] * row[f"residual_{when}"] ** 2 for row in rows)
    return (left / energy) ** 0.5 if energy > 0 else 0.0
