"""The accuracy study: which trainings it lists, how learning rates are chosen, and that stopped studies continue."""

from __future__ import annotations

import argparse
import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

import nes_lab
from benchmarks import accuracy
from benchmarks.accuracy_parts.cells import study_cells
from benchmarks.accuracy_parts.figure import study_figure
from benchmarks.accuracy_parts.narrow import narrow_widths
from benchmarks.accuracy_parts.page import evidence_page
from benchmarks.accuracy_parts.rows import Row, add_row, read_rows
from benchmarks.accuracy_parts.study import Study, Training, chosen_lr, read_study, trainings
from benchmarks.accuracy_parts.titles import contender
from benchmarks.accuracy_parts.verdicts import choices, readme_sentences
from nes_lab.errors import MissingPackageError
from nes_lab.figures.theme import figure_json
from tests.house.tree import ROOT

SMOKE = accuracy.PARTS / "smoke.yaml"


def made_up(study: Study, rows: dict[str, Row], better: float) -> dict[str, Row]:
    """Return rows for all trainings whose learning rate is known; the larger learning rate is better by so many points."""
    facts = {"params": 1000, "madds": 2000, "dense_madds": 4000, "stored_bytes": 5000, "seconds": 3.0, "epochs": 2}
    facts |= {"device": "x", "torch": "2", "precision": "off"}
    for training in trainings(study, rows):
        if training.lr is not None:
            held = 50 + better * (training.lr > 0.1)
            score = {"holdout_top1": held, "test_top1": 90 - held + training.seed}
            rows[training.id] = {"id": training.id, "lr": training.lr, "seed": training.seed, **facts, **score}
            rows[training.id] |= {"part": training.part.name, "contender": training.contender, "cpu_seconds": 60.0}
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


def change(rows: dict[str, Row], part: str, contender: str, **added: float | list[float]) -> None:
    """Add numbers to the rows of a contender; a list has one number for each seed."""
    for row in rows.values():
        if (row["part"], row["contender"]) == (part, contender):
            for name, value in added.items():
                row[name] += value[row["seed"]] if isinstance(value, list) else value


def all_rows() -> tuple[Study, dict[str, Row]]:
    study = read_study(SMOKE)
    return study, made_up(study, made_up(study, {}, 1.0), 1.0)


def test_the_page_has_a_price_and_no_number_for_what_was_not_run() -> None:
    study, rows = all_rows()
    first = {"params/width/25%/seed0/lr0.1": rows["params/width/25%/seed0/lr0.1"]}
    little, full = (evidence_page([(study, known)]) for known in (first, rows))
    assert little.count("price not known) | | |") == 8 and "not run (" not in full
    assert "No training of this study has been run: 22 trainings." in evidence_page([(study, {})])
    assert "| narrower network | 50% | 39.50 ± 0.71 | 2 | – | 0.2 | 1.0 | 0.00 | 5.0 | 60 |" in full
    del rows["madds/tiled/50%/seed1/lr0.2"]
    assert "1 of 2, not run (1 training, about 1 min) | +0.00 (no interval)" in evidence_page([(study, rows)])


def test_differences_are_taken_seed_by_seed_and_follow_from_the_rows() -> None:
    study, rows = all_rows()
    change(rows, "madds", "learner", test_top1=[1.0, 1.2], cpu_seconds=60.0)
    page = evidence_page([(study, rows)])
    assert "| epitomes, index learner | 50% | 40.60 ± 0.85 | 2 | +1.10 (-0.17 to +2.37) |" in page
    assert "| digits" not in page and "ResNet-14 on digits, multiply-adds | 50% | not in the study | +1.10" in page
    assert "index learner 2.0 times" in page and "| 120 | 2.00 | 2.00 |" in page


def test_the_candidate_is_chosen_on_held_out_images_and_advised_if_its_interval_is_above_zero() -> None:
    study, rows = all_rows()
    change(rows, "madds", "tiled", holdout_top1=1.0, test_top1=[1.0, 1.001])
    change(rows, "madds", "learner", test_top1=[5.0, 5.001])  # better on test images, which must not choose
    first = choices(study_cells(study, rows))[0]
    assert first.candidate is not None and first.candidate is first.advised and first.candidate.contender == "tiled"
    change(rows, "madds", "tiled", test_top1=[0.0, 3.0])
    noisy = choices(study_cells(study, rows))[0]
    assert noisy.advised is noisy.narrow and noisy.candidate is not noisy.narrow
    assert noisy.difference is not None and noisy.difference.level_within is not None
    level = f"narrower network | best on held-out images: epitomes, tiled starts, level within ±{noisy.difference.level_within:.2f} points"
    assert level in evidence_page([(study, rows)])
    assert "no kind of epitomes has an interval above 0" not in evidence_page([(study, rows)])  # the learner has one
    change(rows, "madds", "width", holdout_top1=90.0)
    assert f"the best epitomes there: {level.partition(': ')[2]}" in evidence_page([(study, rows)])
    change(rows, "madds", "tiled", test_top1=[-9.0, -12.0])
    assert re.search(r"the best epitomes there: epitomes, tiled starts, worse: -\d", evidence_page([(study, rows)]))
    change(rows, "madds", "learner", test_top1=-5.0)
    assert "no kind of epitomes has an interval above 0" in evidence_page([(study, rows)])


def test_processor_seconds_of_a_training_in_two_sittings_do_not_count() -> None:
    study, rows = all_rows()
    rows["params/width/25%/seed0/lr0.1"] |= {"sittings": 2, "cpu_seconds": 1.0}
    assert study_cells(study, rows)[-1].processor_seconds == 60.0


