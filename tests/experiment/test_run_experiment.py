"""A run from its config to its summary, and what survives when it is cut short."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from nes_lab.cli.train_here import shown_progress
from nes_lab.cli.watch_frames import run_line
from nes_lab.config import load_config
from nes_lab.datasets.as_dataset import as_dataset
from nes_lab.errors import CheckpointError, OptionError, RunError
from nes_lab.experiment.run import Run
from nes_lab.experiment.run_experiment import resume, run_experiment
from nes_lab.figures.progress import progress_text
from nes_lab.progress_bar import ProgressEvent
from nes_lab.runs import layout
from nes_lab.runs.files import read_json, write_json
from nes_lab.runs.pack import pack_run
from nes_lab.runs.run_progress import RunProgress
from nes_lab.runs.store import RunStore
from nes_lab.runs.unpack import unpack_run
from nes_lab.runs.writer import RunWriter
from nes_lab.text import format_share
from nes_lab.training.checkpoint import load_weights
from tests.training.own_tasks import regression


def tree(epochs: int = 2, routing: str | None = "free", **training) -> dict:
    compression = None if routing is None else {"madds": "70%", "round_to": 1, "routing": routing}
    if routing == "searched among whole cells":
        compression = {
            "madds": "70%",
            "routing": "free",
            "patch_channels": 1,
            "initial_weights": "fit",
            "search_starts": True,
            "snap": True,
        }
    options = {"epochs": epochs, "threads": 1, "log_every_steps": 2, "device": "cpu"} | training
    return {
        "data": {"limit": 96, "batch_size": 24},
        "backbone": {"width": 0.35},
        "compression": compression,
        "training": options,
    }


def create(root: Path, **options) -> tuple[RunStore, str]:
    store = RunStore(root)
    return store, store.create(load_config(tree(**options)).to_dict())


def test_a_run_keeps_gradients_of_its_epitomes_if_asked(tmp_path):
    store, run_id = create(tmp_path, epochs=1, keep_gradients=True)
    assert run_experiment(store, run_id)["state"] == "finished"
    first, last = (store.snapshot(run_id, step) for step in store.snapshots(run_id))
    assert all(layer.gradient is None for layer in first.values())
    assert all(layer.gradient.shape == layer.epitome.shape and layer.gradient.any() for layer in last.values())


def test_starts_that_snapped_cost_no_blending(tmp_path):
    """The summary counts the network that was trained to the end, not the plan's."""
    store, free = create(tmp_path)
    store, snapped = create(tmp_path, starts_snap_epoch=1)
    for run_id in (free, snapped):
        assert run_experiment(store, run_id)["state"] == "finished"
    moving, still = (store.get(run_id).summary for run_id in (free, snapped))
    assert still["madds"] < moving["madds"] and still["params"] == moving["params"]
    cost = read_json(store.path(snapped) / layout.COST)
    assert cost["cost"]["madds"] == still["madds"] and cost["dense"]["madds"] == still["dense_madds"]
    assert any(event["kind"] == "starts_snapped" for event in store.events(snapped))


def cancel_at(store: RunStore, run_id: str, step: int):
    """Ask a run to stop, as another process would, once it is that far."""
    from nes_lab.runs.launcher import cancel

    def watch(event: ProgressEvent) -> None:
        if event["done"] >= step:
            cancel(store, run_id)

    return watch


def stop_after(monkeypatch: pytest.MonkeyPatch, steps: int) -> None:
    """Make SIGTERM arrive in a chosen step of this process."""
    from nes_lab.training import loop

    original = loop.Trainer._train_step

    def step(self, *batch) -> None:
        original(self, *batch)
        if self.step == steps:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(loop.Trainer, "_train_step", step)


def final_weights(store: RunStore, run_id: str) -> dict[str, torch.Tensor]:
    checkpoint = store.latest_checkpoint(run_id)
    assert checkpoint is not None
    return load_weights(checkpoint.weights) | {
        f"ema.{name}": value for name, value in load_weights(checkpoint.weights, ema=True).items()
    }


def test_a_run_leaves_everything_behind(tmp_path: Path) -> None:
    store, run_id = create(tmp_path)
    seen: list[dict] = []
    threads = torch.get_num_threads()
    result = run_experiment(store, run_id, on_progress=seen.append)
    info = store.get(run_id)
    assert (result["state"], info.state, info.step, info.total) == ("finished", "finished", 8, 8)
    assert torch.get_num_threads() == threads
    summary = info.summary
    wanted = {"params", "learner_params", "madds", "dense_params", "dense_madds", "top1", "best_top1", "top5"}
    assert wanted | {"latency_ms", "epochs", "seconds", "device", "torch", "seed"} <= set(summary)
    assert summary["madds"] <= 0.7 * summary["dense_madds"]
    assert summary["best_top1"] >= summary["top1"] > 0
    assert summary["latency_ms"] > 0
    vals = [row for row in store.metrics(run_id) if row["split"] == "val"]
    assert [row["step"] for row in vals] == [4, 8]
    assert vals[-1]["top1"] == summary["top1"]
    assert store.snapshots(run_id) == [0, 4, 8]
    assert (store.path(run_id) / "plan.json").exists()
    assert {event["kind"] for event in store.events(run_id)} >= {"start", "data", "checkpoint", "finished"}
    assert seen[-1]["done"] == 8


