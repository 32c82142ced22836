"""Average runs that differ only in their seed, and find the best settings of each method.

A setting is everything about a run except its seed and its label.

Tests: tests/runs/test_settings.py.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from nes_lab.errors import check_choice
from nes_lab.runs.measures import COSTS, RESULTS
from nes_lab.runs.query import nondominated

__all__ = ["SeedResult", "SettingResult", "method_of", "setting_results", "settings_with"]

_DIFFERENCES = (
    ("dataset", "{}"),
    ("backbone", "{}"),
    ("width", "width {:g}"),
    ("scope", "{}"),
    ("epochs", "{} epochs"),
    ("extended_from", "extended from {}"),
    ("lr", "learning rate {:g}"),
    ("limit", "{} training images"),
)


@dataclass(frozen=True)
class SeedResult:
    """One run of a setting: its id, its seed, its cost and its result."""

    run: str
    seed: int | None
    cost: float
    result: float


@dataclass(frozen=True)
class SettingResult:
    """The mean of all runs that differ only in their seed.

    Attributes:
        method: ``"dense"``, or the routing (way to set starts) of the epitomes.
        name: The method, and what tells this setting from others of the same method.
        cost: Mean cost, such as multiply-adds.
        result: Mean result, such as top-1 accuracy.
        spread: Standard deviation of the result over seeds; None for a single run.
        seeds: The runs, newest first.
        on_front: Whether no setting of the same method is cheaper and at least as good.
        values: Means of all columns with numbers, by name; None where no run has a value.
    """

    method: str
    name: str
    cost: float
    result: float
    spread: float | None
    seeds: tuple[SeedResult, ...]
    on_front: bool
    values: Mapping[str, float | None]

    @property
    def n(self) -> int:
        """Number of runs, each with another seed."""
        return len(self.seeds)


def method_of(row: Mapping[str, Any]) -> str:
    """Return the method of a run: ``"dense"``, or the routing (way to set starts) of its epitomes.

    Examples:
        >>> method_of({"routing": "free"}), method_of({"routing": None})
        ('free', 'dense')
    """
    return str(row.get("routing") or "dense")


def setting_results(
    rows: Iterable[Mapping[str, Any]], cost: str = "madds", result: str = "top1"
) -> list[SettingResult]:
    """Average the runs of each setting over their seeds. Runs without the cost or the result are left out.

    Args:
        rows: Rows of a run table. If two runs have the same setting and seed, only the newest counts.
        cost: A key of :data:`COSTS`.
        result: A key of :data:`RESULTS`.

    Returns:
        One entry per setting, ordered by method and cost.

    Raises:
        OptionError: If the cost or the result is unknown.

    Examples:
        >>> rows = [{"routing": "free", "setting": "a", "seed": seed, "madds": 10, "top1": 90.0 + seed} for seed in (0, 2)]
        >>> [(entry.method, entry.result, entry.n) for entry in setting_results(rows)]
        [('free', 91.0, 2)]
    """
    check_choice("cost", cost, tuple(COSTS))
    check_choice("result", result, tuple(RESULTS))
    groups: dict[tuple[Any, ...], dict[Any, Mapping[str, Any]]] = {}
    for place, row in enumerate(rows):
        if _finite(row.get(cost)) is None or _finite(row.get(result)) is None:
            continue
        known = row.get("setting") is not None
        key = tuple(row.get(name) for name in ("setting", "dataset", "backbone", "routing", "params", "madds"))
        seeds = groups.setdefault(key if known else (place,), {})
        seed = row.get("seed") if row.get("seed") is not None else ("unknown", place)
        if seed not in seeds or str(row.get("id")) > str(seeds[seed].get("id")):
            seeds[seed] = row
    members = [sorted(seeds.values(), key=lambda row: str(row.get("id")), reverse=True) for seeds in groups.values()]
    means = [statistics.fmean(row[cost] for row in rows) for rows in members]
    names = _names([rows[0] for rows in members], [COSTS[cost].text(mean) for mean in means])
    entries = [_average(rows, name, cost, result) for rows, name in zip(members, names, strict=True)]
    return sorted(_with_fronts(entries, result), key=lambda entry: (entry.method != "dense", entry.method, entry.cost))


def settings_with(settings: Iterable[SettingResult], runs: Collection[str]) -> list[SettingResult]:
    """Return the settings that have at least one of these runs.

    Examples:
        >>> rows = [{"id": name, "setting": name, "routing": name, "madds": 10, "top1": 90.0} for name in ("free", "tiled")]
        >>> [entry.method for entry in settings_with(setting_results(rows), ["tiled", "gone"])]
        ['tiled']
    """
    return [entry for entry in settings if any(seed.run in runs for seed in entry.seeds)]


def _average(rows: Sequence[Mapping[str, Any]], name: str, cost: str, result: str) -> SettingResult:
    seeds = tuple(SeedResult(str(row.get("id") or ""), row.get("seed"), row[cost], row[result]) for row in rows)
    results = [seed.result for seed in seeds]
    columns = {
        key: [number for row in rows if (number := _finite(row.get(key))) is not None] for key in COSTS | RESULTS
    }
    return SettingResult(
        method=method_of(rows[0]),
        name=name,
        cost=statistics.fmean(seed.cost for seed in seeds),
        result=statistics.fmean(results),
        spread=statistics.stdev(results) if len(results) > 1 else None,
        seeds=seeds,
        on_front=False,
        values={key: statistics.fmean(numbers) if numbers else None for key, numbers in columns.items()},
    )


def _with_fronts(entries: Sequence[SettingResult], result: str) -> list[SettingResult]:
    sign = 1 if RESULTS[result].lower_is_better else -1
    done = []
    for method in dict.fromkeys(entry.method for entry in entries):
        same = [entry for entry in entries if entry.method == method]
        front = nondominated([(entry.cost, sign * entry.result) for entry in same])
        done += [replace(entry, on_front=is_best) for entry, is_best in zip(same, front, strict=True)]
    return done


def _names(rows: Sequence[Mapping[str, Any]], costs: Sequence[str]) -> list[str]:
    """Name each setting by its method, the options in which settings of this method differ, and its cost.

    Where this is not enough, the number of params is added, then a hash of the configuration.
    """
    differing = {}
    for method in {method_of(row) for row in rows}:
        same = [row for row in rows if method_of(row) == method]
        differing[method] = [(key, form) for key, form in _DIFFERENCES if len({str(row.get(key)) for row in same}) > 1]
    named = []
    for row, cost in zip(rows, costs, strict=True):
        words = [form.format(row[key]) for key, form in differing[method_of(row)] if row.get(key) is not None]
        name = " ".join((method_of(row), *words, f"at {cost}"))
        named.append(
            (name, f"{name}, {COSTS['params'].text(row.get('params'))}", f"{name}, setting {row.get('setting')}")
        )
    counts = [Counter(column) for column in zip(*named, strict=True)]
    return [next((n for n, count in zip(names, counts, strict=True) if count[n] == 1), names[-1]) for names in named]


def _finite(value: Any) -> float | None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return value if number and math.isfinite(value) else None
