"""Trackers are mirrors: they say what metrics.jsonl says, a resumed run stays one run, and their failures cost nothing."""

from __future__ import annotations

import importlib.util
import itertools
import json
import os
import sqlite3
import struct
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from nes_lab.config import load_config
from nes_lab.errors import OptionError
from nes_lab.experiment import attempt
from nes_lab.experiment.build import check
from nes_lab.experiment.run import Run
from nes_lab.experiment.run_experiment import run_experiment
from nes_lab.runs import launcher
from nes_lab.runs.store import RunStore

Points = list[tuple[int, float]]


@pytest.fixture(autouse=True)
def _own_places(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("MLFLOW_", "WANDB_", "TRACKIO_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("WANDB_MODE", "offline")  # nothing leaves this machine
    monkeypatch.setenv("WANDB_SILENT", "true")


def config(*trackers: str):
    training = {"epochs": 2, "threads": 1, "log_every_steps": 2, "device": "cpu", "trackers": trackers}
    return load_config({"data": {"limit": 96, "batch_size": 24}, "backbone": {"width": 0.35}, "training": training})


def run(store: RunStore, *trackers: str) -> str:
    """Train a run that is cancelled in its first attempt, and resume it."""
    run_id = store.create(config(*trackers).to_dict())

    def stop(_: dict[str, Any]) -> None:
        if store.get(run_id).state == "running":
            launcher.cancel(store, run_id)

    assert run_experiment(store, run_id, stop)["state"] == "cancelled"
    assert run_experiment(store, run_id)["state"] == "finished"
    return run_id


def measured(store: RunStore, run_id: str, split: str, name: str) -> Points:
    return [(row["step"], row[name]) for row in store.metrics(run_id) if row["split"] == split]


def failures(store: RunStore, run_id: str) -> list[tuple[str, str]]:
    events = store.events(run_id)
    return [(event["tracker"], event["reason"]) for event in events if event["kind"] == "tracker_failed"]


def in_tensorboard(store: RunStore, run_id: str) -> dict[str, Points]:
    found = EventAccumulator(str(store.root.parent / "trackers" / "tensorboard" / run_id))
    found.Reload()
    names = found.Tags()["scalars"]
    return {name: [(event.step, event.value) for event in found.Scalars(name)] for name in names}


def in_mlflow(store: RunStore, run_id: str) -> dict[str, Points]:
    from mlflow import MlflowClient  # pyright: ignore[reportMissingImports]

    client = MlflowClient(f"sqlite:///{store.root.parent}/trackers/mlflow.db")
    (experiment,) = [one for one in client.search_experiments() if one.name == "nes-lab"]
    (found,) = [one for one in client.search_runs([experiment.experiment_id]) if one.info.run_name == run_id]
    assert found.data.params["backbone.width"] == "0.35"
    history = {name: client.get_metric_history(found.info.run_id, name) for name in found.data.metrics}
    return {name: [(row.step, row.value) for row in rows] for name, rows in history.items()}


def in_trackio(store: RunStore, run_id: str) -> dict[str, Points]:
    with sqlite3.connect(store.root.parent / "trackers" / "trackio" / "nes-lab.db") as database:
        rows = database.execute(
            "select step, metrics from metrics where run_name = ? order by id", (run_id,)
        ).fetchall()
    told: dict[str, Points] = {}
    for step, text in rows:
        for name, value in json.loads(text).items():
            told.setdefault(name, []).append((step, value))
    return told


def in_wandb(store: RunStore, run_id: str) -> dict[str, Points]:
    from wandb.proto import wandb_internal_pb2  # pyright: ignore[reportMissingImports]

    told: dict[str, Points] = {}
    files = sorted((store.root.parent / "trackers" / "wandb").glob(f"offline-run-*/run-{run_id}.wandb"))
    assert len(files) == 2  # one an attempt, of one run: uploading them makes one
    for data in itertools.chain.from_iterable(map(_records, files)):
        history = wandb_internal_pb2.Record.FromString(data).history
        for item in filter(_is_number, history.item):
            name = "/".join(item.nested_key) or item.key
            told.setdefault(name, []).append((history.step.num, float(item.value_json)))
    return told


def _records(file: Path) -> Iterator[bytes]:
    """Read a log in LevelDB's format after wandb's own 7 bytes: blocks of 32 KiB with pieces (crc, length, type)."""
    content, place, record = file.read_bytes(), 7, b""
    while place + 7 <= len(content):
        left = 32768 - place % 32768
        size, kind = struct.unpack_from("<HB", content, place + 4) if left >= 7 else (0, 0)
        if kind == 0:  # the rest of a block that is too small for a piece
            place += left
            continue
        record += content[place + 7 : place + 7 + size]
        place += 7 + size
        if kind in (1, 4):  # whole, or its last piece
            yield record
            record = b""


def _is_number(item: Any) -> bool:
    return item.value_json.lstrip("-")[:1].isdigit()


@pytest.mark.parametrize("name", ["tensorboard", "mlflow", "wandb", "trackio"])
def test_it_says_what_the_metrics_say_and_a_resumed_run_is_one(tmp_path: Path, name: str) -> None:
    if importlib.util.find_spec(name) is None:  # not importorskip: they read the environment when they are imported
        pytest.skip(f"{name} is not installed: of the trackers only tensorboard is among our pins")
    before = dict(os.environ)
    store = RunStore(tmp_path / "runs")
    run_id = run(store, name)
    assert not failures(store, run_id)
    told = {"tensorboard": in_tensorboard, "mlflow": in_mlflow, "wandb": in_wandb, "trackio": in_trackio}[name]
    found = told(store, run_id)
    for split, names in (("train", ("loss", "top1", "lr", "images_per_s")), ("val", ("loss", "top1", "top5"))):
        for what in names:
            expected = measured(store, run_id, split, what)
            assert [step for step, _ in found[f"{split}/{what}"]] == [step for step, _ in expected]
            values = [value for _, value in found[f"{split}/{what}"]]
            assert values == pytest.approx([value for _, value in expected], rel=1e-6)  # stored as float32
    changed = {key for key in os.environ if os.environ[key] != before.get(key)}
    assert not {key for key in changed if key.startswith(("MLFLOW_", "TRACKIO_"))}  # else the next run's would be wrong


def test_steps_repeated_after_a_crash_are_once_in_tensorboard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = RunStore(tmp_path / "runs")
    run_id = store.create(config("tensorboard").to_dict())
    metric = attempt.Attempt._metric

    def crash(self: attempt.Attempt, row: dict[str, Any]) -> None:
        metric(self, row)
        if row["step"] == 6:  # the checkpoint is of step 4
            raise MemoryError("crash")

    with monkeypatch.context() as first:
        first.setattr(attempt.Attempt, "_metric", crash)
        with pytest.raises(MemoryError):
            run_experiment(store, run_id)
    assert run_experiment(store, run_id)["state"] == "finished"
    found = in_tensorboard(store, run_id)
    assert [step for step, _ in found["train/loss"]] == [2, 4, 6, 8]
    assert [step for step, _ in found["val/loss"]] == [4, 8]


def test_a_run_has_no_trackers_unless_asked(tmp_path: Path) -> None:
    store = RunStore(tmp_path / "runs")
    run(store)
    assert not (tmp_path / "trackers").exists()


def test_a_missing_package_is_told_before_there_is_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nes_lab.training.trackers.find_spec", lambda name: None)
    with pytest.raises(OptionError, match="'wandb' is not installed here: pip install wandb"):
        check(config("wandb"))
    with pytest.raises(OptionError, match="Did you mean 'tensorboard'"):
        check(config("tensorbord"))


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """A stand-in for trackio, whose server may be gone at any time."""
    module = types.ModuleType("trackio")
    module.config = types.SimpleNamespace(update=lambda *_, **__: None)
    module.init = lambda **_: types.SimpleNamespace(log=lambda *_, **__: None, finish=lambda: None)
    monkeypatch.setitem(sys.modules, "trackio", module)
    monkeypatch.setattr("nes_lab.training.trackers.find_spec", lambda name: name)
    return module


@pytest.mark.parametrize("breaks", ["init", "log"])
def test_a_tracker_that_fails_is_one_event(tmp_path: Path, fake: types.ModuleType, breaks: str) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise ConnectionError("the server is gone")

    fake.init = fail if breaks == "init" else lambda **_: types.SimpleNamespace(log=fail, finish=lambda: None)
    store = RunStore(tmp_path / "runs")
    run_id = run(store, "trackio", "tensorboard")
    assert set(failures(store, run_id)) == {("trackio", "ConnectionError: the server is gone")}
    assert len(failures(store, run_id)) <= store.get(run_id).attempt
    assert in_tensorboard(store, run_id)


@pytest.mark.parametrize("theirs", ["", "/somewhere/else"])
def test_where_they_write_is_the_users_choice_or_beside_the_runs(
    tmp_path: Path, fake: types.ModuleType, monkeypatch: pytest.MonkeyPatch, theirs: str
) -> None:
    if theirs:
        monkeypatch.setenv("TRACKIO_DIR", theirs)
    asked = []
    logger = fake.init()
    fake.init = lambda **options: asked.append((os.environ["TRACKIO_DIR"], options)) or logger
    run_id = run(RunStore(tmp_path / "runs"), "trackio")
    options = {"project": "nes-lab", "name": run_id, "resume": "allow", "embed": False}
    assert asked == [(theirs or str(tmp_path / "trackers" / "trackio"), options)] * 2
    assert os.environ.get("TRACKIO_DIR", "") == theirs


def test_trackers_get_the_planned_settings_of_an_extended_run(tmp_path, monkeypatch):
    """MLflow refuses a setting that changes, and would get no more rows."""
    seen = []

    class Spy(attempt.Trackers):
        def __init__(self, names, folder, run, config, **options):
            seen.append(config["training"]["epochs"])
            super().__init__(names, folder, run, config, **options)

    monkeypatch.setattr(attempt, "Trackers", Spy)
    store = RunStore(tmp_path / "runs")
    run_id = store.create(config("tensorboard").to_dict())
    run_experiment(store, run_id)
    Run(store, run_id).extend(3, progress=False)
    assert seen == [2, 2] and not failures(store, run_id)