def test_the_figure_has_a_panel_for_each_part_and_one_entry_for_each_contender() -> None:
    study, rows = all_rows()
    figure = study_figure(study_cells(study, rows))
    assert figure is not None and study_figure(study_cells(study, {})) is None
    named = [trace["name"] for trace in figure_json(figure)["data"] if trace["showlegend"]]
    assert named[:3] == ["narrower network", "epitomes, tiled starts", "epitomes, index learner"] and len(named) == 6
    axes = [axis.title.text for axis in figure.select_xaxes() if axis.title.text]
    assert axes == ["multiply-adds (M)", "params (k)", "stored bytes (kB)"]


def test_readme_quotes_the_committed_rows() -> None:
    readme = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    sentences = accuracy.readme_text()
    assert all(sentence in readme for sentence in sentences), (
        "python -m benchmarks.accuracy --readme prints what README has to say"
    )
    assert readme.count("best epitomes on held-out images minus a narrower network") == len(sentences)


def test_sentences_for_readme_are_about_the_epitomes_that_are_best_on_held_out_images() -> None:
    study, rows = all_rows()
    change(rows, "madds", "tiled", holdout_top1=1.0, test_top1=[1.0, 1.001])
    (sentence,) = readme_sentences(study_cells(study, rows))  # the other part has no epitomes
    assert "at 50% +1.00 (+0.99 to +1.01), 40.5 % against 39.5 %, epitomes, tiled starts." in sentence
    del rows["madds/width/50%/seed1/lr0.2"]
    assert readme_sentences(study_cells(study, rows)) == ()


@pytest.mark.slow
@pytest.mark.parametrize("size", ["cpu", "gpu"])
def test_every_epitome_of_a_study_meets_its_budget_to_within_two_percent(size: str) -> None:
    study = read_study(accuracy.PARTS / f"{size}.yaml")
    found = {(t.part.name, t.contender, t.budget): t for t in trainings(study, {}) if t.is_compressed(study)}
    for key, training in found.items():
        tree = training.config(study)
        shape, options = tuple(tree["input"]), tree["backbone"].get("options", {})
        dense = nes_lab.create_backbone(tree["backbone"]["name"], num_classes=10, in_channels=shape[0], **options)
        budget = nes_lab.Budget(**{training.part.cost: tree["compression"].pop(training.part.cost)})
        plan = nes_lab.plan_for_budget(dense, budget, torch.zeros(1, *shape), **tree["compression"])
        used = getattr(plan.predicted, training.part.cost) / getattr(plan.dense, training.part.cost)
        assert 0.98 <= used / (float(training.budget.rstrip("%")) / 100) <= 1, key


def test_contenders_of_all_studies_have_names_in_words() -> None:
    studies = [read_study(path) for path in sorted(accuracy.PARTS.glob("*.yaml"))]
    assert {name for study in studies for name in study.contenders if contender(name) == name} == set()


def test_a_machine_without_pydantic_or_yaml_is_told_which_package_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, package in (("pydantic", "pydantic"), ("yaml", "pyyaml")):
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, module, None)
            with pytest.raises(MissingPackageError, match=rf"needs {package}, which is not installed"):
                accuracy.main(["--size", "gpu", "--minutes", "0"])


def test_a_sitting_stops_its_trainings_at_the_limit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    begun: list[subprocess.Popen] = []

    def start(training: Training, options: argparse.Namespace) -> subprocess.Popen:
        begun.append(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]))
        return begun[-1]

    monkeypatch.setattr(accuracy, "start", start)
    files = ["--results", str(tmp_path / "rows.jsonl"), "--runs", str(tmp_path)]
    assert accuracy.main(["--size", "smoke", "--minutes", "0.02", "--jobs", "2", *files]) == 3
    assert [process.returncode for process in begun] == [-signal.SIGTERM] * 2


@pytest.mark.slow
@pytest.mark.timeout(600)  # 22 trainings, two at a time
def test_smoke_runs_to_its_end_and_continues(tmp_path: Path) -> None:
    """The whole pipeline on digits: an interrupted study continues, and every row has its costs within the budget."""
    results = tmp_path / "rows.jsonl"
    options = ["--size", "smoke", "--results", str(results), "--runs", str(tmp_path / "runs")]
    with subprocess.Popen([sys.executable, "-m", "benchmarks.accuracy", *options], cwd=accuracy.ROOT) as study:
        end = time.monotonic() + 60
        while not any((tmp_path / "runs").glob("*/metrics.jsonl")) and time.monotonic() < end:
            time.sleep(0.1)
        study.terminate()  # its trainings must stop with it
    assert study.returncode == 143
    assert [run.state for run in nes_lab.list_runs(root=tmp_path / "runs")] == ["cancelled"]
    assert accuracy.main([*options, "--minutes", "0.2", "--only", "madds/width"]) == 3
    assert accuracy.main([*options, "--jobs", "2"]) == 0
    rows = read_rows(results)
    assert len(rows) == len(trainings(read_study(SMOKE), rows)) == 22
    for row in rows.values():
        assert row["sittings"] >= 1 and (row["stored_bytes"] > 4 * row["params"]) == (row["contender"] != "width_int8")
        if row["budget"]:
            share = float(row["budget"].rstrip("%")) / 100
            if row["contender"] in (
                "tiled",
                "learner",
            ):  # what was not compressed has its own costs as those of the dense network
                assert 0.9 * share < row[row["cost"]] / row[f"dense_{row['cost']}"] <= share
    by_contender = {row["contender"]: row["stored_bytes"] for row in rows.values() if row["part"] == "bytes"}
    assert max(by_contender.values()) <= 1.011 * min(by_contender.values())
    assert json.loads(results.read_text().splitlines()[0])["torch"]