def test_a_run_keeps_its_own_loss_and_metrics_and_the_best_of_both_networks(tmp_path, monkeypatch):
    own = regression()
    data = as_dataset((own.train, DataLoader(TensorDataset(*own.val), batch_size=8)), classes=2)
    store, run_id = create(tmp_path, epochs=3, ema_decay=0.5)
    with monkeypatch.context() as patch:
        stop_after(patch, 5)
        run_experiment(store, run_id, data=data, **own.measures)
    with pytest.raises(
        CheckpointError, match="training with loss=MSELoss, not cross entropy; give the same loss= again"
    ):
        run_experiment(store, run_id, data=data)
    run_experiment(store, run_id, data=data, **own.measures)
    summary, rows = store.get(run_id).summary, [row for row in store.metrics(run_id) if row["split"] == "val"]
    for name in ("error", "ema_error"):
        assert summary[f"best_{name}"] == min(row[name] for row in rows)
        assert summary[name] == rows[-1][name]
    assert "top1" not in summary and "loss" not in summary and "lr" in store.metrics(run_id)[0]
    best = store.best_checkpoint(run_id, None)
    assert best.value == min(summary["best_error"], summary["best_ema_error"])
    assert best.score.metric == "error"
    (task,) = [event for event in store.events(run_id) if event["kind"] == "task"]
    assert (task["loss"], task["metrics"]) == ("loss=MSELoss", [["error", "lower"]])
    assert store.get(run_id).resume_note == ""


def test_a_run_on_loaders_says_that_it_does_not_resume_bit_for_bit(tmp_path, monkeypatch):
    pairs = TensorDataset(*regression().train)
    loader = DataLoader(pairs, batch_size=20)
    store, run_id = create(tmp_path)
    stop_after(monkeypatch, 3)
    about = {"data": as_dataset((loader, pairs), classes=2), "loss": torch.nn.MSELoss()}
    assert run_experiment(store, run_id, **about) == {"state": "cancelled", "step": 3, "total": 10}
    assert store.get(run_id).resume_note == "not resumable bit for bit: the data comes from loaders"
    finished = run_experiment(store, run_id, **about)
    assert finished["state"] == "finished" and finished["best_loss"] <= finished["loss"]
    (event,) = [event for event in store.events(run_id) if event["kind"] == "data"]
    assert event["notes"] == [store.get(run_id).resume_note]


def test_snapshots_show_starts_moving(tmp_path: Path) -> None:
    store, run_id = create(tmp_path)
    run_experiment(store, run_id)
    first, last = store.snapshot(run_id, 0), store.snapshot(run_id, 8)
    assert first.keys() == last.keys()
    moved = [
        name
        for name in first
        for a, b in zip(first[name].starts, last[name].starts, strict=True)
        if a is not None and b is not None and (a != b).any()
    ]
    assert moved


def test_snapshots_are_thinned_evenly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nes_lab.experiment.attempt.MAX_SNAPSHOTS", 4)
    store, run_id = create(tmp_path, epochs=7)
    run_experiment(store, run_id)
    assert store.snapshots(run_id) == [0, 12, 24, 28]


@pytest.mark.parametrize(
    "routing", ["free", pytest.param("learner", marks=pytest.mark.slow), "searched among whole cells"]
)
def test_interrupted_run_equals_uninterrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, routing: str) -> None:
    """In the middle of an epoch and at its end, through files, with averaged weights."""
    store, whole = create(tmp_path, routing=routing, ema_decay=0.9)
    run_experiment(store, whole)
    for stop_at in (3, 4):
        cut = store.create(store.get(whole).config)
        with monkeypatch.context() as patch:
            stop_after(patch, stop_at)
            assert run_experiment(store, cut)["state"] == "cancelled"
        info = store.get(cut)
        assert (info.state, info.step, info.reason) == ("cancelled", stop_at, "SIGTERM received")
        torch.rand(1)
        assert resume(store, cut)["state"] == "finished"
        expected, weights = final_weights(store, whole), final_weights(store, cut)
        assert [name for name in expected if not expected[name].equal(weights[name])] == []
        numbers = ("top1", "best_top1", "top5", "ema_top1", "params", "madds")
        assert [store.get(whole).summary[n] for n in numbers] == [store.get(cut).summary[n] for n in numbers]
        assert store.snapshots(cut) == store.snapshots(whole)
        with pytest.raises(RunError, match="finished"):
            resume(store, cut)


