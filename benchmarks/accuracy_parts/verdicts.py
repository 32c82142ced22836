"""Say which network to use when, from the rows alone: the candidate is chosen on held-out images, and judged on test images.

The rule: of all contenders at one budget, the candidate has the best accuracy on held-out images. It is advised if it is a kind of
epitomes or another contender whose difference to the narrower network on test images has an interval above 0. Otherwise the narrower
network is advised, because it is the simplest, and the table says within how many points the two are level.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import mean

from benchmarks.accuracy_parts.cells import BASELINE, Cell, against, baseline, dense_cell, is_epitome, rival
from benchmarks.accuracy_parts.study import Part, Study
from benchmarks.accuracy_parts.titles import COSTS, contender, interval, network, shortened
from nes_lab.runs.difference import Difference

__all__ = ["RULE_OF_CHOICE", "Choice", "choices", "readme_sentences", "when_not", "which_when"]

RULE_OF_CHOICE = (
    "Rule of this table: the candidate is the contender with the best mean accuracy on held-out images. It is advised if its difference to "
    "the narrower network on test images, seed by seed, has a 95 % interval above 0. Otherwise the narrower network is advised, because it "
    'is the simplest. "Level within ±2 points" says that the interval includes 0 and contains no difference larger than 2 points.'
)
NOT_HERE = (
    ("time on a device", "any", "see [speed.md](speed.md): multiply-adds are not time"),
    ("no training, or an epoch of it; the network is trained", "ResNet-56 on CIFAR-10", "see [fit.md](fit.md)"),
    ("anything", "transformers; images of 224 px; ImageNet; hundreds of epochs", "not measured"),
)
"""Situations about which the rows of the study say nothing, each with the network and what there is."""


@dataclass(frozen=True)
class Choice:
    """One budget of one part, with the contender that is advised.

    Attributes:
        study: The study.
        part: The part of the study.
        budget: The budget, such as ``"25%"``.
        candidate: The contender with the best mean accuracy on held-out images, of those with a row for every seed; None if the narrower
            network or all others lack some.
        narrow: The narrower network.
        difference: Test accuracy of the candidate minus that of the narrower network; None for the narrower network itself.
        cells: All contenders of this budget.
    """

    study: Study
    part: Part
    budget: str
    candidate: Cell | None
    narrow: Cell | None
    difference: Difference | None
    cells: tuple[Cell, ...]

    @property
    def advised(self) -> Cell | None:
        """The contender to take; None without a candidate."""
        return self.candidate if self.difference is None or self.difference.sign > 0 else self.narrow


def choices(cells: Sequence[Cell]) -> list[Choice]:
    """Return one choice for every part and budget.

    Args:
        cells: All cells of one study.
    """
    groups: dict[tuple[str, str, str], list[Cell]] = {}
    for cell in cells:
        if cell.budget:
            groups.setdefault((cell.study.name, cell.part.joins or cell.part.name, cell.budget), []).append(cell)
    return [_choice(group, lambda cell: True) for group in groups.values()]


def _choice(at: Sequence[Cell], is_candidate: Callable[[Cell], bool]) -> Choice:
    narrow = next((c for c in at if c.contender == BASELINE), None)
    complete = [c for c in at if c.is_complete and is_candidate(c)]
    others = [c for c in complete if c is not narrow]
    can_compare = narrow is not None and narrow.is_complete and others
    candidate = max(complete, key=lambda c: c.held_out) if can_compare else None
    narrow = narrow if candidate is None else rival(at, candidate)
    difference = against(candidate, narrow) if candidate is not narrow else None
    return Choice(at[0].study, at[0].part, at[0].budget, candidate, narrow, difference, tuple(at))


def which_when(cells: Sequence[Cell]) -> list[str]:
    """Return the decision table as lines of Markdown.

    Args:
        cells: All cells of one or more studies.
    """
    lines = ["| what is scarce | network | budget | take | why |", "| --- | --- | --- | --- | --- |"]
    for choice in choices(cells):
        place = f"| {COSTS[choice.part.cost]} | {network(choice.study, choice.part)} | {choice.budget} |"
        lines.append(f"{place} {_advice(choice)} |")
    if not _has_short_schedule(cells):
        lines.append("| epochs: half of them | all of these | all | not measured | |")
    lines += [f"| {scarce} | {where} | all | {answer} | |" for scarce, where, answer in NOT_HERE]
    return [*lines, "", RULE_OF_CHOICE]


def _has_short_schedule(cells: Sequence[Cell]) -> bool:
    """Return whether a network was trained with fewer epochs too."""
    return any(cell.is_complete and shortened(cell.study, cell.part) for cell in cells)


def _advice(choice: Choice) -> str:
    done = [cell for cell in choice.cells if cell.is_complete]
    some = "" if len(done) == len(choice.cells) else f"; {len(done)} of {len(choice.cells)} contenders are complete"
    if choice.candidate is None or choice.advised is None:
        return f"not measured | {len(done)} of {len(choice.cells)} contenders are complete"
    name = contender(choice.candidate.contender)
    if choice.difference is None:
        return f"{name} | it has the best accuracy on held-out images{_best_epitomes(choice)}{some}"
    best = "" if is_epitome(choice.candidate) else _best_epitomes(choice)
    words = f"best on held-out images: {name}, {_compared(choice.difference)}{best}{some}"
    return f"{contender(choice.advised.contender)} | {words}"


def _best_epitomes(choice: Choice) -> str:
    """Compare the best epitomes on held-out images with the narrower network; empty without a complete row."""
    epitomes = [cell for cell in choice.cells if is_epitome(cell) and cell.is_complete]
    best = max(epitomes, key=lambda cell: cell.held_out, default=None)
    narrow = None if best is None else rival(choice.cells, best)
    difference = against(best, narrow)
    if best is None or narrow is None or difference is None:
        return ""
    other = "" if narrow.contender == BASELINE else f", against {contender(narrow.contender)}"
    return f"; the best epitomes there: {contender(best.contender)}, {_compared(difference)}{other}"


def _compared(difference: Difference) -> str:
    """Say by how many points of test accuracy a contender differs from the narrower network, or within how many it does not."""
    if difference.level_within is not None:
        return f"level within ±{difference.level_within:.2f} points on test images ({interval(difference)})"
    word = {1: "better by", -1: "worse:", 0: "not told apart, without an interval:"}[difference.sign]
    return f"{word} {interval(difference)} points on test images"


def when_not(cells: Sequence[Cell]) -> list[str]:
    """Return the cases that speak against epitomes, as a list of Markdown; each follows from complete cells.

    Args:
        cells: All cells of one or more studies.
    """
    found = [*_not_better(cells), *_slow(cells), *_no_madds_saved(cells)]
    return found or ["No complete row speaks against them, or none is complete yet."]


def _not_better(cells: Sequence[Cell]) -> Iterator[str]:
    for choice in choices(cells):
        epitomes = [c for c in choice.cells if is_epitome(c) and c.is_complete]
        differences = {c.contender: against(c, rival(choice.cells, c)) for c in epitomes}
        if not epitomes or choice.narrow is None or not choice.narrow.is_complete:
            continue
        if any(d is not None and d.sign > 0 for d in differences.values()):
            continue
        words = ", ".join(f"{contender(name)} {interval(d)}" for name, d in differences.items())
        yield (
            f"* {network(choice.study, choice.part)} at {choice.budget} of the {COSTS[choice.part.cost]}: no kind of epitomes has an "
            f"interval above 0 (points over the narrower network: {words})."
        )


def _slow(cells: Sequence[Cell]) -> Iterator[str]:
    ratios: dict[str, list[float]] = {}
    for cell in cells:
        narrow = baseline(cells, cell)
        if narrow is not None and is_epitome(cell) and cell.processor_seconds and narrow.processor_seconds:
            ratios.setdefault(cell.contender, []).append(cell.processor_seconds / narrow.processor_seconds)
    slow = {name: mean(found) for name, found in ratios.items() if mean(found) > 1}
    if slow:
        words = ", ".join(f"{contender(name)} {ratio:.1f} times" for name, ratio in slow.items())
        yield f"* Time for training is scarce: processor seconds over those of the narrower network at the same budget: {words}."


def _no_madds_saved(cells: Sequence[Cell]) -> Iterator[str]:
    for cell in cells:
        row = cell.rows[0] if cell.rows and is_epitome(cell) else None
        narrow = baseline(cells, cell)
        if row is not None and row["madds"] >= row["dense_madds"] and narrow is not None and narrow.rows:
            yield (
                f"* Multiply-adds are scarce too: {contender(cell.contender)} at {cell.budget} of the {COSTS[cell.part.cost]} of "
                f"{network(cell.study, cell.part)} has {row['madds'] / 1e6:.2f} M, like the dense network; the narrower network has "
                f"{narrow.rows[0]['madds'] / 1e6:.2f} M."
            )


def readme_sentences(cells: Sequence[Cell]) -> tuple[str, ...]:
    """Return the sentences that README quotes: accuracy at equal multiply-adds, and at equal params or stored bytes.

    Each is about the kind of epitomes with the best accuracy on held-out images, at every complete budget of the first such part.
    There is none where no budget is complete.

    Args:
        cells: All cells of the study of CPUs, or of several studies.
    """
    sentences = (_sentence(cells, ("madds",)), _sentence(cells, ("params", "stored_bytes")))
    return tuple(sentence for sentence in sentences if sentence)


def _sentence(cells: Sequence[Cell], costs: tuple[str, ...]) -> str:
    first = next((c.part for c in cells if c.part.cost in costs), None)
    own = [c for c in cells if first is not None and first.name in (c.part.name, c.part.joins) and c.budget]
    budgets = dict.fromkeys(c.budget for c in own)
    found = [_choice([c for c in own if c.budget == budget], is_epitome) for budget in budgets]
    complete = [choice for choice in found if choice.candidate is not None]
    if first is None or not complete:
        return ""
    parts = [_against_narrow(choice) for choice in complete]
    seeds = len(first.seeds)
    return (
        f"At equal {COSTS[first.cost]}, {network(own[0].study, first)} ({seeds} seeds; best epitomes on held-out images minus a narrower "
        f"network, points of test top-1 with 95 % intervals): {'; '.join(parts)}."
    )


def _against_narrow(choice: Choice) -> str:
    assert choice.candidate is not None and choice.narrow is not None  # the caller keeps complete choices
    top1 = f"{mean(choice.candidate.test):.1f} % against {mean(choice.narrow.test):.1f} %"
    other = "" if choice.narrow.contender == BASELINE else " (the narrower network has weights in int8 too)"
    return f"at {choice.budget} {interval(choice.difference)}, {top1}, {contender(choice.candidate.contender)}{other}"


def over_dense(cells: Sequence[Cell], cell: Cell) -> float | None:
    """Return the processor seconds of a cell's trainings over those of the dense network; None if one is not measured."""
    dense = dense_cell(cells, cell.part)
    own, usual = cell.processor_seconds, dense and dense.processor_seconds
    return own / usual if own and usual else None
