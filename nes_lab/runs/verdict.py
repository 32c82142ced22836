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
from nes_lab.text import NO_VALUE, list_some

__all__ = ["Comparison", "Verdict", "setting_table", "verdict"]


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

    Two settings are compared by the rule of :mod:`nes_lab.runs.difference`. With a single seed there is no spread, so nothing can
    be said.

    Args:
        settings: Settings from :func:`setting_results`, with the same cost and result.
        cost: A key of :data:`COSTS`.
        result: A key of :data:`RESULTS`.
        budget: The most that a network may cost. None: no limit.

    Examples:
        >>> from nes_lab.runs.settings import setting_results
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
    results = [[sign * seed.result for seed in entry.seeds] for entry in (best, other)]
    return Comparison(other, mean_difference(*results))


def _compared_lines(compared: Sequence[Comparison], y: Measure) -> list[str]:
    lines = []
    better = [item for item in compared if item.gap.sign > 0]
    alike = [item for item in compared if item.gap.is_known and item.gap.sign <= 0]
    unknown = [item for item in compared if not item.gap.is_known]
    if alike:
        named = list_some([f"{item.other.name} ({_interval(item.gap, y)})" for item in alike], most=3)
        lines.append(f"Cannot be told apart from {named}.")
    if better:
        first = better[0]
        more = len(better) - 1
        others = f", and than {more} {'other setting' if more == 1 else 'other settings'}" if more else ""
        lines.append(f"Better than {first.other.name} by {y.gap(first.gap.value)} ({_interval(first.gap, y)}){others}.")
    if unknown:
        named = list_some([f"{item.other.name} ({y.gap(item.gap.value)})" for item in unknown], most=3)
        lines.append(f"Too few seeds to tell it from {named}. Train at least two seeds of each.")
    return lines


def _interval(gap: Difference, y: Measure) -> str:
    return f"{y.gap(gap.low or 0, signed=True)} to {y.gap(gap.high or 0, signed=True)}"


def setting_table(settings: Sequence[SettingResult], answer: Verdict, result: str = "top1") -> Table:
    """Return a table with one row per setting, as text with units: its result, its costs, and how it compares with the best.

    Examples:
        >>> from nes_lab.runs.settings import setting_results
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
    if not item.gap.is_known:
        return "too few seeds to tell"
    return "worse" if item.gap.sign > 0 else "not told apart"
