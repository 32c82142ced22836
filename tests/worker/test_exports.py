"""The worker exports the network of a run, checks the file and says so."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

import nes_lab
from nes_lab.errors import RunError
from nes_lab.experiment.kept_answers import kept_answer
from nes_lab.models import fast_forms
from nes_lab.records.optimize_report import OptimizeReport
from nes_lab.worker.exports import compare_run_forms, export_run, optimize_run_network


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    config = {"compression": {"madds": "60%"}, "data": {"limit": 64}, "training": {"epochs": 1, "threads": 1}}
    return nes_lab.train(config, root=tmp_path_factory.mktemp("runs"), progress=False)


def ask(run, **options):
    question = {"root": str(run.folder.parent), "run": run.id, "which": "last", "format": "onnx", "form": "factored"}
    seen = []
    return export_run(question | options, seen.append), seen


def test_export_run_writes_a_checked_file_into_the_run(run):
    answer, seen = ask(run)
    path = Path(answer["path"])
    assert path.is_file() and path.is_relative_to(run.folder) and path.suffix == ".onnx"
    assert "differ from those of PyTorch by at most" in answer["text"] and " kB and " in answer["text"]
    phases = ["reading the network", "tracing", "writing and counting", "checking and timing"]
    assert [event["phase"] for event in seen] == phases and [event["done"] for event in seen] == [0, 1, 2, 3]
    assert ask(run)[0]["path"] == answer["path"]  # again: the file is replaced


def test_an_export_is_kept_with_what_was_checked(run):
    answer, _ = ask(run)
    assert kept_answer(run, "export") == answer


def test_compare_run_forms_counts_times_and_compares(run):
    seen = []
    question = {"root": str(run.folder.parent), "run": run.id, "which": "last", "batch": 2, "seconds": 0.5}
    answer = compare_run_forms(question, seen.append)
    dense, trained, fused, tuned = answer["forms"]
    assert [row["form"] for row in answer["forms"]] == ["dense", "as trained", "fused", "tuned"]
    assert (trained["params"], trained["madds"]) == (run.summary["params"], run.summary["madds"])
    assert (dense["params"], dense["madds"]) == (run.summary["dense_params"], run.summary["dense_madds"])
    assert fused["params"] < trained["params"] and fused["stored_bytes"] < trained["stored_bytes"]
    assert trained["difference"] is None and all(row["difference"] < 1e-5 for row in (dense, fused, tuned))
    assert all(0 < row["median_ms"] <= row["p90_ms"] for row in answer["forms"]) and answer["batch"] == 2
    assert {event["phase"] for event in seen} >= {"making", "timing"} and kept_answer(run, "forms") == answer


@pytest.mark.slow
def test_optimize_run_network_keeps_its_report(run, monkeypatch):
    monkeypatch.setattr(fast_forms, "why_not_compiled", lambda device: "torch.compile needs a C++ compiler")
    seen = []
    question = {
        "root": str(run.folder.parent),
        "run": run.id,
        "which": "last",
        "batch": 2,
        "seconds": 0.5,
        "keep_madds": True,
    }
    answer = optimize_run_network(question, seen.append)
    report = OptimizeReport.from_dict(answer["report"])
    assert report.key.input_shape[0] == 2 and report.form("as given").madds == 2 * run.summary["madds"]
    assert "C++" in report.form("compiled").why_not and kept_answer(run, "optimize") == answer
    assert {event["phase"] for event in seen} >= {"making", "timing"}


def test_export_run_packs_a_folder(run, tmp_path):
    path = Path(ask(run, format="folder")[0]["path"])
    with zipfile.ZipFile(path) as packed:
        packed.extractall(tmp_path)
    assert nes_lab.from_pretrained(tmp_path).nes_lab_plan is not None
    assert sorted(item.suffix for item in path.parent.iterdir() if item.is_dir()) == []


def test_export_run_refuses_a_run_that_does_not_exist(run):
    with pytest.raises(RunError):
        export_run({"root": str(run.folder.parent), "run": "nothing-here", "which": "last", "format": "onnx"})
