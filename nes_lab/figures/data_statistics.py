"""Draw how many examples each class of a data set has in each split, and which sizes of examples are most frequent.

Tests: tests/figures/test_data_figures.py
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from nes_lab.errors import OptionError
from nes_lab.figures.contact_sheet import MAX_NAME
from nes_lab.figures.theme import legend_below, new_figure, plain, series_style
from nes_lab.text import format_number, shorten_middle

if TYPE_CHECKING:
    from nes_lab.datasets.check.report import DataReport, SplitReport

__all__ = ["data_statistics"]

_MOST_BARS = 40
_MOST_SIZES = 8
_BAR_PIXELS = 22
_FILLS = ("", "/")


def data_statistics(report: DataReport) -> go.Figure:
    """Draw the number of examples per class and the most frequent sizes of examples, for each split of a data set.

    Up to 40 classes are drawn as bars in the order of their labels. If there are more classes, each split is drawn as a
    curve. The curve begins with the largest class of the split.

    Args:
        report: What :func:`nes_lab.check_data` found out about the data set.

    Raises:
        OptionError: If the data set has no class or no example.

    Examples:
        >>> import nes_lab
        >>> report = nes_lab.check_data("digits")
        >>> nes_lab.figures.data_statistics(report).layout.title.text
        'Images of 10 classes'
    """
    if not report.classes or not any(split.total for split in report.splits):
        raise OptionError("report has no example; give the report of a data set that has some")
    what = "clips" if report.kind == "audio" else "images"
    totals = ", ".join(f"{split.total:,} in {split.name}" for split in report.splits)
    few = len(report.classes) <= _MOST_BARS
    sizes = _frequent_sizes(report)
    heights = [_BAR_PIXELS * 1.4 * len(report.classes) if few else 300, _BAR_PIXELS * 1.4 * max(len(sizes), 2)]
    figure = go.Figure(
        make_subplots(
            rows=2,
            cols=1,
            row_heights=[height / sum(heights) for height in heights],
            vertical_spacing=90 / (sum(heights) + 90),
        )
    )
    figure.update_layout(
        new_figure(
            f"Examples of {len(report.classes):,} classes ({totals}), and the most frequent sizes.",
            title={
                "text": f"{what.capitalize()} of {len(report.classes):,} classes",
                "subtitle": {"text": f"{totals};<br>per class: {_range(report)}"},
            },
            barmode="group",
            bargap=0.25,
            margin_t=100,
        ).layout
    )
    for index, split in enumerate(report.splits):
        (_add_bars if few else _add_curve)(figure, report, split, index)
        _add_sizes(figure, split, sizes, index)
    legend_below(figure, round(100 + sum(heights) + 90), entries=len(report.splits))
    _set_axes(figure, report, what, few, sizes)
    return figure


def _range(report: DataReport) -> str:
    parts = [
        f"{split.least:,} to {split.most:,} in {split.name}"
        if split.least < split.most
        else f"{split.most:,} in {split.name}"
        for split in report.splits
    ]
    return ", ".join(parts)


def _add_bars(figure: go.Figure, report: DataReport, split: SplitReport, index: int) -> None:
    figure.add_bar(
        y=list(range(len(report.classes))),
        x=list(split.counts),
        orientation="h",
        name=split.name,
        legendgroup=split.name,
        marker=_marker(index),
        customdata=[plain(name) for name in report.classes],
        hovertemplate="<b>%{customdata}</b><br>%{x:,} in " + split.name + "<extra></extra>",
        row=1,
        col=1,
    )


def _add_curve(figure: go.Figure, report: DataReport, split: SplitReport, index: int) -> None:
    order = sorted(range(len(split.counts)), key=lambda label: -split.counts[label])
    style = series_style(index)
    figure.add_scatter(
        x=list(range(1, len(order) + 1)),
        y=[split.counts[label] for label in order],
        mode="lines",
        name=split.name,
        legendgroup=split.name,
        line={"color": style.color, "dash": style.dash, "width": 2},
        customdata=[plain(report.classes[label]) for label in order],
        hovertemplate="<b>%{customdata}</b><br>%{y:,} in " + split.name + "<extra></extra>",
        row=1,
        col=1,
    )


def _marker(index: int) -> dict:
    return {
        "color": series_style(index).color,
        "pattern": {"shape": _FILLS[index % len(_FILLS)], "fillmode": "overlay", "fgcolor": "#FFFFFF"},
    }


def _frequent_sizes(report: DataReport) -> list[tuple[int, int]]:
    """Return the most frequent sizes (width, height) of a data set's examples, counted over all splits."""
    totals: dict[tuple[int, int], int] = {}
    for split in report.splits:
        for width, height, count in split.sizes:
            totals[width, height] = totals.get((width, height), 0) + count
    return sorted(totals, key=lambda size: -totals[size])[:_MOST_SIZES]


def _add_sizes(figure: go.Figure, split: SplitReport, sizes: list[tuple[int, int]], index: int) -> None:
    counts = {(width, height): count for width, height, count in split.sizes}
    figure.add_bar(
        y=list(range(len(sizes))),
        x=[counts.get(size, 0) for size in sizes],
        orientation="h",
        name=split.name,
        legendgroup=split.name,
        showlegend=False,
        marker=_marker(index),
        hovertemplate="%{x:,} in " + split.name + "<extra></extra>",
        row=2,
        col=1,
    )


def _set_axes(figure: go.Figure, report: DataReport, what: str, few: bool, sizes: list[tuple[int, int]]) -> None:
    if few:
        names = [plain(shorten_middle(name, MAX_NAME)) for name in report.classes]
        places = {"tickvals": list(range(len(names))), "ticktext": names, "range": [len(names) - 0.4, -0.6]}
        figure.update_yaxes(**places, showgrid=False, row=1, col=1)
        figure.update_xaxes(title_text=f"{what} of the class", rangemode="tozero", row=1, col=1)
    else:
        figure.update_yaxes(title_text=f"{what} of the class", rangemode="tozero", row=1, col=1)
        figure.update_xaxes(title_text="classes, from largest to smallest", row=1, col=1)
    labels = [
        f"{format_number(width)} samples" if report.kind == "audio" else f"{width}×{height}" for width, height in sizes
    ]
    places = {"tickvals": list(range(len(labels))), "ticktext": labels, "range": [max(len(labels), 2) - 0.4, -0.6]}
    figure.update_yaxes(**places, showgrid=False, row=2, col=1)
    figure.update_xaxes(title_text=f"decoded {what} of this size", rangemode="tozero", row=2, col=1)
