"""Compare the settings of finished runs: mean and spread over seeds, and which settings can be told apart from the best.

Tests: tests/runs/test_settings.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from nes_lab.errors import OptionError
from nes_lab.records.table import Table
from nes_lab.runs.best_setting import rows_of
from nes_lab.runs.difference import RULE
from nes_lab.runs.handle import RunHandle
from nes_lab.runs.info import RunInfo
from nes_lab.runs.settings import SettingResult, setting_results
from nes_lab.runs.verdict import Verdict, setting_table, verdict

__all__ = ["SettingComparison", "compare_settings"]


@dataclass(frozen=True, repr=False)
class SettingComparison:
    """The comparison of settings that :func:`compare_settings` returns. A setting is what runs share that differ only in their seed.

    Attributes:
        settings: One entry per setting: mean, spread over seeds, and costs.
        verdict: Which setting is best, and what it can be told apart from.
        result: The number that is compared, such as ``"top1"``.

    Examples:
        >>> import nes_lab
        >>> rows = [{"routing": r, "setting": r, "seed": s, "madds": 10, "top1": 90.0 + s} for r in ("free", "tiled") for s in (0, 1)]
        >>> comparison = nes_lab.compare_settings(rows)
        >>> isinstance(comparison, nes_lab.SettingComparison), len(comparison.settings)
        (True, 2)
    """

    settings: tuple[SettingResult, ...]
    verdict: Verdict
    result: str

    @property
    def worse(self) -> tuple[str, ...]:
        """Names of the methods that are worse than the best setting by more than noise, such as ``"tiled"``."""
        return tuple(item.other.method for item in self.verdict.comparisons if item.gap.sign > 0)

    @property
    def undecided(self) -> tuple[str, ...]:
        """Names of the methods that cannot be told apart from the best setting, also because they have too few seeds."""
        return tuple(item.other.method for item in self.verdict.comparisons if item.gap.sign == 0)

    def table(self) -> Table:
        """Return the comparison as a table, with one row per setting."""
        table = setting_table(self.settings, self.verdict, self.result)
        known = [column for column in table.columns if any(row[column.key] != "–" for row in table.rows)]
        return replace(table, columns=known, before=[self.verdict.heading], after=[*self.verdict.lines, RULE])

    def __repr__(self) -> str:
        return f"SettingComparison: {self.verdict.heading}: {self.verdict.answer}"

    def __str__(self) -> str:
        return self.table().text()

    def _repr_html_(self) -> str:
        return self.table().html()


def compare_settings(
    runs: Iterable[RunHandle | RunInfo | Mapping[str, Any]],
    cost: str = "madds",
    result: str = "top1",
    budget: float | None = None,
    least: float | None = None,
) -> SettingComparison:
    """Average finished runs over their seeds, and make a table: each setting, its spread, and how it compares with the best.

    :func:`nes_lab.best_setting` says the same in a few sentences, :func:`nes_lab.figures.setting_seeds` draws it.

    A setting is everything about a run except its seed and its label. A difference counts if its 95 % interval excludes 0. The
    interval follows from the spread over seeds (Welch), so each setting needs at least two seeds. The best of many settings is best
    by chance too: more seeds make sure.

    Args:
        runs: Runs, as :func:`nes_lab.list_runs` returns them, or rows of a run table.
        cost: ``"madds"``, ``"params"``, ``"stored_bytes"`` or ``"latency_ms"``.
        result: ``"top1"``, ``"top5"`` or ``"val_loss"``.
        budget: The most that a network may cost. None: no limit.
        least: The least accuracy, or the largest loss, that a network may have. None: no limit.

    Raises:
        OptionError: If ``cost`` or ``result`` is unknown, or no run has both.

    Examples:
        >>> import nes_lab
        >>> rows = [{"routing": "free", "setting": "a", "seed": seed, "madds": 10, "top1": 90.0 + seed} for seed in range(3)]
        >>> rows += [{"routing": "tiled", "setting": "b", "seed": seed, "madds": 10, "top1": 70.0 + seed} for seed in range(3)]
        >>> comparison = nes_lab.compare_settings(rows)
        >>> comparison, comparison.worse
        (SettingComparison: Best top-1 of all: free: 91.0 ± 1.0 %, ('tiled',))
    """
    rows = rows_of(runs)
    settings = setting_results(rows, cost, result)
    if not settings:
        raise OptionError(f"none of the {len(rows)} runs has {cost} and {result}; give finished runs")
    return SettingComparison(tuple(settings), verdict(settings, cost, result, budget, least), result)
