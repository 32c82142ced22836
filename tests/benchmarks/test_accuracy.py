"""The accuracy study: which trainings it lists, how learning rates are chosen, and that stopped studies continue."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import accuracy
from benchmarks.accuracy_parts.narrow import narrow_widths
from benchmarks.accuracy_parts.page import evidence_page
from benchmarks.accuracy_parts.rows import Row, add_row, read_rows
from benchmarks.accuracy_parts.study import Study, chosen_lr, read_study, trainings

SMOKE = accuracy.PARTS / "smoke.yaml"


def made_up(study: Study, rows: dict[str, Row], better: float) -> dict[str, Row]:
    """Return rows for all trainings whose learning rate is known; the larger learning rate is better by so many points."""
    facts = {"params": 1000, "madds": 2000, "seconds": 3.0, "device": "x", "torch": "2", "precision": "off"}
    for training in trainings(study, rows):
        if training.lr is not None:
            held = 50 + better * (training.lr > 0.1)
            score = {"holdout_top1": held, "test_top1": 90 - held + training.seed}
            rows[training.id] = {"id": training.id, "lr": training.lr, "seed": training.seed, **facts, **score}
    return rows


@pytest.mark.parametrize("path", sorted(accuracy.PARTS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_study_lists_each_training_once(path: Path) -> None:
    study = read_study(path)
    rows: dict[str, Row] = {}
    for _ in range(2):
        made_up(study, rows, better=1.0)
    ids = [training.id for training in trainings(study, rows)]
    assert len(set(ids)) == len(ids) and set(ids) == set(rows)


@pytest.mark.parametrize(("better", "lr"), [(1.0, 0.2), (-1.0, 0.05), (0.0, 0.05)])
def test_the_learning_rate_is_chosen_on_held_out_images(better: float, lr: float) -> None:
    # the accuracy on test images points the other way in made_up
    study = read_study(SMOKE)
    rows = made_up(study, {}, better)
    assert chosen_lr(study.parts[0], "tiled", "50%", rows) == lr
    assert {training.lr for training in trainings(study, rows) if training.seed == 1 and "madds" in training.id} == {lr}


def test_other_seeds_wait_until_the_learning_rate_is_chosen() -> None:
    study = read_study(SMOKE)
    assert {training.lr for training in trainings(study, {}) if training.seed == 1} == {None, 0.1}


def test_a_damaged_result_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    add_row(path, {"id": "a"})
    path.write_text(path.read_text() + '{"id": "b"', encoding="utf-8")
    with pytest.raises(ValueError, match=r"rows.jsonl, line 2"):
        read_rows(path)


def test_the_narrower_network_uses_its_budget_to_within_a_percent() -> None:
    assert narrow_widths("cifar_resnet14", "params", 0.25, (3, 32, 32), 10) == (8, 17, 31)
    with pytest.raises(ValueError, match="no narrower cifar_resnet14 uses 50% of its madds"):
        narrow_widths("cifar_resnet14", "madds", 0.5, (1, 4, 4), 10, (1, 1, 2))


def test_the_page_has_no_number_for_what_was_not_run() -> None:
    study = read_study(SMOKE)
    empty, full = (evidence_page([(study, rows)]) for rows in ({}, made_up(study, made_up(study, {}, 1.0), 1.0)))
    assert empty.count("| not run |") == 5 and "not run |" not in full
    assert "| narrower network | 50% | 39.50 ± 0.71 | – | 0.2 |" in full


@pytest.mark.slow
def test_smoke_runs_to_its_end_and_continues(tmp_path: Path) -> None:
    """The whole pipeline on digits: an interrupted study continues, and every row has its costs within the budget."""
    results = tmp_path / "rows.jsonl"
    options = ["--size", "smoke", "--results", str(results), "--runs", str(tmp_path / "runs")]
    assert accuracy.main([*options, "--minutes", "0.2", "--only", "madds/width"]) == 3
    assert accuracy.main([*options, "--jobs", "2"]) == 0
    rows = read_rows(results)
    assert len(rows) == len(trainings(read_study(SMOKE), rows)) == 14
    for row in rows.values():
        if row["budget"]:
            share = float(row["budget"].rstrip("%")) / 100
            assert 0.9 * share < row[row["cost"]] / row[f"dense_{row['cost']}"] <= share or row["contender"] == "width"
    assert json.loads(results.read_text().splitlines()[0])["torch"]