def test_cancel_request_ends_a_run_resumably(tmp_path: Path) -> None:
    store, run_id = create(tmp_path, epochs=200)
    request = cancel_at(store, run_id, 2)
    signals_before = signal.getsignal(signal.SIGTERM)
    result = run_experiment(store, run_id, on_progress=request)
    assert result["state"] == "cancelled"
    assert (store.get(run_id).state, store.get(run_id).reason) == ("cancelled", "cancelled on request")
    assert store.latest_checkpoint(run_id).step == result["step"] < 800
    assert signal.getsignal(signal.SIGTERM) == signals_before


def test_a_cancel_request_that_comes_with_its_signal_is_told_as_a_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, run_id = create(tmp_path)
    stop_after(monkeypatch, 2)
    run_experiment(store, run_id, on_progress=cancel_at(store, run_id, 1))
    assert store.get(run_id).reason == "cancelled on request"


def test_sigterm_to_a_process_gives_cancelled_and_resumable(tmp_path: Path) -> None:
    store, run_id = create(tmp_path, epochs=3000, routing=None, checkpoint_every_epochs=100000)
    code = (
        "import sys; from nes_lab.runs.store import RunStore; from nes_lab.experiment.run_experiment import run_experiment; "
        "run_experiment(RunStore(sys.argv[1]), sys.argv[2])"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path), run_id])
    try:
        deadline = time.monotonic() + 120
        while store.get(run_id).step < 2 and time.monotonic() < deadline:
            assert process.poll() is None
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGINT)  # a second signal must not spoil the first
        assert process.wait(timeout=60) == 0
    finally:
        process.kill()
        process.wait()
    info = store.get(run_id)
    assert info.state == "cancelled"
    assert info.step >= 2
    checkpoint = store.latest_checkpoint(run_id)
    assert checkpoint is not None
    assert checkpoint.step == info.step

    again = resume(store, run_id, on_progress=cancel_at(store, run_id, info.step + 1))
    assert again["state"] == "cancelled"
    assert again["step"] > info.step


def test_nan_fails_with_a_reason_and_keeps_the_last_good_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nes_lab.datasets.in_memory import TensorSplit

    original = TensorSplit.train_batches

    def poisoned(self, batch_size, seed, epoch, start=0):
        for number, (images, labels) in enumerate(original(self, batch_size, seed, epoch, start)):
            yield (images * math.nan if (epoch, number) == (1, 1) else images), labels

    monkeypatch.setattr(TensorSplit, "train_batches", poisoned)
    store, run_id = create(tmp_path)
    with pytest.raises(RunError, match="nan at step 6"):
        run_experiment(store, run_id)
    info = store.get(run_id)
    assert info.state == "failed"
    assert "step 6" in info.reason
    assert "try a lower lr" in info.reason
    assert "top1" not in info.summary
    checkpoint = store.latest_checkpoint(run_id)
    assert checkpoint is not None
    assert checkpoint.step == 4
    assert all(t.isfinite().all() for t in load_weights(checkpoint.weights).values() if t.is_floating_point())


def test_broken_newest_checkpoint_falls_back_to_the_one_before(tmp_path: Path) -> None:
    store, run_id = create(tmp_path, epochs=3)
    run_experiment(store, run_id)
    newest = store.latest_checkpoint(run_id)
    data = bytearray(newest.weights.read_bytes())
    data[-5] ^= 1
    newest.weights.write_bytes(data)
    status = store.path(run_id) / layout.STATUS
    write_json(status, read_json(status) | {"state": "failed"})  # a finished run is left alone
    result = run_experiment(store, run_id)
    assert result["state"] == "finished"
    events = {event["kind"]: event for event in store.events(run_id)}
    assert events["checkpoint_fallback"]["step"] == 8


def test_checkpoint_without_state_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, run_id = create(tmp_path)
    with monkeypatch.context() as patch:
        stop_after(patch, 3)
        run_experiment(store, run_id)
    found = store.latest_checkpoint(run_id)
    monkeypatch.setattr(
        "nes_lab.runs.writer.RunWriter.latest_checkpoint", lambda self: type(found)(found.step, found.weights, None)
    )
    with pytest.raises(CheckpointError, match="no state to resume from"):
        run_experiment(store, run_id)


