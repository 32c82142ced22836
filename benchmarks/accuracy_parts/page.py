"""Write docs/evidence.md from the rows of the studies: tables of accuracy at equal cost, with intervals, and what they say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import mean, stdev

from benchmarks.accuracy_parts.rows import Row
from benchmarks.accuracy_parts.study import Part, Study, Training, trainings
from nes_lab.runs.difference import RULE, Difference, mean_difference

__all__ = ["evidence_page"]

BASELINE = "width"
MISSING = "not run"
NAMES = {
    "dense": "dense network",
    "width": "narrower network",
    "tiled": "epitomes, tiled starts",
    "free": "epitomes, learned starts (`free`)",
    "learner": "epitomes, index learner",
    "joint": "epitomes, joint scope, tiled starts",
    "random": "epitomes, joint scope, random starts",
    "shared": "one shared epitome, sums of two windows",
}
HEAD = """# Accuracy at equal cost

<!-- Written by benchmarks/accuracy.py from benchmarks/results/accuracy_*.jsonl; do not edit. -->

Do epitomes beat a narrower network of equal cost? Every network here is trained by the same recipe, with the same epochs, augmentation and
seeds. The learning rate of every contender is chosen from the same list on training images that are held out. The accuracy in the tables
is that of the averaged weights after the last epoch, on the test images, which no choice has seen.
"""


def evidence_page(studies: Sequence[tuple[Study, Mapping[str, Row]]]) -> str:
    """Return the page as Markdown.

    Args:
        studies: Each study with its rows by id.
    """
    sections = [_study_section(study, rows) for study, rows in studies]
    return "\n".join([HEAD, *sections, _threats()])


def _study_section(study: Study, rows: Mapping[str, Row]) -> str:
    parts = [_part_section(study, part, rows) for part in study.parts]
    return "\n".join([f"## {study.about}", "", _machines(rows), "", *parts])


def _machines(rows: Mapping[str, Row]) -> str:
    if not rows:
        return "No training of this study has been run."
    facts = sorted({f"{row['device']}, torch {row['torch']}, {row['precision']}" for row in rows.values()})
    return f"{len(rows)} trainings. {'; '.join(facts)}."


def _part_section(study: Study, part: Part, rows: Mapping[str, Row]) -> str:
    backbone = str((part.config.get("backbone") or study.base["backbone"])["name"])
    cost = {"madds": "multiply-adds", "params": "params", "stored_bytes": "stored bytes"}[part.cost]
    lines = [f"### {backbone} at equal {cost}", ""]
    lines += [
        "| network | budget | test top-1 % | minus narrower network | learning rate | params k | MAdd M | s per training |"
    ]
    lines += ["| --- | --- | --- | --- | --- | --- | --- | --- |"]
    listed = trainings(study, rows)
    if part.dense:
        lines.append(_line(part, "dense", "", listed, rows))
    for budget in part.budgets:
        lines += [_line(part, name, budget, listed, rows) for name in part.contenders]
    return "\n".join([*lines, "", *_findings(part, listed, rows), ""])


def final_rows(
    part: Part, contender: str, budget: str, listed: Sequence[Training], rows: Mapping[str, Row]
) -> list[Row]:
    """Return the rows of a cell of the table: one per seed, with the chosen learning rate. Empty if one is missing."""
    cell = [t for t in listed if (t.part, t.contender, t.budget) == (part, contender, budget)]
    chosen = {t.lr for t in cell if t.seed != part.seeds[0] or budget not in (part.budgets[0], "")}
    if len(part.seeds) == 1 and not chosen:
        chosen = {t.lr for t in cell}
    found = [rows.get(t.id) for t in cell if t.lr in chosen]
    return [] if None in chosen or any(row is None for row in found) else [row for row in found if row is not None]


def _line(part: Part, contender: str, budget: str, listed: Sequence[Training], rows: Mapping[str, Row]) -> str:
    found = final_rows(part, contender, budget, listed, rows)
    name = NAMES.get(contender, contender)
    if not found:
        return f"| {name} | {budget or '–'} | {MISSING} | | | | | |"
    scores = [row["test_top1"] for row in found]
    spread = f" ± {stdev(scores):.2f}" if len(scores) > 1 else ""
    first = found[0]
    against = _against(part, contender, budget, listed, rows)
    cells = [
        name,
        budget or "–",
        f"{mean(scores):.2f}{spread}",
        "–" if against is None else _interval(against),
        f"{first['lr']:g}",
        f"{first['params'] / 1e3:.1f}",
        f"{first['madds'] / 1e6:.2f}",
        f"{mean(row['seconds'] for row in found):.0f}",
    ]
    return "| " + " | ".join(cells) + " |"


def _against(
    part: Part, contender: str, budget: str, listed: Sequence[Training], rows: Mapping[str, Row]
) -> Difference | None:
    if contender in (BASELINE, "dense"):
        return None
    own, other = (final_rows(part, name, budget, listed, rows) for name in (contender, BASELINE))
    if not own or not other:
        return None
    return mean_difference([row["test_top1"] for row in own], [row["test_top1"] for row in other])


def _interval(difference: Difference) -> str:
    if not difference.is_known:
        return f"{difference.value:+.2f}"
    return f"{difference.value:+.2f} ({difference.low:+.2f} to {difference.high:+.2f})"


def _findings(part: Part, listed: Sequence[Training], rows: Mapping[str, Row]) -> list[str]:
    """Return a sentence for each contender, which follows from the interval of its difference."""
    words = {1: "is better than", -1: "is worse than", 0: "cannot be told apart from"}
    sentences = []
    for budget in part.budgets:
        for name in part.contenders:
            if (found := _against(part, name, budget, listed, rows)) is not None and found.is_known:
                what = NAMES.get(name, name)
                sentences.append(
                    f"* At {budget}: {what} {words[found.sign]} the narrower network ({_interval(found)} points)."
                )
    learned = [_learned(part, budget, listed, rows) for budget in part.budgets]
    return [*sentences, *(sentence for sentence in learned if sentence)]


def _learned(part: Part, budget: str, listed: Sequence[Training], rows: Mapping[str, Row]) -> str:
    tiled, learner = (final_rows(part, name, budget, listed, rows) for name in ("tiled", "learner"))
    if not tiled or not learner:
        return ""
    found = mean_difference([row["test_top1"] for row in learner], [row["test_top1"] for row in tiled])
    verdict = {1: "helps", -1: "hurts", 0: "makes no difference that can be told from noise"}[found.sign]
    return f"* Learned against fixed starts at {budget}: the index learner {verdict} ({_interval(found)} points)."


def _threats() -> str:
    return f"""## How to read this, and what may be wrong with it

* {RULE} A difference between two contenders that share all seeds may be smaller than its interval suggests.
* The trainings are short. What holds after them need not hold after hundreds of epochs, or for other data.
* The list of learning rates is short, and each is chosen with one seed at one budget.
* Multiply-adds are not time: see [speed.md](speed.md). Each table makes one cost equal; the others stand beside it.
* A cell that reads "{MISSING}" has not been trained. `python -m benchmarks.accuracy --list` names its trainings.
"""
