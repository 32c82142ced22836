"""Say which learning rates were chosen at an end of their list: with others beyond it, the contender might be better.

Tests: tests/benchmarks/test_accuracy_learning_rates.py
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from benchmarks.accuracy_parts.cells import Cell
from benchmarks.accuracy_parts.titles import contender

__all__ = ["learning_rate_threats"]


def learning_rate_threats(cells: Sequence[Cell]) -> list[str]:
    """Return sentences about the learning rates of all parts with rows, as a list of Markdown.

    Args:
        cells: All cells of one or more studies.
    """
    parts: dict[tuple[str, str], list[Cell]] = {}
    for cell in cells:
        if cell.rows:
            parts.setdefault((cell.study.name, cell.part.name), []).append(cell)
    fixed = [f"`{name}` ({own[0].part.lrs[0]:g})" for (_, name), own in parts.items() if len(own[0].part.lrs) == 1]
    chosen = [own for own in parts.values() if len(own[0].part.lrs) > 1]
    at_ends = [sentence for own in chosen for sentence in _at_ends(own)]
    lines = at_ends or (["* No chosen learning rate is the largest or smallest of its list."] if chosen else [])
    if fixed:
        lines.append(
            f"* One learning rate for all contenders, without a choice: {', '.join(fixed)}. It may suit one of them better."
        )
    return lines


def _at_ends(cells: Sequence[Cell]) -> Iterator[str]:
    """Yield a sentence for each end of a part's list at which learning rates were chosen."""
    part = cells[0].part
    tried = ", ".join(f"{lr:g}" for lr in sorted(part.lrs))
    names = list(dict.fromkeys(cell.contender for cell in cells))
    of_name = {cell.contender: cell.rows[0]["lr"] for cell in cells}
    for end, word, beyond in ((max(part.lrs), "largest", "Larger"), (min(part.lrs), "smallest", "Smaller")):
        found = [contender(name) for name in names if of_name[name] == end]
        if found:
            yield (
                f"* In `{part.name}`, {len(found)} of {len(names)} contenders chose the {word} learning rate of the list ({tried}): "
                f"{'; '.join(found)}. {beyond} ones were not tried, and might be better for them."
            )
