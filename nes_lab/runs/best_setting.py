"""Define ``nes_lab.best_setting``: say which setting of many runs is best within limits, and how sure that is.

Tests: tests/runs/test_best_setting.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from nes_lab.errors import OptionError
from nes_lab.runs.handle import RunHandle
from nes_lab.runs.info import RunInfo
from nes_lab.runs.query import run_table
from nes_lab.runs.settings import setting_results
from nes_lab.runs.verdict import Verdict, verdict

__all__ = ["best_setting", "rows_of"]


def best_setting(
    runs: Iterable[RunHandle | RunInfo | Mapping[str, Any]],
    cost: str = "madds",
    result: str = "top1",
    budget: float | None = None,
    least: float | None = None,
) -> Verdict:
    """Say which setting of many runs is best within limits, and which settings cannot be told apart from it.

    Runs that differ only in their seed are one setting. With a budget, or without any limit, the best setting is the one with the
    best mean result. With ``least`` alone, it is the cheapest one that is good enough. Two settings are told apart if the 95 %
    interval of the difference of their means (Welch) does not hold 0. Settings with a single seed cannot be compared.
    :func:`nes_lab.figures.trade_off` draws the same comparison.

    Args:
        runs: Runs, as :func:`nes_lab.list_runs` returns them, or rows of a run table, one mapping per run. Unfinished runs, which
            have no result, are left out.
        cost: ``"madds"``, ``"params"``, ``"stored_bytes"`` or ``"latency_ms"``.
        result: ``"top1"``, ``"top5"`` or ``"val_loss"``.
        budget: The most that a network may cost. None: no limit.
        least: The least accuracy in percent, or the largest loss, that a network may have. None: no limit.

    Returns:
        The verdict: printed, it is a few sentences. ``best`` is the best setting with its mean, spread and seeds; it is None if no
        setting is within the limits. ``comparisons`` has the difference to every other setting, with its interval.

    Raises:
        OptionError: If the cost or the result is unknown, or ``runs`` holds something else.

    Examples:
        >>> import nes_lab
        >>> rows = [{"routing": routing, "setting": routing, "seed": seed, "madds": 10, "top1": top1 + seed / 10}
        ...         for routing, top1 in (("free", 90.0), ("tiled", 80.0)) for seed in range(3)]
        >>> print(nes_lab.best_setting(rows, budget=12))
        Best top-1 under 12 MAdds
        free: 90.1 ± 0.1 %
        3 seeds · 10 MAdds
        Better than tiled at 10 MAdds by 10.0 points (9.8 to 10.2).
    """
    return verdict(setting_results(rows_of(runs), cost, result), cost, result, budget, least)


def rows_of(runs: Iterable[RunHandle | RunInfo | Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return one row of a run table for each run. Rows are returned unchanged.

    Raises:
        OptionError: If ``runs`` holds something else.
    """
    return [_row(run) for run in ([runs] if isinstance(runs, RunHandle | RunInfo | Mapping) else runs)]


def _row(run: object) -> Mapping[str, Any]:
    info = run.info if isinstance(run, RunHandle) else run
    if isinstance(info, RunInfo):
        return run_table([info])[0]
    if not isinstance(info, Mapping):
        raise OptionError(f"runs has {info!r} in it; give runs, as nes_lab.list_runs() returns them, or dicts")
    return info
