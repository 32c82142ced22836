"""Sum up each method: how many settings and runs it has, and its best result within limits.

Tests: tests/runs/test_settings.py.
"""

from __future__ import annotations

from collections.abc import Sequence

from nes_lab.records.columns import Column
from nes_lab.records.table import Table
from nes_lab.runs.measures import COSTS, RESULTS
from nes_lab.runs.settings import SettingResult
from nes_lab.runs.verdict import is_within
from nes_lab.text import NO_VALUE

__all__ = ["method_table"]


def method_table(
    settings: Sequence[SettingResult],
    cost: str = "madds",
    result: str = "top1",
    budget: float | None = None,
    least: float | None = None,
) -> Table:
    """Return a table with one row per method, as text: its number of runs, and its best setting within the limits.

    Args:
        settings: Settings from :func:`nes_lab.runs.settings.setting_results`, with the same cost and result.
        cost: A key of :data:`nes_lab.runs.measures.COSTS`.
        result: A key of :data:`nes_lab.runs.measures.RESULTS`.
        budget: The most that a network may cost. None: no limit.
        least: The least accuracy, or the largest loss, that a network may have. None: no limit.

    Examples:
        >>> from nes_lab.runs.settings import setting_results
        >>> rows = [{"routing": routing, "setting": routing, "seed": 0, "madds": madds, "top1": 90.0}
        ...         for routing, madds in (("free", 10), ("tiled", 20))]
        >>> print(method_table(setting_results(rows), budget=12).text())
        Method    Runs    Best top-1    At MAdds
        --------  ------  ------------  ----------
        free      1       90.0          10
        tiled     1       –             –
    """
    x, y = COSTS[cost], RESULTS[result]
    columns = (
        Column("method", "Method", "Dense, or the way to set starts."),
        Column("runs", "Runs", "Number of runs."),
        Column(
            "best", f"Best {y.name}", "Of the settings within the limits: mean over seeds, ± the standard deviation."
        ),
        Column("cost", f"At {x.name}", "What that setting costs."),
    )
    sign = 1 if y.lower_is_better else -1
    rows = []
    for method in dict.fromkeys(entry.method for entry in settings):
        same = [entry for entry in settings if entry.method == method]
        within = [entry for entry in same if is_within(entry, result, budget, least)]
        best = min(within, key=lambda entry: (sign * entry.result, entry.cost), default=None)
        rows.append(
            {
                "method": method,
                "runs": str(sum(entry.n for entry in same)),
                "best": NO_VALUE if best is None else y.number(best.result, best.spread),
                "cost": NO_VALUE if best is None else x.number(best.cost),
            }
        )
    return Table(columns, rows)
