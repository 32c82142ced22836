"""Draw the steps by which a layer is computed, with the multiply-adds of each step, for several ways to compute it.

Tests: tests/figures/test_by_hand.py
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from nes_lab.errors import OptionError
from nes_lab.figures.theme import new_figure, plain, series_style

__all__ = ["ComputingStep", "computing_steps"]

_BOX = 0.3
"""Width of a bar that stands for channels, where the distance of two bars is 1."""


@dataclass(frozen=True)
class ComputingStep:
    """One step of computing a layer.

    Args:
        name: What the step does, such as ``"fold"``.
        madds: Multiply-adds of the step.
        channels: Number of channels after the step.

    Examples:
        >>> import nes_lab
        >>> nes_lab.figures.ComputingStep("fold", madds=4608, channels=8).channels
        8
    """

    name: str
    madds: int
    channels: int


def computing_steps(ways: Mapping[str, Sequence[ComputingStep]], channels: int) -> go.Figure:
    """Draw the steps of one or more ways to compute a layer below each other.

    Args:
        ways: Name of each way to compute the layer -> its steps, in order.
        channels: Number of input channels of the layer.

    Returns:
        A figure. Each bar stands for a tensor, and its height for the number of channels. Arrows between the bars are the steps,
        with their multiply-adds.

    Raises:
        OptionError: If there is no way, or one has no steps.

    Examples:
        >>> import nes_lab
        >>> Step = nes_lab.figures.ComputingStep
        >>> figure = nes_lab.figures.computing_steps({"dense": [Step("3x3", 663_552, 32)]}, channels=16)
        >>> figure.layout.yaxis.ticktext
        ('dense:<br>663,552',)
    """
    if not ways or not all(ways.values()):
        raise OptionError(f"ways={dict(ways)!r}; give at least one way to compute the layer, each with its steps")
    totals = {name: sum(step.madds for step in steps) for name, steps in ways.items()}
    told = "; ".join(f"{name}: {total:,} multiply-adds" for name, total in totals.items())
    note = "a bar: a tensor, as high as its number of channels<br>an arrow: a step, with its multiply-adds"
    figure = new_figure(
        f"The steps of computing a layer. {told}.",
        title={"text": "Steps of computing the layer", "subtitle": {"text": note}},
        height=110 + 170 * len(ways),
        margin_t=84,
        showlegend=False,
    )
    most = max([channels, *(step.channels for steps in ways.values() for step in steps)])
    for row, steps in enumerate(ways.values()):
        _add_way(figure, row, steps, channels, most)
    longest = max(len(steps) for steps in ways.values())
    names = [f"{plain(name)}:<br>{totals[name]:,}" for name in ways]
    figure.update_xaxes(
        title_text="steps, from input to output",
        range=[-0.35, longest + 0.35],
        showticklabels=False,
        ticks="",
        showgrid=False,
        zeroline=False,
    )
    figure.update_yaxes(
        title_text="multiply-adds",
        range=[len(ways) - 0.45, -0.6],
        tickvals=list(range(len(ways))),
        ticktext=names,
        showgrid=False,
        zeroline=False,
    )
    return figure


def _add_way(figure: go.Figure, row: int, steps: Sequence[ComputingStep], channels: int, most: int) -> None:
    counts = [channels, *(step.channels for step in steps)]
    heights = [0.62 * count / most for count in counts]
    xs: list[float | None] = []
    ys: list[float | None] = []
    for place, height in enumerate(heights):
        left, right = place - _BOX / 2, place + _BOX / 2
        xs += [left, right, right, left, left, None]
        ys += [row - height / 2, row - height / 2, row + height / 2, row + height / 2, row - height / 2, None]
    color = series_style(row).color
    figure.add_scatter(x=xs, y=ys, mode="lines", fill="toself", line={"color": color, "width": 1}, hoverinfo="skip")
    below = [row + height / 2 for height in heights]
    figure.add_scatter(
        x=list(range(len(counts))),
        y=below,
        text=[f"{count}" for count in counts],
        mode="text",
        textposition="bottom center",
        hoverinfo="skip",
    )
    for place, step in enumerate(steps):
        ends = {"x": place + 1 - _BOX / 2, "ax": place + _BOX / 2, "y": row, "ay": row}
        axes = {"xref": "x", "yref": "y", "axref": "x", "ayref": "y"}
        figure.add_annotation(
            **ends, **axes, text="", showarrow=True, arrowhead=2, arrowwidth=1.5, arrowcolor="#8A8A8A"
        )
        text = f"{plain(step.name)}<br>{step.madds:,}"
        figure.add_annotation(
            x=place + 0.5, y=row, yanchor="bottom", yshift=4, text=text, showarrow=False, font_size=11
        )
