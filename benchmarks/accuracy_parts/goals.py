"""Compare the rows of the study of CPUs with the goals of the project."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.accuracy_parts.cells import BASELINE, Cell, against
from benchmarks.accuracy_parts.titles import COSTS, contender, interval, network
from nes_lab.runs.difference import Difference

__all__ = ["GOALS", "Goal", "goals_table"]


@dataclass(frozen=True)
class Goal:
    """A difference in points of test accuracy that was to be reached.

    Attributes:
        part: Name of the part of the study.
        budget: The budget, such as ``"10%"``.
        contender: The contender that was to be better, or level.
        least: Least difference in points; None: the contender should be level with the other, or better.
        other: The contender that it is compared with.
    """

    part: str
    budget: str
    contender: str
    least: float | None
    other: str = BASELINE


GOALS = (
    Goal("resnet14-madds", "50%", "tiled", 0.5),
    Goal("resnet14-madds", "25%", "tiled", 1.0),
    Goal("mobilenetv2-madds", "50%", "tiled", None),
    Goal("resnet14-bytes", "10%", "shared", 1.0),
    Goal("resnet14-bytes", "5%", "shared", 2.5),
    Goal("resnet14-bytes-half", "10%", "shared", 3.0),
    Goal("resnet14-bytes-half", "5%", "shared", 5.0),
    Goal("resnet14-bytes-quarter", "25%", "shared", None),
    Goal("resnet14-bytes", "10%", "shared", 0.0, "random"),
    Goal("resnet14-bytes", "5%", "shared", 0.0, "random"),
    Goal("resnet14-bytes-more", "5%", "shared_int8", 0.0, "width_int8"),
)
"""The goals of the study ``cpu``."""


def goals_table(cells: Sequence[Cell]) -> list[str]:
    """Return the goals with what was measured, as lines of Markdown; no lines if the study has none of the parts.

    Args:
        cells: All cells of the study of CPUs, or of several studies.
    """
    found = {(cell.part.name, cell.budget, cell.contender): cell for cell in cells if cell.study.name == "cpu"}
    lines = []
    for goal in GOALS:
        cell, other = (found.get((goal.part, goal.budget, name)) for name in (goal.contender, goal.other))
        if cell is not None:
            complete = other is not None and cell.is_complete and other.is_complete
            difference = against(cell, other) if complete else None
            where = f"{network(cell.study, cell.part)}, {goal.budget} of the {COSTS[cell.part.cost]}"
            pair = f"{contender(goal.contender)} against {contender(goal.other)}"
            lines.append(
                f"| {where} | {pair} | {_limit(goal)} | {interval(difference)} | {_verdict(goal, difference)} |"
            )
    head = [
        "| network and budget | contenders | goal | points (95 % interval) | reached |",
        "| --- | --- | --- | --- | --- |",
    ]
    return head + lines if lines else []


def _limit(goal: Goal) -> str:
    if goal.least is None:
        return "level or better"
    return f"≥ {goal.least:+g}" if goal.least else "better"


def _verdict(goal: Goal, found: Difference | None) -> str:
    """Say whether a goal was reached. A goal of some points needs an interval above 0 as well."""
    if found is None or not found.is_known:
        return "not all seeds"
    if goal.least is None:
        return (
            "no"
            if found.sign < 0
            else "yes"
            if found.level_within is None
            else f"level within ±{found.level_within:.2f}"
        )
    if found.value < goal.least:
        return "no"
    return "yes" if found.sign > 0 else "not certain: the interval includes 0"
