"""The evidence page says by itself which learning rates were chosen at an end of their list."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from benchmarks.accuracy_parts.advice_rows import advice_rows
from benchmarks.accuracy_parts.cells import study_cells
from benchmarks.accuracy_parts.learning_rates import learning_rate_threats
from benchmarks.accuracy_parts.page import evidence_page
from benchmarks.accuracy_parts.study import Part, Study, trainings

BEST = {"width": 0.3, "tiled": 0.3, "free": 0.1}


def study_with(lrs: tuple[float, ...], best: dict[str, float] | None = None) -> tuple[Study, dict[str, Any]]:
    """Return a study of one part and made-up rows, in which each contender is best at its learning rate."""
    part = Part("part", "madds", ("50%", "25%"), tuple(BEST), (0, 1), lrs)
    base = {"backbone": {"name": "cifar_resnet14"}, "data": {"name": "digits"}}
    contenders = {"width": {}, **{name: {"compression": {"routing": name}} for name in ("tiled", "free")}}
    study, rows = Study("made up", "", base, contenders, (part,)), {}
    facts = {
        "params": 1,
        "madds": 2,
        "dense_madds": 4,
        "epochs": 2,
        "cpu_seconds": 1.0,
        "device": "x",
        "torch": "2",
        "precision": "off",
    }
    for _ in range(2):
        for t in trainings(study, rows):
            if t.lr is not None:
                score = 50.0 - abs(t.lr - (best or BEST)[t.contender])
                own = {"part": "part", "contender": t.contender, "seed": t.seed, "lr": t.lr}
                rows[t.id] = facts | own | {"id": t.id, "holdout_top1": score, "test_top1": score}
    return study, rows


def test_choices_at_the_ends_of_the_list_are_named_from_the_rows() -> None:
    study, rows = study_with((0.3, 0.1))
    page = evidence_page([(study, rows)])
    largest = (
        "* In `part`, 2 of 3 contenders chose the largest learning rate of the list (0.1, 0.3): narrower network; epitomes, tiled starts. "
        "Larger ones were not tried, and might be better for them."
    )
    assert largest in page[page.index("## Threats to validity") :]
    assert (
        "1 of 3 contenders chose the smallest learning rate of the list (0.1, 0.3): epitomes, learned starts (`free`)."
        in page
    )


def test_a_choice_in_the_middle_is_no_threat_and_a_single_rate_is_no_choice() -> None:
    study, rows = study_with((0.03, 0.1, 0.3, 1.0))
    (line,) = learning_rate_threats(study_cells(study, rows))
    assert line == "* No chosen learning rate is the largest or smallest of its list."
    study, rows = study_with((0.1,))
    (line,) = learning_rate_threats(study_cells(study, rows))
    assert line.startswith("* One learning rate for all contenders, without a choice: `part` (0.1).")


@pytest.mark.parametrize("trained", [False, True])
def test_contenders_without_a_choice_are_not_counted(trained: bool) -> None:
    study, rows = study_with((0.1, 0.3))
    rows = {name: row for name, row in rows.items() if row["contender"] == "width"} if trained else {}
    lines = learning_rate_threats(study_cells(study, rows))
    assert [line.partition(" contenders")[0] for line in lines] == (["* In `part`, 1 of 1"] if trained else [])


def test_a_part_with_fewer_epochs_says_so_and_gives_no_advice() -> None:
    study, rows = study_with((0.1,))
    short = replace(study.parts[0], name="short", config={"training": {"epochs": 1}})
    whole = replace(study.parts[0], config={"training": {"epochs": 2}})
    both = replace(study, parts=(whole, short))
    rows = {
        t.id: rows[t.id.replace("short", "part")] | {"part": t.part.name, "backbone": "x"}
        for t in trainings(both, rows)
    }
    page = evidence_page([(both, rows)])
    assert "| ResNet-14 on digits | 50% |" in page and "| ResNet-14 on digits, 1 epoch | 50% |" in page
    assert "epochs: half of them" not in page and "epochs: half of them" in evidence_page([(study, rows)])
    advised = advice_rows(study_cells(both, rows), [])
    assert len(advised) == 6 and all(row["network"] == "ResNet-14" and row["data"] == "digits" for row in advised)
