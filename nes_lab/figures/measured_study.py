"""Draw what the accuracy study of NES Lab measured, in a panel of its own: its networks were trained by another recipe than a user's.

Tests: tests/figures/test_measured_study.py
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from statistics import fmean, stdev
from typing import Any

import plotly.graph_objects as go

from nes_lab.errors import OptionError, check_choice
from nes_lab.figures.theme import legend_below, new_figure, plain, series_style, title_at_top, write_inside
from nes_lab.records.measured_accuracy import study_rows
from nes_lab.runs.measures import COSTS

__all__ = ["measured_study", "studied_networks"]

NAME_WIDTH = 32
"""Characters in a line of the legend, so that it fits the page's column."""


def studied_networks(rows: Sequence[Mapping[str, Any]] | None = None) -> list[str]:
    """Return the networks of the study, each with its data set, such as ``"ResNet-14 on CIFAR-10"``.

    Args:
        rows: Rows of the study; None: those that come with NES Lab.

    Examples:
        >>> import nes_lab
        >>> "ResNet-14 on CIFAR-10" in nes_lab.figures.studied_networks()
        True
    """
    return list(dict.fromkeys(_network(row) for row in (study_rows() if rows is None else rows)))


def measured_study(
    network: str | None = None, cost: str = "madds", rows: Sequence[Mapping[str, Any]] | None = None
) -> go.Figure:
    """Draw the test accuracy of the study's networks against their cost: epitomes and narrower networks, trained alike.

    Bars are one standard deviation over seeds. A line joins the budgets of a contender.

    Args:
        network: Network and data set, one of :func:`studied_networks`; None: the first one.
        cost: ``"madds"``, ``"params"``, ``"stored_bytes"`` or ``"latency_ms"``, which the study does not measure.
        rows: Rows of the study; None: those that come with NES Lab.

    Raises:
        OptionError: If the network or the cost is unknown.

    Examples:
        >>> import nes_lab
        >>> row = {"network": "ResNet-14", "data": "CIFAR-10", "contender": "width", "madds": 6.6e6, "top1": [75.0, 75.4]}
        >>> figure = nes_lab.figures.measured_study(rows=[row])
        >>> figure.data[0].name, figure.data[0].y
        ('narrower network', (75.2,))
    """
    check_choice("cost", cost, tuple(COSTS))
    rows = study_rows() if rows is None else rows
    networks = studied_networks(rows)
    if network is not None and network not in networks:
        raise OptionError(f"network={network!r}; the study has {', '.join(map(repr, networks)) or 'no network yet'}")
    shown = network or next(iter(networks), "")
    own = [row for row in rows if _network(row) == shown and cost in row]
    figure = _empty(shown, len(own))
    names = list(dict.fromkeys(str(row["contender"]) for row in own))
    for place, name in enumerate(names):
        figure.add_trace(_line([row for row in own if row["contender"] == name], name, cost, place))
    legend_below(figure, 430, sum(_shown(name).count("<br>") + 1 for name in names))
    measure = COSTS[cost]
    figure.update_xaxes(title_text=measure.name, tickformat="~s", rangemode="tozero")
    figure.update_yaxes(title_text="test top-1 accuracy (%)")
    if not own:
        write_inside(figure, f"The study has no {measure.name} yet." if rows else "The study has no rows yet.")
    return figure


def _empty(network: str, number: int) -> go.Figure:
    subtitle = "another recipe than your runs;<br>bars: one standard deviation over seeds"
    return new_figure(
        f"Test accuracy against cost of {number} networks of the accuracy study.",
        title=title_at_top(f"Measured study<br>{plain(network)}" if network else "Measured study", subtitle),
        margin={"l": 50, "r": 12, "t": 130},
        hovermode="closest",
    )


def _line(rows: Sequence[Mapping[str, Any]], name: str, cost: str, place: int) -> go.Scatter:
    style = series_style(place)
    rows = sorted(rows, key=lambda row: row[cost])
    spreads = [stdev(row["top1"]) if len(row["top1"]) > 1 else 0 for row in rows]
    return go.Scatter(
        x=[row[cost] for row in rows],
        y=[fmean(row["top1"]) for row in rows],
        error_y={"type": "data", "array": spreads, "thickness": 1.5, "width": 5},
        text=[f"{len(row['top1'])} seeds" for row in rows],
        mode="lines+markers",
        line={"color": style.color, "dash": style.dash, "width": 1.5},
        marker={"color": style.color, "symbol": style.symbol, "size": 8},
        name=_shown(name),
        hovertemplate="%{fullData.name}<br>%{y:.2f} %, %{x:.3s}, %{text}<extra></extra>",
    )


def _shown(contender: str) -> str:
    """Return the name of a contender in lines that fit a narrow panel."""
    name = "narrower network" if contender == "width" else contender
    return "<br>".join(textwrap.wrap(plain(name), NAME_WIDTH))


def _network(row: Mapping[str, Any]) -> str:
    return f"{row['network']} on {row['data']}"
