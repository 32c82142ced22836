"""Write the rows that ``CompressionPlan.advice`` quotes, nes_lab/planning/measured_accuracy.jsonl, from the rows of a study.

A budget of the study replaces first looks at the same budget of the same kind of network, once the narrower network and a kind of
epitomes have a row for every seed. Other first looks stay.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from benchmarks.accuracy_parts.cells import BASELINE, Cell, is_epitome
from benchmarks.accuracy_parts.study import COSTS
from benchmarks.accuracy_parts.titles import contender, network, shortened
from nes_lab.planning.advice import ONE_EPITOME, TILED

__all__ = ["advice_rows", "as_lines"]

KINDS = {"small_mobilenetv2": "depthwise", "m5": "plain"}
"""Kind of each backbone that is not a ResNet."""

NAMES = {BASELINE: "width", "shared": ONE_EPITOME, "tiled": TILED}
"""Names of contenders in the file; all others are named as on the page."""

Entry = dict[str, Any]


def advice_rows(cells: Sequence[Cell], old: Iterable[Mapping[str, Any]]) -> list[Entry]:
    """Return the rows of the file: those of the study, and the first looks at budgets that the study lacks.

    Args:
        cells: All cells of the study.
        old: The rows that the file has.
    """
    complete = [c for c in cells if c.budget and c.is_complete and not shortened(c.study, c.part)]
    with_width = {_place(cell) for cell in complete if cell.contender == BASELINE}
    with_epitomes = {_place(cell) for cell in complete if is_epitome(cell)}
    found = [cell for cell in complete if _place(cell) in with_width & with_epitomes]
    rows = [_entry(cell) for cell in found if cell.contender == BASELINE or is_epitome(cell)]
    covered = {_covers(row) for row in rows}
    kept = [dict(row) for row in old if row["status"] == "first look" and _covers(row) not in covered]
    return rows + kept


def as_lines(rows: Iterable[Entry]) -> str:
    """Return rows as text with one JSON object per line."""
    return "".join(json.dumps(row) + "\n" for row in rows)


def _place(cell: Cell) -> tuple[str, str, str]:
    return cell.study.name, cell.part.joins or cell.part.name, cell.budget


def _covers(row: Mapping[str, Any]) -> tuple[str, bool, float]:
    """Return the budget of a row: params and stored bytes count as the same."""
    return row["kind"], row["quantity"] == "madds", row["share"]


def _entry(cell: Cell) -> Entry:
    name, _, data = network(cell.study, cell.part).partition(" on ")
    return {
        "network": name,
        "kind": KINDS.get(cell.rows[0]["backbone"], "residual"),
        "data": data,
        "quantity": cell.part.cost,
        "share": float(cell.budget.rstrip("%")) / 100,
        "contender": NAMES.get(cell.contender, contender(cell.contender).replace("`", "")),
        "top1": cell.test,
        "seeds": [row["seed"] for row in cell.rows],
        "epochs": cell.rows[0]["epochs"],
        **{name: cell.rows[0][name] for name in COSTS if all(name in row for row in cell.rows)},
        "status": f"study {cell.study.name}",
    }
