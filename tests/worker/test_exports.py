"""The worker exports the network of a run, checks the file and says so."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

import nes_lab
from nes_lab.errors import RunError
from nes_lab.worker.exports import export_run


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
    assert [event["done"] for event in seen] == [0, 1]
    assert ask(run)[0]["path"] == answer["path"]  # again: the file is replaced


def test_export_run_packs_a_folder(run, tmp_path):
    path = Path(ask(run, format="folder")[0]["path"])
    with zipfile.ZipFile(path) as packed:
        packed.extractall(tmp_path)
    assert nes_lab.from_pretrained(tmp_path).nes_lab_plan is not None
    assert sorted(item.suffix for item in path.parent.iterdir() if item.is_dir()) == []


def test_export_run_refuses_a_run_that_does_not_exist(run):
    with pytest.raises(RunError):
        export_run({"root": str(run.folder.parent), "run": "nothing-here", "which": "last", "format": "onnx"})
