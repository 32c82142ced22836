"""The runs that come with the app: small, complete, and never changed."""

import shutil

import pytest

from nes_lab.errors import NesLabError, RunError
from nes_lab.experiment.open_runs import list_runs, open_run
from nes_lab.runs.bin import put_in_bin
from nes_lab.runs.bundled import BUNDLED_GROUP
from nes_lab.runs.layout import READ_ONLY
from nes_lab.runs.relabel import relabel
from nes_lab.runs.store import RunStore
from tests.house.tree import ROOT, files

DEMO = ROOT / "app" / "demo"


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_bundle_is_small_and_says_nothing_of_its_machine():
    bundled = [path for path in files() if path.is_relative_to(DEMO)]
    assert 1_000_000 < sum(path.stat().st_size for path in bundled) < 3_000_000
    for path in bundled:
        if path.suffix in (".json", ".jsonl", ".txt"):
            assert not any(word in path.read_text() for word in ('"cwd"', '"host"', '"pid"', '"/'))  # no absolute path


def test_the_bundle_has_dense_and_compressed_runs_of_two_seeds():
    runs = list_runs(root=DEMO)
    found = {(run.info.config["label"], run.summary["seed"]) for run in runs}
    assert {("dense, width 1", 0), ("epitome, tiled (0.5)", 1), ("epitome, free (0.7)", 0)} < found
    assert {run.state for run in runs} == {"finished"} and {run.info.group for run in runs} == {BUNDLED_GROUP}
    for run in runs:
        last = [row for row in run.metrics().rows if row["split"] == "val"][-1]
        assert run.summary["top1"] == last["top1"]
        if run.info.config["compression"]:
            steps = run.snapshot_steps()
            assert (steps[0], steps[-1], len(steps) > 1) == (0, run.info.total, True)
            assert all(layer.epitome is not None for layer in run.snapshot(steps[-1]).values())


@pytest.fixture
def copied(tmp_path):
    root = tmp_path / "demo"
    shutil.copytree(DEMO, root)
    return RunStore(root)


@pytest.mark.parametrize(
    "change",
    [
        lambda store, run: store.delete(run.id),
        lambda store, run: put_in_bin(store, run.id),
        lambda store, run: relabel(store, run.id, "mine"),
        lambda store, run: run.cancel(),
        lambda store, run: run.resume(progress=False),
        lambda store, run: run.extend(99, detach=True),
    ],
    ids=["delete", "bin", "relabel", "cancel", "resume", "extend"],
)
def test_nothing_changes_a_bundled_run(copied, change):
    before = contents(copied.root)
    with pytest.raises(NesLabError):
        change(copied, list_runs(root=copied.root)[0])
    assert contents(copied.root) == before


def test_without_the_mark_a_run_can_be_changed(copied):
    run = list_runs(root=copied.root)[0]
    with pytest.raises(RunError, match="bundled demo can only be read"):
        relabel(copied, run.id, "mine")
    (copied.root / READ_ONLY).unlink()
    relabel(copied, run.id, "mine")
    assert open_run(run.id, root=copied.root).label == "mine"


def test_a_bundled_network_can_be_exported_and_the_bundle_stays_as_it_is(copied, tmp_path, monkeypatch):
    from nes_lab.worker.exports import export_run

    monkeypatch.setenv("NES_LAB_HOME", str(tmp_path / "home"))
    before = contents(copied.root)
    runs = list_runs(root=copied.root)
    labels = {run.info.config["label"]: run for run in runs if run.summary["seed"] == 0}
    question = {"root": str(copied.root), "which": "last", "format": "folder", "form": "materialized"}
    done = export_run(question | {"run": labels["epitome, learner (0.5)"].id})
    assert done["path"].startswith(str(tmp_path / "home" / "exports"))
    with pytest.raises(RunError, match="Its checkpoints are left out"):
        export_run(question | {"run": labels["dense, width 1"].id})
    assert contents(copied.root) == before
