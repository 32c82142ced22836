"""Average runs that differ only in their seed, and say which setting is best under a budget.

A setting is everything about a run except its seed and its label. The words of :func:`verdict` say which settings are worse than
the best one, and which cannot be told apart from it.

Tests: tests/runs/test_settings.py.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from nes_lab.errors import BudgetError, check_choice
from nes_lab.records.budget import parse_quantity
from nes_lab.records.columns import Column
from nes_lab.records.table import Table
from nes_lab.runs.query import nondominated
from nes_lab.text import NO_VALUE, format_bytes, format_ms, format_number, list_some

__all__ = [
    "COSTS",
    "RESULTS",
    "Comparison",
    "Measure",
    "SeedResult",
    "SettingResult",
    "Verdict",
    "method_of",
    "read_limit",
    "setting_results",
    "setting_table",
    "verdict",
]


@dataclass(frozen=True)
class Measure:
    """A number of a run that one can compare: a cost such as params, or a result such as top-1 accuracy.

    Args:
        key: Name of the column in a run table.
        name: The measure in a sentence and at the head of a column.
        title: Title of an axis, with the unit.
        unit: ``"count"``, ``"bytes"``, ``"ms"``, ``"percent"`` or ``"loss"``.
        lower_is_better: Whether small values are the good ones.
    """

    key: str
    name: str
    title: str
    unit: str
    lower_is_better: bool = True

    def text(self, value: float | None, spread: float | None = None) -> str:
        """Return a value with its unit, and with its spread over seeds if there is one.

        Examples:
            >>> COSTS["madds"].text(18.4e6), RESULTS["top1"].text(88.93, 0.31), RESULTS["top1"].text(None)
            ('18.4 M MAdds', '88.9 ± 0.3 %', '–')
        """
        if value is None:
            return NO_VALUE
        if self.unit == "count":
            return f"{format_number(value)} {self.name}"
        if self.unit in ("bytes", "ms"):
            return format_bytes(value) if self.unit == "bytes" else format_ms(value)
        digits = 1 if self.unit == "percent" else 3
        sign = " %" if self.unit == "percent" else ""
        return f"{value:.{digits}f}" + ("" if spread is None else f" ± {spread:.{digits}f}") + sign

    def gap(self, value: float, signed: bool = False) -> str:
        """Return a difference of two values in words, without its sign unless asked for.

        Examples:
            >>> RESULTS["top1"].gap(-1.1), RESULTS["top1"].gap(-0.1, signed=True), RESULTS["val_loss"].gap(0.02)
            ('1.1 points', '−0.1', '0.020')
        """
        digits = 1 if self.unit == "percent" else 3
        if signed:
            return f"{value:.{digits}f}".replace("-", "−")
        return f"{abs(value):.{digits}f}" + (" points" if self.unit == "percent" else "")


COSTS = {
    measure.key: measure
    for measure in (
        Measure("madds", "MAdds", "multiply-adds of one input (MAdds)", "count"),
        Measure("params", "params", "stored numbers (params)", "count"),
        Measure("stored_bytes", "stored bytes", "stored size (bytes)", "bytes"),
        Measure("latency_ms", "time", "time of one forward (ms)", "ms"),
    )
}
"""What a network costs: key of the column -> measure."""

RESULTS = {
    measure.key: measure
    for measure in (
        Measure("top1", "top-1", "top-1 accuracy (%)", "percent", lower_is_better=False),
        Measure("top5", "top-5", "top-5 accuracy (%)", "percent", lower_is_better=False),
        Measure("val_loss", "loss", "validation loss", "loss"),
    )
}
"""How good a network is: key of the column -> measure."""

# 97.5 % quantiles of Student's t with 1, 2, ... degrees of freedom; past the end, those of the normal distribution
_T = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110,
      2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042)  # fmt: skip
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


@dataclass(frozen=True)
class Comparison:
    """Holds how much better the best setting is than another one, with a 95 % interval of the difference (Welch).

    Attributes:
        other: The other setting.
        difference: How much better the best one is; positive is better.
        low: Lower end of the interval; None if one of the two has a single seed.
        high: Upper end of the interval.
    """

    other: SettingResult
    difference: float
    low: float | None = None
    high: float | None = None

    @property
    def is_better(self) -> bool:
        """True if the whole interval is above 0."""
        return self.low is not None and self.low > 0


@dataclass(frozen=True)
class Verdict:
    """Says which setting is best under a budget, in words and numbers.

    Attributes:
        best: The best setting; None if no setting is within the budget.
        heading: The question, such as ``"Best top-1 under 20 M MAdds"``.
        answer: The answer in one line.
        lines: Sentences about the answer: its numbers, what it is better than, and what it cannot be told apart from.
        comparisons: The best setting against each other one within the budget, best first.
    """

    best: SettingResult | None
    heading: str
    answer: str
    lines: tuple[str, ...]
    comparisons: tuple[Comparison, ...] = ()


def verdict(
    settings: Sequence[SettingResult], cost: str = "madds", result: str = "top1", budget: float | None = None
) -> Verdict:
    """Say which setting is best under a budget, and which settings cannot be told apart from it.

    Two settings are compared by a 95 % interval of the difference of their means, from the spreads over seeds (Welch). With a
    single seed there is no spread, so nothing can be said.

    Args:
        settings: Settings from :func:`setting_results`, with the same cost and result.
        cost: A key of :data:`COSTS`.
        result: A key of :data:`RESULTS`.
        budget: The most that a network may cost. None: no limit.

    Examples:
        >>> rows = [{"routing": routing, "setting": routing, "seed": seed, "params": 5, "madds": 10, "top1": top1 + seed / 10}
        ...         for routing, top1 in (("free", 90.0), ("tiled", 80.0)) for seed in range(3)]
        >>> answer = verdict(setting_results(rows), budget=12)
        >>> answer.heading, answer.answer
        ('Best top-1 under 12 MAdds', 'free: 90.1 ± 0.1 %')
        >>> answer.lines[1]
        'Better than tiled at 10 MAdds by 10.0 points (9.8 to 10.2).'
    """
    x, y = COSTS[cost], RESULTS[result]
    limit = f" under {x.text(budget)}" if budget is not None else " of all"
    heading = f"{'Lowest' if y.lower_is_better else 'Best'} {y.name}{limit}"
    within = [entry for entry in settings if budget is None or entry.cost <= budget]
    if not settings:
        return Verdict(None, heading, f"No run has {x.name} and {y.name}.", ())
    if not within:
        least = min(settings, key=lambda entry: entry.cost)
        return Verdict(
            None, heading, "Nothing is that small.", (f"The smallest is {least.name}, with {x.text(least.cost)}.",)
        )
    sign = -1 if y.lower_is_better else 1
    best, *others = sorted(within, key=lambda entry: (-sign * entry.result, entry.cost))
    compared = tuple(_compare(best, other, sign) for other in others)
    facts = [f"{best.n} {'seed' if best.n == 1 else 'seeds'}"]
    facts += [measure.text(best.values[key]) for key, measure in COSTS.items() if best.values.get(key) is not None]
    lines = [" · ".join(facts), *_compared_lines(compared, y)]
    over = len(settings) - len(within)
    if over:
        lines.append(f"{over} {'setting is' if over == 1 else 'settings are'} over the budget.")
    return Verdict(best, heading, f"{best.method}: {y.text(best.result, best.spread)}", tuple(lines), compared)


def _compare(best: SettingResult, other: SettingResult, sign: int) -> Comparison:
    difference = sign * (best.result - other.result)
    if best.spread is None or other.spread is None:
        return Comparison(other, difference)
    parts = [(entry.spread**2 / entry.n, entry.n) for entry in (best, other) if entry.spread]
    variance = sum(part for part, _ in parts)
    if variance == 0:
        return Comparison(other, difference, difference, difference)
    freedom = int(variance**2 / sum(part**2 / (n - 1) for part, n in parts))
    half = (_T[max(freedom, 1) - 1] if freedom <= len(_T) else 1.96) * math.sqrt(variance)
    return Comparison(other, difference, difference - half, difference + half)


def _compared_lines(compared: Sequence[Comparison], y: Measure) -> list[str]:
    lines = []
    better = [item for item in compared if item.is_better]
    alike = [item for item in compared if item.low is not None and not item.is_better]
    unknown = [item for item in compared if item.low is None]
    if alike:
        named = list_some([_interval(item, y) for item in alike], most=3)
        lines.append(f"Cannot be told apart from {named}.")
    if better:
        first = better[0]
        more = len(better) - 1
        others = f", and than {more} {'other setting' if more == 1 else 'other settings'}" if more else ""
        gap = (
            f"{y.gap(first.difference)} ({y.gap(first.low or 0, signed=True)} to {y.gap(first.high or 0, signed=True)})"
        )
        lines.append(f"Better than {first.other.name} by {gap}{others}.")
    if unknown:
        named = list_some([f"{item.other.name} ({y.gap(item.difference)})" for item in unknown], most=3)
        lines.append(f"Too few seeds to tell it from {named}. Train at least two seeds of each.")
    return lines


def _interval(item: Comparison, y: Measure) -> str:
    return f"{item.other.name} ({y.gap(item.low or 0, signed=True)} to {y.gap(item.high or 0, signed=True)})"


def setting_table(settings: Sequence[SettingResult], answer: Verdict, result: str = "top1") -> Table:
    """Return a table with one row per setting, as text with units: its result, its costs, and how it compares with the best.

    Examples:
        >>> rows = [{"routing": "free", "setting": "a", "seed": 0, "madds": 10, "params": 5, "top1": 90.0}]
        >>> settings = setting_results(rows)
        >>> list(setting_table(settings, verdict(settings)).rows[0].values())
        ['free at 10 MAdds', '90.0 %', '★ best', '10 MAdds', '5 params', '–', '–', '1']
    """
    measure = RESULTS[result]
    columns = [
        Column("setting", "setting", "Runs that differ only in their seed."),
        Column(result, measure.name, "Mean over seeds, ± the standard deviation over seeds."),
        Column("verdict", "compared with the best", "By a 95 % interval of the difference of the means."),
        *(Column(key, each.name, f"Mean over seeds: {each.title}.", empty=NO_VALUE) for key, each in COSTS.items()),
        Column("n", "seeds", "Number of runs, each with another seed."),
    ]
    notes = {id(item.other): _note(item) for item in answer.comparisons}
    if answer.best is not None:
        notes[id(answer.best)] = "★ best"
    sign = 1 if measure.lower_is_better else -1
    rows = [
        {
            "setting": entry.name,
            result: measure.text(entry.result, entry.spread),
            "verdict": notes.get(id(entry), "over the budget"),
            **{key: each.text(entry.values.get(key)) for key, each in COSTS.items()},
            "n": str(entry.n),
        }
        for entry in sorted(settings, key=lambda entry: (id(entry) not in notes, sign * entry.result))
    ]
    return Table(columns, rows)


def _note(item: Comparison) -> str:
    if item.low is None:
        return "too few seeds to tell"
    return "worse" if item.is_better else "not told apart"


def read_limit(text: str, cost: str = "madds") -> float | None:
    """Read a budget that a user typed, such as ``1.2M``, ``140 kB`` or ``2.1 ms``. None if the text is empty.

    A share such as 60% is refused. The runs may have different dense networks, so a share would have no clear meaning.

    Raises:
        BudgetError: If the text is not a number, or is a share.

    Examples:
        >>> read_limit("1.2M"), read_limit("2.1 ms", "latency_ms"), read_limit("140 kB", "stored_bytes"), read_limit(" ")
        (1200000.0, 2.1, 140000.0, None)
    """
    unit = COSTS[cost].unit
    bare = text.strip()
    if not bare:
        return None
    for ending in {"ms": ("ms",), "bytes": ("bytes", "B")}.get(unit, ()):
        bare = bare.removesuffix(ending).strip()
    if unit == "ms":
        try:
            number = float(bare)
        except ValueError:
            number = math.nan
        if not 0 < number < math.inf:
            raise BudgetError(f"budget {text!r} cannot be read; give a time in milliseconds, such as 2.5")
        return number
    example = "140 kB" if unit == "bytes" else "1.2M"
    try:
        value = parse_quantity(bare)
    except BudgetError as error:
        raise BudgetError(f"budget {text!r} cannot be read; give a number such as {example}") from error
    if value is not None and value <= 1:
        raise BudgetError(
            f"budget {text!r} is a share; give a number such as {example}, because the runs have different dense networks"
        )
    return float(value) if value is not None else None
