"""Say which setting is best within limits, which settings are worse, and which cannot be told apart from it.

Tests: tests/runs/test_settings.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nes_lab.records.columns import Column
from nes_lab.records.table import Table
from nes_lab.runs.difference import Difference, mean_difference
from nes_lab.runs.measures import COSTS, RESULTS, Measure
from nes_lab.runs.settings import SettingResult
from nes_lab.text import NO_VALUE, format_ms, list_some

__all__ = ["Comparison", "Verdict", "is_within", "latency_finding", "setting_table", "verdict"]


_SAME_TIME = 1.05
"""Two measured times whose ratio is at most this count as equal."""


@dataclass(frozen=True)
class Comparison:
    """Holds how much better the best setting is than another one.

    Attributes:
        other: The other setting.
        gap: How much better the best one is, with its 95 % interval; positive is better.
    """

    other: SettingResult
    gap: Difference


@dataclass(frozen=True)
class Verdict:
    """Says which setting is best within limits, in words and numbers.

    Attributes:
        best: The best setting; None if no setting is within the limits.
        heading: The question, such as ``"Best top-1 under 20 M MAdds"``.
        answer: The answer in one line.
        lines: Sentences about the answer: its numbers, what it is better than, and what it cannot be told apart from.
        comparisons: The best setting against each other one within the limits, best first.
    """

    best: SettingResult | None
    heading: str
    answer: str
    lines: tuple[str, ...]
    comparisons: tuple[Comparison, ...] = ()

    def __str__(self) -> str:
        return "\n".join((self.heading, self.answer, *self.lines))


def verdict(
    settings: Sequence[SettingResult],
    cost: str = "madds",
    result: str = "top1",
    budget: float | None = None,
    least: float | None = None,
) -> Verdict:
    """Say which setting is best within limits, and which settings cannot be told apart from it.

    With a budget, or without any limit, the best setting is the one with the best result. With a limit of the result alone, it is the
    cheapest one. Two settings are compared by the rule of :mod:`nes_lab.runs.difference`. With a single seed there is no spread, so
    nothing can be said.

    Args:
        settings: Settings from :func:`setting_results`, with the same cost and result.
        cost: A key of :data:`COSTS`.
        result: A key of :data:`RESULTS`.
        budget: The most that a network may cost. None: no limit.
        least: The least accuracy, or the largest loss, that a network may have. None: no limit.

    Examples:
        >>> from nes_lab.runs.settings import setting_results
        >>> rows = [{"routing": routing, "setting": routing, "seed": seed, "params": 5, "madds": 10, "top1": top1 + seed / 10}
        ...         for routing, top1 in (("free", 90.0), ("tiled", 80.0)) for seed in range(3)]
        >>> answer = verdict(setting_results(rows), budget=12)
        >>> answer.heading, answer.answer
        ('Best top-1 under 12 MAdds', 'free: 90.1 ± 0.1 %')
        >>> answer.lines[1]
        'Better than tiled at 10 MAdds by 10.0 points (9.8 to 10.2).'
        >>> verdict(setting_results(rows), least=75.0).heading
        'Fewest MAdds with a top-1 of at least 75.0 %'
    """
    x, y = COSTS[cost], RESULTS[result]
    heading = _heading(x, y, budget, least)
    if not settings:
        return Verdict(None, heading, f"No run has {x.name} and {y.name}.", ())
    within = [entry for entry in settings if is_within(entry, result, budget, least)]
    if not within:
        return _nothing(settings, heading, x, y, budget)
    sign = -1 if y.lower_is_better else 1
    by_result = sorted(within, key=lambda entry: (-sign * entry.result, entry.cost))
    cheapest = min(within, key=lambda entry: (entry.cost, -sign * entry.result))
    best = cheapest if budget is None and least is not None else by_result[0]
    compared = tuple(_compare(best, other, sign) for other in by_result if other is not best)
    facts = [f"{best.n} {'seed' if best.n == 1 else 'seeds'}"]
    facts += [measure.text(best.values[key]) for key, measure in COSTS.items() if best.values.get(key) is not None]
    lines = [" · ".join(facts), *_compared_lines(compared, y)]
    if least is not None and cheapest is not best:
        lines.append(
            f"The cheapest within both limits is {cheapest.name}, with {y.text(cheapest.result, cheapest.spread)}."
        )
    return Verdict(
        best,
        heading,
        f"{best.method}: {y.text(best.result, best.spread)}",
        (*lines, *_outside_lines(settings, within, budget, y)),
        compared,
    )


def is_within(entry: SettingResult, result: str, budget: float | None, least: float | None) -> bool:
    """Return whether a setting breaks no limit. The limits are those of :func:`verdict`."""
    if budget is not None and entry.cost > budget:
        return False
    if least is None:
        return True
    return entry.result <= least if RESULTS[result].lower_is_better else entry.result >= least


def _heading(x: Measure, y: Measure, budget: float | None, least: float | None) -> str:
    limit = "" if least is None else f"a {y.name} of at {'most' if y.lower_is_better else 'least'} {y.text(least)}"
    if least is not None and budget is None:
        return f"{'Fewest' if x.unit == 'count' else 'Least'} {x.name} with {limit}"
    under = " of all" if budget is None else f" under {x.text(budget)}"
    return f"{'Lowest' if y.lower_is_better else 'Best'} {y.name}{under}" + (f", with {limit}" if limit else "")


def _nothing(settings: Sequence[SettingResult], heading: str, x: Measure, y: Measure, budget: float | None) -> Verdict:
    cheap = [entry for entry in settings if budget is None or entry.cost <= budget]
    if not cheap:
        small = min(settings, key=lambda entry: entry.cost)
        line = f"The smallest is {small.name}, with {x.text(small.cost)}."
        return Verdict(None, heading, "Nothing is that small.", (line,))
    top = min(cheap, key=lambda entry: entry.result if y.lower_is_better else -entry.result)
    line = f"The best{'' if budget is None else ' within the budget'} is {top.name}, with {y.text(top.result, top.spread)}."
    return Verdict(None, heading, "Nothing is that good.", (line,))


def _outside_lines(
    settings: Sequence[SettingResult], within: Sequence[SettingResult], budget: float | None, y: Measure
) -> list[str]:
    over = sum(budget is not None and entry.cost > budget for entry in settings)
    bad = len(settings) - len(within) - over
    counted = ((over, "over the budget"), (bad, f"not good enough in {y.name}"))
    return [f"{count} {'setting is' if count == 1 else 'settings are'} {why}." for count, why in counted if count]


def _compare(best: SettingResult, other: SettingResult, sign: int) -> Comparison:
    mine, theirs = ([sign * seed.result for seed in entry.seeds] for entry in (best, other))
    return Comparison(other, mean_difference(mine, theirs))


def _compared_lines(compared: Sequence[Comparison], y: Measure) -> list[str]:
    lines = []
    better = [item for item in compared if item.gap.sign > 0]
    alike = [item for item in compared if item.gap.is_known and item.gap.sign == 0]
    worse = [item for item in compared if item.gap.sign < 0]
    unknown = [item for item in compared if not item.gap.is_known]
    if alike:
        named = list_some([f"{item.other.name} ({_interval(item.gap, y)})" for item in alike], most=3)
        lines.append(f"Cannot be told apart from {named}.")
    if better:
        first = better[0]
        more = len(better) - 1
        others = f", and than {more} {'other setting' if more == 1 else 'other settings'}" if more else ""
        lines.append(f"Better than {first.other.name} by {y.gap(first.gap.value)} ({_interval(first.gap, y)}){others}.")
    if worse:
        named = list_some([f"{item.other.name} ({y.gap(item.gap.value)})" for item in worse], most=3)
        lines.append(f"Cheaper, but worse than {named}.")
    if unknown:
        named = list_some([f"{item.other.name} ({y.gap(item.gap.value)})" for item in unknown], most=3)
        lines.append(f"Too few seeds to tell it from {named}. Train at least two seeds of each.")
    return lines


def _interval(gap: Difference, y: Measure) -> str:
    return f"{y.gap(gap.low or 0, signed=True)} to {y.gap(gap.high or 0, signed=True)}"


def setting_table(settings: Sequence[SettingResult], answer: Verdict, result: str = "top1") -> Table:
    """Return a table with one row per setting, as text: its result, its costs, and how it compares with the best.

    Each row has, as ``run``, the id of the newest run, which is not shown.

    Examples:
        >>> from nes_lab.runs.settings import setting_results
        >>> rows = [{"routing": "free", "setting": "a", "seed": 0, "madds": 10, "params": 5, "top1": 90.0}]
        >>> settings = setting_results(rows)
        >>> list(setting_table(settings, verdict(settings)).rows[0].values())
        ['free at 10 MAdds', '90.0 %', '★ best', '10', '5', '–', '–', '1', '']
    """
    measure = RESULTS[result]
    columns = [
        Column("setting", "Setting", "Runs that differ only in their seed."),
        Column(
            result, measure.name[:1].upper() + measure.name[1:], "Mean over seeds, ± the standard deviation over seeds."
        ),
        Column("verdict", "Compared with the best", "By a 95 % interval of the difference of the means."),
        *(Column(key, each.name, f"Mean over seeds: {each.title}.", empty=NO_VALUE) for key, each in COSTS.items()),
        Column("n", "Seeds", "Number of runs, each with another seed."),
    ]
    notes = {id(item.other): _note(item) for item in answer.comparisons}
    if answer.best is not None:
        notes[id(answer.best)] = "★ best"
    sign = 1 if measure.lower_is_better else -1
    rows = [
        {
            "setting": entry.name,
            result: measure.text(entry.result, entry.spread),
            "verdict": notes.get(id(entry), "outside the limits"),
            **{key: each.number(entry.values.get(key)) for key, each in COSTS.items()},
            "n": str(entry.n),
            "run": entry.seeds[0].run,
        }
        for entry in sorted(settings, key=lambda entry: (id(entry) not in notes, sign * entry.result))
    ]
    return Table(columns, rows)


def _note(item: Comparison) -> str:
    if not item.gap.is_known:
        return "too few seeds to tell"
    return {1: "worse", 0: "not told apart", -1: "better"}[item.gap.sign]


def latency_finding(settings: Sequence[SettingResult]) -> str:
    """Say in one sentence whether the epitome networks are faster than the largest dense one. Empty if their times are not known.

    Examples:
        >>> from nes_lab.runs.settings import setting_results
        >>> rows = [{"routing": routing, "setting": routing, "seed": 0, "madds": 10, "top1": 90.0, "latency_ms": ms}
        ...         for routing, ms in ((None, 1.0), ("tiled", 2.0), ("free", 7.0))]
        >>> latency_finding(setting_results(rows))
        'Every epitome network here is slower than the dense one: 2 to 7 ms against 1 ms.'
    """
    timed = [(entry, ms) for entry in settings if (ms := entry.values.get("latency_ms")) is not None]
    dense = [(entry, ms) for entry, ms in timed if entry.method == "dense"]
    times = sorted(ms for entry, ms in timed if entry.method != "dense")
    if not dense or not times:
        return ""
    reference = max(dense, key=lambda pair: pair[0].values.get("madds") or 0)[1]
    faster = sum(ms < reference / _SAME_TIME for ms in times)
    slower = sum(ms > reference * _SAME_TIME for ms in times)
    share = f"{faster} of {len(times)} epitome networks here are faster"
    if faster == 0:
        share = "Every epitome network here is slower" if slower == len(times) else "No epitome network here is faster"
    elif faster == len(times):
        share = "Every epitome network here is faster"
    low, high = format_ms(times[0]), format_ms(times[-1])
    span = low if low == high else f"{low.removesuffix(' ms')} to {high}"
    named = "dense one" if len(dense) == 1 else "largest dense one"
    return f"{share} than the {named}: {span} against {format_ms(reference)}."
