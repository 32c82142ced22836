"""Draw the params and multiply-adds of every layer, before and after compression.

Tests: tests/figures/test_pictures.py
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from nes_lab.errors import OptionError
from nes_lab.figures.inputs import Rows, layer_rows
from nes_lab.figures.theme import OKABE_ITO, legend_below, new_figure, plain
from nes_lab.records.compression_plan import CompressionPlan
from nes_lab.records.cost_report import CostReport
from nes_lab.runs.handle import RunHandle
from nes_lab.text import format_number, format_shape, shorten_name

__all__ = ["layer_bars"]

_PANELS = (("params", "stored params"), ("madds", "multiply-adds"))


def layer_bars(plan: CompressionPlan | CostReport | RunHandle | Rows) -> go.Figure:
    """Draw the params and the multiply-adds of each layer as a hollow bar (dense) with a filled bar inside (compressed).

    Args:
        plan: A compression plan, the report of :func:`nes_lab.count`, a :class:`nes_lab.Run` with a plan, or the rows that
            ``CompressionPlan.rows()`` returns, one mapping per layer. Of rows, ``name``, ``params_dense``, ``params``,
            ``madds_dense`` and ``madds`` are drawn. ``weight_shape``, ``epitome_shape``, ``routing`` and ``reason`` are shown
            in the hover text.

    Raises:
        OptionError: If there are no layers, or a run has no compression plan.

    Examples:
        >>> import torch, nes_lab
        >>> network = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.Linear(64, 4))
        >>> plan = nes_lab.plan_for_budget(network, nes_lab.Budget(params="60%"), torch.zeros(1, 64))
        >>> nes_lab.figures.layer_bars(plan).layout.title.text
        'Cost of every layer'
    """
    rows = layer_rows(plan)
    if not rows:
        raise OptionError("plan has no rows; give a plan or rows with at least one layer")
    total = {key: sum(row[key] for row in rows) for key in ("params_dense", "params", "madds_dense", "madds")}
    note = "; ".join(
        f"{name} {format_number(total[f'{key}_dense'])} → {format_number(total[key])}"
        for key, name in (("params", "params"), ("madds", "MAdds"))
    )
    note = f"in these layers: {note}"  # the rows leave out norms and the biases of other modules
    figure = go.Figure(make_subplots(rows=1, cols=2, shared_yaxes=True, horizontal_spacing=0.05))
    figure.update_layout(
        new_figure(
            f"Bars of params and multiply-adds of {len(rows)} layers, dense against compressed; {note}.",
            title={"text": "Cost of every layer", "subtitle": {"text": note.replace("; ", ";<br>")}},
            barmode="overlay",
            bargap=0.3,
            margin_t=100,
        ).layout
    )
    for column, (key, _) in enumerate(_PANELS):
        _add_panel(figure, rows, key, column + 1)
    legend_below(figure, 126 + 20 * max(len(rows), 4), entries=3)
    figure.update_yaxes(
        autorange="reversed",
        tickvals=list(range(len(rows))),
        ticktext=[plain(shorten_name(str(row["name"]))) for row in rows],
        tickfont_size=11,
        showgrid=False,
    )
    return figure


def _add_panel(figure: go.Figure, rows: Sequence[Mapping[str, Any]], key: str, column: int) -> None:
    hover = [_hover(row) for row in rows]
    places = list(range(len(rows)))
    common = {"y": places, "orientation": "h", "text": hover, "textposition": "none", "row": 1, "col": column}
    figure.add_bar(
        x=[row[f"{key}_dense"] for row in rows],
        name="dense",
        marker={"color": "rgba(138,138,138,0.18)", "line": {"color": "#8A8A8A", "width": 1}},
        legendgroup="dense",
        showlegend=column == 1,
        hovertemplate="%{text}<br>dense: %{x:,}<extra></extra>",
        **common,
    )
    for name, compressed, color, pattern in (
        ("compressed", True, OKABE_ITO[0], ""),
        ("kept dense", False, OKABE_ITO[4], "/"),
    ):
        figure.add_bar(
            x=[row[key] if (row.get("epitome_shape") is not None) == compressed else None for row in rows],
            name=name,
            width=0.42,
            marker={"color": color, "pattern": {"shape": pattern, "fillmode": "overlay", "fgcolor": "#FFFFFF"}},
            legendgroup=name,
            showlegend=column == 1,
            hovertemplate="%{text}<br>" + name + ": %{x:,}<extra></extra>",
            **common,
        )
    figure.update_xaxes(title_text=dict(_PANELS)[key], tickformat="~s", rangemode="tozero", nticks=5, row=1, col=column)


def _hover(row: Mapping[str, Any]) -> str:
    parts = [f"<b>{plain(row['name'])}</b>"]
    if row.get("weight_shape"):
        parts.append("weight " + format_shape(row["weight_shape"]))
    if row.get("epitome_shape"):
        parts.append(
            "epitome " + format_shape(row["epitome_shape"]) + (f", {row['routing']}" if row.get("routing") else "")
        )
    elif row.get("reason"):
        parts.append("kept dense: " + plain(row["reason"]))
    return "<br>".join(parts)