def test_out_of_memory_says_which_batch_to_try(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("nes_lab.training.loop.Trainer._train_step", full)
    store, run_id = create(tmp_path)
    with pytest.raises(RunError, match=r"batch_size=24; try 12"):
        run_experiment(store, run_id)
    assert store.get(run_id).state == "failed"


def test_unknown_device_and_backbone_fail_the_run_with_the_message(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    run_id = store.create(tree() | {"backbone": {"name": "small_mobilenet2"}})
    with pytest.raises(OptionError):
        run_experiment(store, run_id)
    assert "small_mobilenetv2" in store.get(run_id).reason
    if torch.cuda.device_count() < 99:
        run_id = store.create(tree(device="cuda:99"))
        with pytest.raises(OptionError, match="cuda:99"):
            run_experiment(store, run_id)


def test_it_runs_outside_the_main_thread(tmp_path: Path) -> None:
    """Where Python allows no signal handlers."""
    store, run_id = create(tmp_path, routing=None, epochs=1)
    thread = threading.Thread(target=run_experiment, args=(store, run_id))
    thread.start()
    thread.join()
    assert store.get(run_id).state == "finished"


@pytest.mark.parametrize(
    "training",
    [
        {"routing": "free", "starts_freeze_epoch": 2, "optimizer": "adamw", "lr": 0.01, "warmup_epochs": 1},
        pytest.param(
            {"routing": "learner", "starts_momentum_end": 0.5, "starts_warmup_epochs": 3}, marks=pytest.mark.slow
        ),
    ],
    ids=["frozen", "learner"],
)
def test_extended_and_interrupted_run_equals_extended_one(tmp_path, monkeypatch, caplog, training) -> None:
    store, run_id = create(tmp_path / "runs", ema_decay=0.9, **training)
    run_experiment(store, run_id)
    other = RunStore(tmp_path / "other")
    assert unpack_run(other, pack_run(store, run_id, tmp_path / "run.zip")) == run_id
    with pytest.raises(RunError, match="is finished"):
        run_experiment(store, run_id)
    assert store.get(run_id).state == "finished"

    assert Run(store, run_id).extend(4, progress=False).state == "finished"
    with monkeypatch.context() as patch:
        stop_after(patch, 10)
        assert Run(other, run_id).extend(4, progress=False).state == "cancelled"
    resume(other, run_id)
    once, twice = final_weights(store, run_id), final_weights(other, run_id)
    assert once.keys() == twice.keys() and all(torch.equal(once[name], twice[name]) for name in once)

    info, told = store.get(run_id), [row for row in store.events(run_id) if row["kind"] == "extended"]
    assert (info.total, info.summary["epochs"], info.summary["extended_from"]) == (16, 4, "epoch 2")
    assert [(row["step"], row["epochs"], row["from"]) for row in told] == [(8, 4, "epoch 2")]
    assert told[0]["lr"] > told[0]["lr_before"] and "is extended to 4 epochs at step 8" in caplog.text
    assert len([row for row in other.events(run_id) if row["kind"] == "extended"]) == 1


def test_the_fit_before_the_first_step_reports_its_progress(tmp_path, capsys):
    """A search of starts can take longer than the training: its progress reaches the status, callbacks, bar, watch and app."""
    store, run_id = create(tmp_path, epochs=1, routing="searched among whole cells")
    seen: list[tuple[str, str, str, str]] = []

    def watch(event: ProgressEvent) -> None:
        if event["phase"] != "training":
            info = store.get(run_id)
            told = Run(store, run_id)._event(info)
            seen.append((event["phase"], told["phase"], progress_text(info, []), run_line(RunProgress(info))))
            assert info.step == 0

    with shown_progress() as show:
        run_experiment(store, run_id, on_progress=lambda event: (watch(event), show(event)))
    assert {phase for phase, *_ in seen} == {"fit"}
    assert all(phase == told and phase in text and phase in line for phase, told, text, line in seen)
    assert store.get(run_id).stage is None and "fit 0 of" in capsys.readouterr().out


def test_a_stage_is_only_told_while_it_lasts(tmp_path):
    """A run that fails in its fit, or a status of an older version, has no stage."""
    store, run_id = create(tmp_path)
    with RunWriter(store, run_id) as writer:
        writer.status(stage={"phase": "fit", "done": 1, "total": 4, "label": "conv"})
        info = store.get(run_id)
        assert info.stage is not None and info.stage["label"] == "conv" and info.bar_progress == 0.25
        writer.status("failed", reason="the fit failed")
    assert store.get(run_id).stage is None


def test_run_experiment_records_how_well_the_fitted_network_agrees_with_the_dense_one(tmp_path: Path) -> None:
    settings = tree(epochs=1, routing="searched among whole cells")
    settings["compression"] |= {"calibration": 48}
    store = RunStore(tmp_path)
    run_id = store.create(load_config(settings).to_dict())
    assert run_experiment(store, run_id)["state"] == "finished"
    (event,) = (event for event in store.events(run_id) if event["kind"] == "fit")
    assert f"same top-1 prediction as the dense network for {format_share(event['agreement'])}" in event["comparison"]
    summary = store.get(run_id).summary
    assert (summary["fit_agreement"], summary["fit_output_error"]) == (event["agreement"], event["output_error"])
