"""Gather the rows of a study in cells: one contender at one budget of a part, with one row per seed. Compare cells seed by seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean

from benchmarks.accuracy_parts.rows import Row
from benchmarks.accuracy_parts.study import Part, Study, Training, chosen_lr, trainings
from nes_lab.runs.difference import Difference, paired_difference

__all__ = [
    "BASELINE",
    "DENSE",
    "Cell",
    "against",
    "baseline",
    "dense_cell",
    "find",
    "is_epitome",
    "rival",
    "study_cells",
]

BASELINE, DENSE = "width", "dense"


@dataclass(frozen=True)
class Cell:
    """One contender at one budget of a part.

    Attributes:
        study: The study.
        part: The part of the study.
        contender: Name of the contender, or ``"dense"``.
        budget: The budget, such as ``"25%"``; empty for the dense network.
        rows: Rows of the trainings with the chosen learning rate, in the order of the seeds; fewer than the seeds if some were not run.
        missing: Number of trainings of this cell that were not run, with those that choose the learning rate.
        price: Processor seconds that the missing trainings would take, from the mean of the contender's trainings in this part or of
            all trainings of the part; None if there are none.
    """

    study: Study
    part: Part
    contender: str
    budget: str
    rows: tuple[Row, ...]
    missing: int
    price: float | None

    @property
    def is_complete(self) -> bool:
        """True if there is a row for every seed."""
        return len(self.rows) == len(self.part.seeds)

    @property
    def test(self) -> list[float]:
        """Top-1 accuracies on the test split in percent, one per seed."""
        return [row["test_top1"] for row in self.rows]

    @property
    def held_out(self) -> float:
        """Mean top-1 accuracy on the held-out training images, in percent."""
        return mean(row["holdout_top1"] for row in self.rows)

    @property
    def processor_seconds(self) -> float | None:
        """Mean processor seconds of a training; None if no training ran in one sitting, because only the last one is measured."""
        measured = _seconds(self.rows)
        return mean(measured) if measured else None


def study_cells(study: Study, rows: Mapping[str, Row]) -> list[Cell]:
    """Return all cells of a study, part by part: the dense network first, then the contenders of each budget.

    Args:
        study: The study.
        rows: Its rows by id.
    """
    listed = trainings(study, rows)
    found = []
    for part in study.parts:
        keys = [(DENSE, "")] if part.dense else []
        keys += [(name, budget) for budget in part.budgets for name in part.contenders]
        found += [_cell(study, part, *key, listed, rows) for key in keys]
    return found


def _cell(
    study: Study, part: Part, contender: str, budget: str, listed: Sequence[Training], rows: Mapping[str, Row]
) -> Cell:
    own = [t for t in listed if (t.part, t.contender, t.budget) == (part, contender, budget)]
    lr = chosen_lr(part, contender, budget and part.budgets[0], rows)
    final = [rows[t.id] for t in own if t.id in rows and t.lr == lr]
    missing = sum(t.id not in rows for t in own)
    return Cell(study, part, contender, budget, tuple(final), missing, _price(missing, part, contender, rows))


def _price(missing: int, part: Part, contender: str, rows: Mapping[str, Row]) -> float | None:
    in_part = [row for row in rows.values() if row["part"] == part.name]
    known = _seconds([row for row in in_part if row["contender"] == contender]) or _seconds(in_part)
    return missing * mean(known) if known else None


def _seconds(rows: Sequence[Row]) -> list[float]:
    return [row["cpu_seconds"] for row in rows if row.get("sittings", 1) == 1]


def find(cells: Sequence[Cell], part: Part, contender: str, budget: str) -> Cell | None:
    """Return one cell of a part; None if the study has none."""
    return next((c for c in cells if (c.part, c.contender, c.budget) == (part, contender, budget)), None)


def baseline(cells: Sequence[Cell], cell: Cell) -> Cell | None:
    """Return the narrower network that a cell is compared with, in its part or in the one that its part joins; None without one.

    Args:
        cells: All cells of the study, or of several ones.
        cell: A cell of a contender.
    """
    names = (cell.part.name, cell.part.joins)
    found = (c for c in cells if c.study.name == cell.study.name and c.part.name in names)
    return rival([c for c in found if c.budget == cell.budget], cell)


def rival(at: Sequence[Cell], cell: Cell) -> Cell | None:
    """Return the narrower network that a cell is compared with: the one in int8 for epitomes in int8, if there is one.

    Args:
        at: All cells of one budget.
        cell: A cell of a contender.
    """
    contenders = cell.study.contenders
    in_int8 = contenders.get(cell.contender, {}).get("compression", {}).get("epitome_dtype") == "int8"
    narrow = [c for c in at if in_int8 and contenders.get(c.contender, {}).get("opponent") == "int8"]
    return next(iter(narrow + [c for c in at if c.contender == BASELINE]), None)


def dense_cell(cells: Sequence[Cell], part: Part) -> Cell | None:
    """Return the dense network that is trained with the settings of a part, in this part or in another one."""
    return next((c for c in cells if c.contender == DENSE and c.part.config == part.config), None)


def is_epitome(cell: Cell) -> bool:
    """Return whether the contender has epitomes."""
    return "compression" in cell.study.contenders.get(cell.contender, {})


def against(cell: Cell | None, other: Cell | None) -> Difference | None:
    """Return the mean difference of two cells in points of test accuracy, seed by seed; None if they share no seed.

    Args:
        cell: The first cell.
        other: The second cell, which is subtracted.
    """
    if cell is None or other is None:
        return None
    first, second = ({row["seed"]: row["test_top1"] for row in c.rows} for c in (cell, other))
    seeds = [seed for seed in first if seed in second]
    return paired_difference([first[s] for s in seeds], [second[s] for s in seeds]) if seeds else None
