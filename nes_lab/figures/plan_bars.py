"""Draw the multiply-adds or the params of the layers of a plan as bars that can be clicked.

Tests: tests/figures/test_budget_plane.py.
"""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from nes_lab.errors import OptionError
from nes_lab.figures.theme import OKABE_ITO, new_figure, plain
from nes_lab.records.fold_rows import Bar
from nes_lab.text import format_number, format_share, shorten_name

__all__ = ["plan_bars"]

_TITLES = {"madds": "MAdds", "params": "params"}
_DENSE, _KEPT, _CHOSEN = "rgba(138,138,138,0.22)", "#8C8C8C", OKABE_ITO[1]


def plan_bars(bars: Sequence[Bar], quantity: str = "madds", chosen: str | None = None) -> go.Figure:
    """Draw one bar per layer or stage: light for the dense network, with the plan's bar inside. The ``customdata`` is the bar's name.

    Args:
        bars: The layers or stages, from :func:`nes_lab.records.fold_rows.bars_of`.
        quantity: ``"madds"`` or ``"params"``.
        chosen: Name of the bar that the user has chosen; it has a color of its own.

    Raises:
        OptionError: If there are no bars.

    Examples:
        >>> row = {"name": "fc", "madds": 5, "madds_dense": 10, "params": 5, "params_dense": 10, "epitome_shape": (2, 2), "reason": ""}
        >>> plan_bars([Bar("fc", (row,))]).layout.meta["alt"]
        'MAdds of 1 layer or stage, dense against planned: 10 become 5.'
    """
    if not bars:
        raise OptionError("bars is empty; give at least one layer")
    dense = [bar.total(f"{quantity}_dense") for bar in bars]
    planned = [bar.total(quantity) for bar in bars]
    title = _TITLES[quantity]
    things = "1 layer or stage" if len(bars) == 1 else f"{len(bars)} layers or stages"
    figure = new_figure(
        f"{title} of {things}, dense against planned: {format_number(sum(dense))} become {format_number(sum(planned))}.",
        height=68 + 19 * max(len(bars), 4),
        margin={"l": 8, "r": 8, "t": 28, "b": 32},
        barmode="overlay",
        bargap=0.3,
        showlegend=False,
    )
    names = [bar.name for bar in bars]
    common = {
        "y": list(range(len(bars))),
        "orientation": "h",
        "customdata": names,
        "hovertext": [_hover(b) for b in bars],
    }
    figure.add_bar(
        x=dense,
        name="dense",
        marker={"color": _DENSE},
        text=[f"{format_number(a)} · {format_share(a, b, digits=0)}" for a, b in zip(planned, dense, strict=True)],
        textposition="outside",
        textfont_size=11,
        cliponaxis=False,
        hovertemplate="%{hovertext}<extra></extra>",
        **common,
    )
    colors = [
        _CHOSEN if name == chosen else OKABE_ITO[0] if _shrinks(bar) else _KEPT
        for name, bar in zip(names, bars, strict=True)
    ]
    figure.add_bar(
        x=planned, name="planned", marker={"color": colors}, hovertemplate="%{hovertext}<extra></extra>", **common
    )
    figure.update_yaxes(
        autorange="reversed",
        tickvals=common["y"],
        ticktext=[plain(shorten_name(bar.name)) for bar in bars],
        tickfont_size=11,
        showgrid=False,
    )
    figure.update_xaxes(title_text=title, title_font_size=12, tickformat="~s", range=[0, 1.6 * max(dense)], nticks=5)
    return figure


def _shrinks(bar: Bar) -> bool:
    return any(row["epitome_shape"] for row in bar.layers)


def _hover(bar: Bar) -> str:
    shrunk = sum(bool(row["epitome_shape"]) for row in bar.layers)
    inside = (
        f"{shrunk} of {len(bar.layers)} layers compressed"
        if bar.is_stage
        else plain(bar.layers[0]["reason"] or "compressed")
    )
    costs = [
        f"{title}: {format_number(bar.total(name))} of {format_number(bar.total(f'{name}_dense'))}"
        for name, title in _TITLES.items()
    ]
    return "<br>".join([f"<b>{plain(bar.name)}</b>", inside, *costs, "click: why"])
