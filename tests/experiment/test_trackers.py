"""Trackers are mirrors: they say what metrics.jsonl says, and their failures cost nothing."""

from __future__ import annotations

import sys
import types
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from nes_lab.config import load_config
from nes_lab.errors import OptionError
from nes_lab.experiment import check, run_experiment
from nes_lab.runs.store import RunStore


def config(*trackers: str):
    training = {"epochs": 2, "threads": 1, "log_every_steps": 2, "device": "cpu", "trackers": trackers}
    return load_config({"data": {"limit": 96, "batch_size": 24}, "backbone": {"width": 0.35}, "training": training})


def run(root: Path, *trackers: str) -> tuple[RunStore, str]:
    store = RunStore(root)
    run_id = store.create(config(*trackers).to_dict())
    run_experiment(store, run_id)
    return store, run_id


def test_tensorboard_says_what_the_metrics_say(tmp_path: Path) -> None:
    store, run_id = run(tmp_path, "tensorboard")
    found = EventAccumulator(str(store.path(run_id) / "trackers" / "tensorboard"))
    found.Reload()
    rows = store.metrics(run_id)
    for split, names in (("train", ("loss", "top1", "lr", "images_per_s")), ("val", ("loss", "top1", "top5"))):
        for name in names:
            expected = [(row["step"], row[name]) for row in rows if row["split"] == split]
            told = [(event.step, event.value) for event in found.Scalars(f"{split}/{name}")]
            assert [step for step, _ in told] == [step for step, _ in expected]
            assert [v for _, v in told] == pytest.approx([v for _, v in expected], rel=1e-6)  # stored as float32
    assert not [event for event in store.events(run_id) if event["kind"] == "tracker_failed"]


def test_a_run_has_no_trackers_unless_asked(tmp_path: Path) -> None:
    store, run_id = run(tmp_path)
    assert not (store.path(run_id) / "trackers").exists()


def test_a_missing_package_is_told_before_there_is_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nes_lab.training.trackers.find_spec", lambda name: None)
    with pytest.raises(OptionError, match="'wandb' is not installed here: pip install wandb"):
        check(config("wandb"))
    with pytest.raises(OptionError, match="Did you mean 'tensorboard'"):
        check(config("tensorbord"))


@pytest.mark.parametrize("breaks", ["init", "log"])
def test_a_tracker_that_fails_is_one_event(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, breaks: str) -> None:
    """A stand-in for trackio, whose server may be gone at any time."""

    def fail(*_, **__) -> None:
        raise ConnectionError("the server is gone")

    fake = types.ModuleType("trackio")
    fake.init = fail if breaks == "init" else lambda **_: types.SimpleNamespace(log=fail, finish=lambda: None)
    fake.config = types.SimpleNamespace(update=lambda *_, **__: None)
    monkeypatch.setitem(sys.modules, "trackio", fake)
    monkeypatch.setattr("nes_lab.training.trackers.find_spec", lambda name: name)
    store, run_id = run(tmp_path, "trackio", "tensorboard")
    assert store.get(run_id).state == "finished"
    failed = [event for event in store.events(run_id) if event["kind"] == "tracker_failed"]
    assert [(event["tracker"], event["reason"]) for event in failed] == [
        ("trackio", "ConnectionError: the server is gone")
    ]
    assert any((store.path(run_id) / "trackers" / "tensorboard").iterdir())
