"""Write docs/evidence.md from the rows of the studies. Every sentence about a result follows from the rows by code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import mean, stdev

from benchmarks.accuracy_parts.cells import BASELINE, DENSE, Cell, against, baseline, find, study_cells
from benchmarks.accuracy_parts.goals import goals_table
from benchmarks.accuracy_parts.learning_rates import learning_rate_threats
from benchmarks.accuracy_parts.rows import Row
from benchmarks.accuracy_parts.study import Study, trainings
from benchmarks.accuracy_parts.titles import COSTS, contender, interval, minutes, network, not_run
from benchmarks.accuracy_parts.verdicts import over_dense, when_not, which_when

__all__ = ["evidence_page"]

HEAD = """# Accuracy at equal cost

<!-- Written by benchmarks/accuracy.py from benchmarks/results/accuracy_*.jsonl; do not edit. -->

Do epitomes beat a narrower network of equal cost? Every network here is trained by the same recipe, with the same epochs, augmentation and
seeds. The learning rate of every contender is chosen from the same list on training images that are held out. The accuracy in the tables
is that of the averaged weights after the last epoch, on the test images, which no choice has seen. Differences are taken seed by seed,
with the 95 % interval of Student's t. A difference counts if its interval excludes 0.
"""
GOALS_NOTE = (
    "The goals of the project for this study, from first looks with one seed. A goal of some points is reached if the mean difference is "
    "that large and its interval lies above 0."
)
CAPTION = (
    "Means over seeds; bars are one standard deviation. Contenders of equal cost are drawn side by side; the tables have the exact "
    "costs."
)
IN_INT8 = "Epitomes in int8 are compared with the narrower network in int8."
COLUMNS = ("network", "budget", "test top-1 %", "seeds", "minus narrower network", "learning rate")
COLUMNS += ("params k", "MAdd M", "stored kB", "processor s per training")
TABLE = f"| {' | '.join(COLUMNS)} |\n|{' --- |' * len(COLUMNS)}"


def evidence_page(studies: Sequence[tuple[Study, Mapping[str, Row]]], pictures: Mapping[str, str] | None = None) -> str:
    """Return the page as Markdown.

    Args:
        studies: Each study with its rows by id.
        pictures: Address of the trade-off figure of a study, by the name of the study.
    """
    by_study = [(study, study_cells(study, rows), rows) for study, rows in studies if rows]
    cells = [cell for _, own, _ in by_study for cell in own]
    blocks = [
        HEAD,
        "## Which to use when",
        "",
        *which_when(cells),
        "",
        "## When not to use epitomes",
        "",
        *when_not(cells),
        "",
    ]
    if goals := goals_table(cells):
        blocks += ["## The goals", "", GOALS_NOTE, "", *goals, ""]
    for study, own, rows in by_study:
        blocks += _study_section(study, own, rows, (pictures or {}).get(study.name, ""))
    blocks += [line for study, rows in studies if not rows for line in _study_not_run(study)]
    blocks += ["## Learned against fixed starts", "", *_learned_table(cells), ""]
    blocks += ["## What training costs", "", *_training_costs(cells), ""]
    return "\n".join([*blocks, *_threats(cells, [row for _, _, rows in by_study for row in rows.values()])])


def _study_section(study: Study, cells: Sequence[Cell], rows: Mapping[str, Row], picture: str) -> list[str]:
    lines = [f"## The study `{study.name}`", "", study.about, "", _machines(rows), _left(cells), ""]
    if picture:
        lines += [
            f"![Test accuracy against cost of all networks of the study {study.name}]({picture})",
            "",
            CAPTION,
            "",
        ]
    for part in study.parts:
        lines += [f"### {network(study, part)}, equal {COSTS[part.cost]} (`{part.name}`)", ""]
        lines += (
            [f"Compared with the narrower network of `{part.joins}`.", ""]
            if part.joins and BASELINE not in part.contenders
            else []
        )
        lines += [IN_INT8, ""] if "shared_int8" in part.contenders else []
        lines.append(TABLE)
        lines += [*(_line(cells, cell) for cell in cells if cell.part == part), ""]
    return lines


def _study_not_run(study: Study) -> list[str]:
    number = len(trainings(study, {}))
    return [
        f"## The study `{study.name}`",
        "",
        study.about,
        "",
        f"No training of this study has been run: {number} trainings.",
        "",
    ]


def _machines(rows: Mapping[str, Row]) -> str:
    facts = sorted({f"{row['device']}, torch {row['torch']}, {row['precision']}" for row in rows.values()})
    return f"{len(rows)} trainings. {'; '.join(facts)}."


def _left(cells: Sequence[Cell]) -> str:
    missing = sum(cell.missing for cell in cells)
    known = sum(cell.price or 0 for cell in cells)
    unknown = sum(cell.missing for cell in cells if cell.price is None)
    if not missing:
        return "Nothing is left to run."
    price = [f"about {minutes(known)} of processor time"] if known else []
    price += [f"{unknown} of them have no price yet"] if unknown else []
    return f"Left to run: {missing} trainings, {'; '.join(price)}."


def _line(cells: Sequence[Cell], cell: Cell) -> str:
    start = f"| {contender(cell.contender)} | {cell.budget or '–'} |"
    if not cell.rows:
        return f"{start} {not_run(cell)} | | | | | | | |"
    row = cell.rows[0]
    spread = f" ± {stdev(cell.test):.2f}" if len(cell.rows) > 1 else ""
    difference = None if cell.contender in (BASELINE, DENSE) else against(cell, baseline(cells, cell))
    shown = [
        f"{mean(cell.test):.2f}{spread}",
        str(len(cell.rows)) if cell.is_complete else f"{len(cell.rows)} of {len(cell.part.seeds)}, {not_run(cell)}",
        interval(difference),
        f"{row['lr']:g}",
        f"{row['params'] / 1e3:.1f}",
        f"{row['madds'] / 1e6:.2f}",
        f"{row['stored_bytes'] / 1e3:.1f}" if "stored_bytes" in row else "–",
        "–" if cell.processor_seconds is None else f"{cell.processor_seconds:.0f}",
    ]
    return f"{start} {' | '.join(shown)} |"


def _learned_table(cells: Sequence[Cell]) -> list[str]:
    """Return the differences of learned starts to tiled ones, for every network that has tiled ones."""
    lines = [
        "Test accuracy of learned starts minus that of tiled starts at the same budget, in points, seed by seed.",
        "",
        "| network | budget | `free` minus tiled | index learner minus tiled |",
        "| --- | --- | --- | --- |",
    ]
    for tiled in (cell for cell in cells if cell.contender == "tiled"):
        words = [_learned(cells, tiled, find(cells, tiled.part, name, tiled.budget)) for name in ("free", "learner")]
        where = f"{network(tiled.study, tiled.part)}, {COSTS[tiled.part.cost]}"
        lines.append(f"| {where} | {tiled.budget} | {' | '.join(words)} |")
    return lines


def _learned(cells: Sequence[Cell], tiled: Cell, learned: Cell | None) -> str:
    if learned is None:
        return "not in the study"
    found = against(learned, tiled)
    if found is None:
        return not_run(learned if not learned.rows else tiled)
    words = {1: "better", -1: "worse", 0: "not told apart"}[found.sign]
    partial = "" if learned.is_complete and tiled.is_complete else ", not all seeds"
    return f"{interval(found)}: {words if found.is_known else 'one seed'}{partial}"


def _training_costs(cells: Sequence[Cell]) -> list[str]:
    lines = [
        "Mean processor seconds of a complete training. Several trainings ran at the same time, so only ratios within one part say much.",
        "",
        "| network | contender | budget | processor s | over the dense network | over the narrower network |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for cell in cells:
        own = cell.processor_seconds
        if own is not None and cell.contender != DENSE:
            narrow = baseline(cells, cell)
            usual = narrow.processor_seconds if narrow is not None else None
            ratios = [over_dense(cells, cell), own / usual if usual else None]
            shown = ["not in the study" if ratios[0] is None else f"{ratios[0]:.2f}"]
            shown += ["–" if ratios[1] is None else f"{ratios[1]:.2f}"]
            lines.append(
                f"| {network(cell.study, cell.part)}, {COSTS[cell.part.cost]} | {contender(cell.contender)} | {cell.budget} | {own:.0f} | "
                f"{' | '.join(shown)} |"
            )
    return lines if len(lines) > 4 else ["No training has been run."]


def _threats(cells: Sequence[Cell], rows: Sequence[Row]) -> list[str]:
    compared = [c for c in cells if c.contender not in (BASELINE, DENSE) and c.is_complete]
    by_chance = (
        f"* {len(compared)} differences to the narrower network have all seeds. With 95 % intervals, about one of twenty excludes 0 by "
        "chance. The intervals are not corrected for this."
    )
    precisions = sorted({row["precision"] for row in rows})
    mixed = f"* The trainings have different precisions: {', '.join(precisions)}." if len(precisions) > 1 else ""
    known = [
        "## Threats to validity",
        "",
        by_chance,
        "* Few seeds give wide intervals: with three, 2.5 standard deviations of the differences to either side.",
        "* The interval knows the spread over seeds only, not that of another choice of test images.",
        "* The trainings are short. What holds after them need not hold after hundreds of epochs, or for other data.",
        "* The list of learning rates is short, and each is chosen with one seed at the first budget of a part.",
        *learning_rate_threats(cells),
        "* Multiply-adds are not time: see [speed.md](speed.md). Each table makes one cost equal; the others stand beside it.",
        "* The narrower network has its channels chosen per stage to use its budget. Pruning and other ways to choose them are not here.",
        '* A cell that reads "not run" was not trained. Its price is estimated from trainings of the same contender or part. '
        "`python -m benchmarks.accuracy --list` names its trainings.",
    ]
    return [*known, *([mixed] if mixed else []), ""]
