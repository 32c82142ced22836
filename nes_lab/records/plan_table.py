"""A compression plan as a table of text that explains every layer. Torch-free."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from nes_lab.text import format_shape, list_some

if TYPE_CHECKING:
    from nes_lab.records.compression_plan import CompressionPlan

__all__ = ["execution_names", "explain"]

_MOST_NAMES = 3


def execution_names(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Execution plans that at least one of a plan's rows can run, in the order they are known.

    Examples:
        >>> execution_names([{"executions": {"materialize": 8, "factored": 2}}, {"executions": {}}])
        ['materialize', 'factored']
    """
    return list(dict.fromkeys(name for row in rows for name in row["executions"]))


def explain(plan: CompressionPlan) -> str:
    """The plan's heading, one line a layer, and below which execution plans are out and why.

    Args:
        plan: Any plan; one that an older version wrote has no counts per execution plan.

    Returns:
        Lines of text; the multiply-adds of the execution plan that runs have a star.
    """
    rows = plan.rows()
    names = execution_names(rows)
    head = ("layer", "weight", "epitome", "params", "ratio", *(f"{name} madds" for name in names), "why")
    table = [head, *(_cells(row, names) for row in rows)]
    widths = [max(len(line[i]) for line in table) for i in range(len(head))]
    lines = ["  ".join(_placed(cells, widths)).rstrip() for cells in table]
    rule = "-" * max(map(len, lines))
    return "\n".join([str(plan), "", lines[0], rule, *lines[1:], *_unavailable(rows)])


def _placed(cells: Sequence[str], widths: Sequence[int]) -> list[str]:
    numbers = range(3, len(cells) - 1)
    return [
        cell.rjust(w) if i in numbers else cell.ljust(w) for i, (cell, w) in enumerate(zip(cells, widths, strict=True))
    ]


def _cells(row: dict[str, Any], names: Sequence[str]) -> tuple[str, ...]:
    counts = (_count(row, name) for name in names)
    why = f"kept dense: {row['reason']}" if row["reason"] else row["why"]
    ratio = f"{row['ratio']:.1%}" if row["epitome_shape"] else "dense"
    return (
        row["name"] or "(model)",
        format_shape(row["weight_shape"]),
        format_shape(row["epitome_shape"]),
        f"{row['params']:,}",
        ratio,
        *counts,
        why,
    )


def _count(row: dict[str, Any], name: str) -> str:
    if not row["epitome_shape"]:
        return f"{row['madds']:,} " if name == "materialize" else ""
    if name not in row["executions"]:
        return "- "
    return f"{row['executions'][name]:,}" + ("*" if name == row["runs"] else " ")


def _unavailable(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Each reason once, with the layers it holds for."""
    held: dict[tuple[str, str], list[str]] = defaultdict(list)
    for row in rows:
        for name, reason in row["unavailable"].items():
            held[name, reason].append(row["name"])
    lines = ["", "* the execution plan that runs"] if any(row["executions"] for row in rows) else []
    for (name, reason), layers in held.items():
        lines.append(f"no {name}: {reason} ({list_some(layers, _MOST_NAMES)})")
    return lines
