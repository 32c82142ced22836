"""The table of goals says what the rows of the study say, and that a goal is open while seeds are missing."""

from __future__ import annotations

import pytest

from benchmarks import accuracy
from benchmarks.accuracy_parts.cells import baseline, is_epitome, study_cells
from benchmarks.accuracy_parts.goals import GOALS, goals_table
from benchmarks.accuracy_parts.rows import Row
from benchmarks.accuracy_parts.study import read_study, trainings
from benchmarks.accuracy_parts.verdicts import readme_sentences, which_when
from tests.benchmarks.test_accuracy import made_up

STUDY = read_study(accuracy.PARTS / "cpu.yaml")


def table(gain: list[float], drop_last_seed: bool = False) -> list[str]:
    """Return the table's lines for rows in which shared epitomes are ahead by so many points, seed by seed."""
    rows: dict[str, Row] = {}
    for _ in range(2):
        made_up(STUDY, rows, better=1.0)
    for training in trainings(STUDY, rows):
        if training.contender == "shared":
            rows[training.id]["test_top1"] += gain[training.seed]
            if drop_last_seed and training.seed == 2:
                del rows[training.id]
    return goals_table(study_cells(STUDY, rows))[2:]


@pytest.mark.parametrize(
    ("gain", "verdicts"),
    [
        ([2.6, 2.7, 2.8], ["yes", "yes", "no", "no", "yes", "yes", "yes"]),
        (
            [0.5, 5.0, 9.0],
            ["not certain: the interval includes 0"] * 3 + ["no", "level within", "not certain", "not certain"],
        ),
        ([-2.0, -2.1, -2.2], ["no"] * 7),
    ],
)
def test_goals_are_judged_by_difference_and_interval(gain: list[float], verdicts: list[str]) -> None:
    lines = [line for line in table(gain) if "| one shared epitome, sums of two windows against" in line]
    assert len(lines) == len(verdicts) == 7
    for line, verdict in zip(lines, verdicts, strict=True):
        assert line.split("|")[-2].strip().startswith(verdict), line


def test_goals_with_missing_seeds_are_open_and_every_goal_is_in_the_study() -> None:
    assert len(table([0.0] * 3)) == len(GOALS)
    assert sum(line.endswith("| – | not all seeds |") for line in table([0.0] * 3, drop_last_seed=True)) == 7


def test_epitomes_in_int8_are_compared_with_a_narrower_network_in_int8() -> None:
    rows: dict[str, Row] = {}
    for _ in range(2):
        made_up(STUDY, rows, better=1.0)
    for training in trainings(STUDY, rows):
        if "int8" in training.contender:  # both are far ahead of those in float32
            rows[training.id]["holdout_top1"] += 20 + 5 * (training.contender == "width_int8")
            rows[training.id]["test_top1"] += 20 + 5 * (training.contender == "width_int8") + 0.1 * training.seed
    cells = study_cells(STUDY, rows)
    narrow = {c.contender: baseline(cells, c) for c in cells if c.part.name == "resnet14-bytes-more" and is_epitome(c)}
    assert [found and found.contender for found in narrow.values()] == ["width_int8"]
    in_readme = readme_sentences(cells)[1]
    assert "at 5% -5.00" in in_readme and in_readme.count("(the narrower network has weights in int8 too)") == 1
    (row,) = (line for line in which_when(cells) if "| 5% | narrower network, weights in int8 |" in line)
    assert "better by +25" in row and "one shared epitome in int8, sums of two windows, worse: -5.00" in row
