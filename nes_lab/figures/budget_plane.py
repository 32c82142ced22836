"""Draw which params and multiply-adds a network can have, with the dense network, the plan and its budgets.

Tests: tests/figures/test_budget_plane.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from nes_lab.figures.paper_budgets import PaperBudget
from nes_lab.figures.theme import OKABE_ITO, REPORTED, handle, method_style, new_figure, plain, share_ticks
from nes_lab.records.reachable import Reachable
from nes_lab.text import format_number, format_share

__all__ = ["budget_plane"]

_FILL, _EDGE, _FORBIDDEN = "rgba(0,114,178,0.12)", "rgba(0,114,178,0.55)", "rgba(138,138,138,0.35)"
_YOU = OKABE_ITO[1]
_TOP = 1.06
"""End of the axes, as a share of the dense network."""


def budget_plane(
    plan: Mapping[str, Any],
    budgets: Mapping[str, float],
    region: Reachable | None = None,
    paper: Sequence[PaperBudget] = (),
    method: str = "",
) -> go.Figure:
    """Draw params against multiply-adds, both as shares of the dense network.

    The figure has a handle ``"point"`` at the plan, and handles ``"madds"`` and ``"params"`` at the budgets. A page gets their places as
    shares of the dense network.

    Args:
        plan: Dict with the counts ``dense`` and ``predicted``, as :meth:`CompressionPlan.to_dict` returns.
        budgets: Limits on ``madds`` and ``params`` as shares of the dense network. A quantity without a limit is left out.
        region: What the network can reach; None: not known yet.
        paper: Published budgets for this network.
        method: How starts are set, such as ``"tiled"``, to name the plan in the figure.

    Examples:
        >>> counts = {"dense": {"madds": 300, "params": 20}, "predicted": {"madds": 225, "params": 15}}
        >>> budget_plane(counts, {"madds": 0.75}).layout.meta["alt"]
        'Params against MAdds, as shares of the dense network. The plan has 75.0 % of the MAdds and 75.0 % of the params.'
    """
    dense, predicted = plan["dense"], plan["predicted"]
    shares = {name: predicted[name] / dense[name] for name in ("madds", "params")}
    x, y = shares["madds"], shares["params"]
    figure = new_figure(
        f"Params against MAdds, as shares of the dense network. The plan has {format_share(x)} of the MAdds and {format_share(y)} of "
        f"the params.{_words(region)}",
        height=330,
        margin={"l": 56, "r": 12, "t": 12, "b": 48},
        showlegend=False,
        hovermode="closest",
    )
    if region is not None:
        _add_region(figure, region)
    _forbid(figure, budgets)
    for budget in paper:
        _add_paper(figure, budget, dense)
    _add_points(figure, plan, x, y, method)
    least = {name: region.least_share(name) if region else 0.01 for name in shares}
    _add_handles(figure, budgets, least, x, y)
    ticks = {"range": [0, _TOP], "zeroline": False, **share_ticks(_TOP)}
    ticks |= {"title_font_size": 12}
    figure.update_xaxes(title_text=f"MAdds, of the dense {format_number(dense['madds'])}", **ticks)
    figure.update_yaxes(title_text=f"params, of {format_number(dense['params'])}", **ticks)
    return figure


def _words(region: Reachable | None) -> str:
    if region is None:
        return ""
    madds, params = (format_share(region.least_share(name)) for name in ("madds", "params"))
    return f" The network can reach {madds} of the MAdds and {params} of the params."


def _add_region(figure: go.Figure, region: Reachable) -> None:
    dense = region.dense
    path = [
        (madds / dense.madds, params / dense.params)
        for madds, params in zip(region.path_madds, region.path_params, strict=True)
    ]
    x = [number / dense.madds for number in (*region.madds, *reversed(region.madds))]
    y = [number / dense.params for number in (*region.fewest_params, *reversed(region.most_params))]
    figure.add_scatter(
        x=x,
        y=y,
        mode="lines",
        fill="toself",
        fillcolor=_FILL,
        line={"color": _EDGE, "width": 1},
        name="can be reached",
        hoverinfo="skip",
    )
    figure.add_scatter(
        x=[madds for madds, _ in path],
        y=[params for _, params in path],
        customdata=[[format_share(madds), format_share(params)] for madds, params in path],
        mode="lines",
        line={"color": _EDGE, "width": 1.5, "dash": "dot"},
        name="plans",
        hovertemplate="plans: %{customdata[0]} of the MAdds, %{customdata[1]} of the params<extra></extra>",
    )


def _forbid(figure: go.Figure, budgets: Mapping[str, float]) -> None:
    """Hatch what is over a budget, and draw the budget as a line."""
    for name, share in budgets.items():
        low = min(share, _TOP)
        corners = [(low, 0), (_TOP, 0), (_TOP, _TOP), (low, _TOP), (low, 0)]
        x, y = zip(*(corners if name == "madds" else [(b, a) for a, b in corners]), strict=True)
        figure.add_scatter(
            x=x,
            y=y,
            mode="lines",
            line={"width": 0},
            fill="toself",
            fillpattern={"shape": "/", "fgcolor": _FORBIDDEN, "bgcolor": "rgba(0,0,0,0)", "size": 7},
            name=f"over the {'MAdds' if name == 'madds' else name} budget",
            hoverinfo="skip",
            meta={"decoration": True},
        )
        line = {"line_color": OKABE_ITO[0], "line_width": 2}
        figure.add_vline(x=share, **line) if name == "madds" else figure.add_hline(y=share, **line)


def _add_paper(figure: go.Figure, budget: PaperBudget, dense: Mapping[str, int]) -> None:
    """Mark a published budget: a point, or a dashed line if its params are not published."""
    x = budget.madds / dense["madds"]
    hover = f"{plain(budget.label)}<br>{plain(budget.source)}<extra></extra>"
    name = plain(budget.label)
    if budget.params is None:
        figure.add_scatter(
            x=[x, x],
            y=[0, 0.1],
            mode="lines+text",
            text=["", name],
            textposition="top left" if x > 0.4 else "top right",
            textfont_size=11,
            line={"color": REPORTED, "dash": "dash", "width": 1.5},
            name=name,
            hovertemplate=hover,
        )
        return
    figure.add_scatter(
        x=[x],
        y=[budget.params / dense["params"]],
        mode="markers+text",
        text=[name],
        textposition="middle left",
        textfont_size=11,
        marker={"symbol": "circle-open", "size": 9, "color": REPORTED, "line": {"width": 2}},
        name=name,
        hovertemplate=hover,
    )


def _add_points(figure: go.Figure, plan: Mapping[str, Any], x: float, y: float, method: str) -> None:
    dense, predicted = plan["dense"], plan["predicted"]
    figure.add_scatter(
        x=[1],
        y=[1],
        mode="markers+text",
        text=["dense"],
        textposition="bottom left",
        marker={"size": 10, "color": "#8A8A8A", "symbol": method_style("dense").symbol},
        name="dense",
        hovertemplate=f"dense: {format_number(dense['madds'])} MAdds, {format_number(dense['params'])} params<extra></extra>",
    )
    figure.add_scatter(
        x=[x],
        y=[y],
        mode="markers+text",
        text=[f"you: {plain(method)}" if method else "you"],
        textposition="top left" if x > 0.3 else "top right",
        textfont={"color": _YOU, "weight": 700},
        marker={"size": 13, "color": _YOU},
        name="your plan",
        hovertemplate=f"your plan: {format_number(predicted['madds'])} MAdds, {format_number(predicted['params'])} params<extra></extra>",
    )


def _add_handles(
    figure: go.Figure, budgets: Mapping[str, float], least: Mapping[str, float], x: float, y: float
) -> None:
    """Let the user move the point and the budgets, down to the least that can be reached."""
    ranges = {name: (min(least[name], 1.0), 1.0) for name in least}
    if "madds" in budgets:
        handle(figure, "madds", "MAdds budget", x=budgets["madds"], x_range=ranges["madds"])
    if "params" in budgets:
        handle(figure, "params", "params budget", y=budgets["params"], y_range=ranges["params"])
    handle(
        figure,
        "point",
        "plan: MAdds and params",
        x=x,
        y=y,
        x_range=ranges["madds"],
        y_range=ranges["params"],
        color=_YOU,
        anywhere=True,
    )
