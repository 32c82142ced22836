"""What `nes-lab watch` shows, and that nothing on disk can break it."""

import io
import itertools
import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
import types

import pytest
from rich.console import Console

from nes_lab.cli import main
from nes_lab.cli.terminal_plot import plot, sparkline
from nes_lab.cli.watch import Watcher
from nes_lab.figures.live_run import live_run
from nes_lab.figures.progress import progress_text
from nes_lab.runs import launcher, queue
from nes_lab.runs.checkpoint_score import Score
from nes_lab.runs.store import RunStore
from nes_lab.runs.writer import RunWriter


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("NES_LAB_HOME", str(tmp_path))
    return RunStore()


def make(store, state="finished", label="", epochs=4, reason=""):
    run_id = store.create({"training": {"epochs": epochs}}, label=label)
    with RunWriter(store, run_id) as writer:
        for epoch in range(1, 4):
            step = 10 * epoch
            writer.metric(step=step, epoch=epoch, split="train", loss=1 / epoch, images_per_s=1234.5)
            writer.metric(step=step, epoch=epoch, split="val", loss=1.0, top1=20.0 * epoch)
        writer.status(state, step=30, total=40, reason=reason)
    return run_id


def picture(store, width, names=(), height=40):
    console = Console(width=width, file=io.StringIO(), force_terminal=True, color_system=None)
    console.print(Watcher(store, names).frame(width, height))
    return console.file.getvalue()


@pytest.mark.parametrize("width", [60, 80, 110, 132, 200])
def test_watch_fits_every_state_into_every_width(store, width):
    lost = make(store)
    status = store.path(lost) / "status.json"
    status.write_text(
        json.dumps(json.loads(status.read_text()) | {"state": "running", "start_ticks": 1})
    )  # the process of old
    failed = make(store, "failed", reason="the training loss is nan")
    make(store, "finished", label="\x1b[2Jevil [red]label[/red]" * 3)
    waiting = store.create({})
    with queue.hold_queue(store.root):
        queue.take_ticket(store.root, waiting)
    live = store.create({"training": {"epochs": 9}})
    with RunWriter(store, live) as writer:
        writer.metric(step=1, epoch=1, split="train", loss=2.5, images_per_s=77.0)
        writer.status(step=1, total=90)
        shown = picture(store, width)
        launcher.cancel(store, waiting)  # else it would be trained when this one ends
    assert all(len(row) <= width for row in shown.splitlines())
    for word in ("running", "queued", "finished", "lost", "the training loss is nan", "60.0", "▁", "4", "77"):
        assert word in shown, word
    assert "resume it" in " ".join(shown.split())
    assert "\x1b[2J" not in shown
    assert all(run_id[-6:] in shown for run_id in (lost, failed, waiting, live))
    assert shown.index("running") < shown.index("queued") < shown.index("no. 1") if width < 110 else True


def test_watch_and_figures_show_the_metric_of_the_run_and_its_best_checkpoints(store):
    """Lower errors are better; the plain weights of step 20 and the averaged ones of step 10 are the best."""
    run_id = store.create({})
    with RunWriter(store, run_id) as writer:
        writer.event("task", loss="loss=MSELoss", metrics=[["error", "lower"]])
        for step, error, averaged in ((10, 0.25, 0.125), (20, 0.0625, 0.2), (30, 0.5, 0.3)):
            writer.metric(step=step, epoch=step, split="val", loss=1.0, error=error, ema_error=averaged)
            weights, _ = writer.checkpoint_paths(step)
            weights.write_bytes(b"x")
            writer.commit_checkpoint(step, [weights], score=Score("error", "lower", error, averaged))
        writer.status("finished", step=30, total=30)
    shown = picture(store, 120, [run_id])
    for text in ("error 0.5", "val error, by step", ", the best averaged: 0.125", ", the best: 0.0625"):
        assert text in shown, text
    assert "damaged" not in shown and "top-1" not in shown
    metrics, events = store.metrics(run_id), store.events(run_id)
    assert "best error 0.0625" in progress_text(store.get(run_id), metrics, events)
    figure = live_run(metrics, events)
    assert figure.layout.yaxis2.title.text == "error"
    assert [trace.name for trace in figure.data if str(trace.name).startswith("best")] == ["best: 0.0625"]
    other = make(store)
    shown = picture(store, 200)
    assert "error 0.5" in shown and other in shown


def test_watch_without_runs_and_on_a_low_terminal(store):
    assert "no runs in" in picture(store, 60)
    for _ in range(5):
        make(store)
    assert "3 more" in picture(store, 132, height=6)


def test_watch_counts_all_runs_though_few_are_shown(store):
    for state in ("finished", "failed", "finished", "cancelled"):
        make(store, state)
    for width in (80, 132):
        shown = picture(store, width, height=6)
        assert "2 finished, 1 cancelled, 1 failed; " in shown and "more not shown" in " ".join(shown.split())


@pytest.mark.parametrize("width", [50, 80, 120, 200])
def test_watch_shows_different_labels_for_runs_of_a_sweep(store, width):
    base = "backbone=cifar_resnet56 madds=50% routing=learner epochs=20 seed="
    ids = [make(store, label=f"{base}{seed}") for seed in range(3)]
    shown = picture(store, width)
    assert all(f"seed={seed}" in shown for seed in range(3)) and all(run_id[-6:] in shown for run_id in ids)
    assert all(word in shown for word in ("epoch", "loss", "top-1", "60.0"))
    assert all(len(row) <= width for row in shown.splitlines())
    assert width < 150 or base in shown


def test_watch_shows_a_shared_reason_once(store):
    first, second = (make(store, "failed", reason="no such backbone") for _ in range(2))
    shown = " ".join(picture(store, 132).split())
    assert shown.count("no such backbone") == 1 and f"{second} and 1 more are failed: no such backbone" in shown
    assert first[-6:] in shown


def test_watch_shows_one_group(store, capsys):
    mine, other = (store.create({}, group=group) for group in ("front", ""))
    for command in ("watch --once", "runs", "watch --json"):
        assert main([*command.split(), "--group", "front"]) == 0
        out = capsys.readouterr().out
        assert mine in out and other not in out
    assert main(["watch", "--once", "--group", "none"]) == 0 and main(["runs", "--group", "none"]) == 0
    assert capsys.readouterr().out.count("no runs of group none") == 2
    assert main(["watch", mine, "--group", "front"]) == 2
    assert "give one of them" in capsys.readouterr().err


def test_watch_in_a_pipe_waits_between_two_trials_of_a_sweep(store, monkeypatch, capsys):
    first, ticks, naps, later = store.create({}), itertools.count(step=0.1), itertools.count(), []

    def nap(_):
        nap_number = next(naps)
        if nap_number == 0:
            with RunWriter(store, first) as writer:
                writer.status("finished")
        elif nap_number == 3:  # for two looks nothing was at work
            later.append(make(store))

    stand_in = types.SimpleNamespace(monotonic=lambda: next(ticks), sleep=nap)
    monkeypatch.setattr("nes_lab.cli.watch.time", stand_in)
    monkeypatch.setattr("nes_lab.cli.watch.start_waiting", lambda _: None)
    assert main(["watch"]) == 0
    assert [line.split()[:2] for line in capsys.readouterr().out.splitlines()] == [
        [first, "queued"],
        [first, "finished"],
        [later[0], "finished"],
    ]


def test_watch_shows_one_run_in_detail(store):
    run_id = make(store)
    (store.path(run_id) / "log.txt").write_text("a\nb \x1b[31mred\n")
    assert [picture(store, width, [run_id]).count(run_id) for width in (40, 60, 132)] == [1, 1, 1]
    shown = picture(store, 60, [run_id[-6:]])
    for word in (
        "val top-1",
        "60.0 ┤",
        "20.0 ┤",
        "no checkpoint yet",
        "last lines of log.txt",
        "b  [31mred",
        "step 30 of 40",
    ):
        assert word in shown, word
    (store.path(run_id) / "checkpoints" / "manifest.json").write_text("{")
    assert "missing or damaged" in picture(store, 60, [run_id])


def test_watch_survives_deleted_runs_and_torn_metrics(store):
    run_id, other = make(store), make(store)
    watcher = Watcher(store, [run_id])
    path = store.path(other) / "metrics.jsonl"
    path.write_bytes(
        path.read_bytes()
        + b'{"step": 4\n\x00\x00\n[]\n{"step": 40, "loss": "high", "top1": null, "split": "val"}\n{"st'
    )
    store.delete(run_id)
    console = Console(width=100, file=io.StringIO())
    console.print(watcher.frame(100, 40))
    assert "it was deleted" in console.file.getvalue()
    assert "60.0" in picture(store, 132)
    (store.path(other) / "run.json").write_text("{}")
    assert "schema_version" in picture(store, 132)


def test_plot_and_sparkline():
    assert sparkline([1.0] * 100, 7) == "▁" * 7
    assert sparkline(list(range(100)), 4)[-1] == "█"
    assert plot([], 40, 5) == []
    rows = plot([(1, 0.0), (100, 1.0)], 40, 5)
    assert len(rows) == 6 and max(map(len, rows)) <= 40
    assert all(len(row) <= 30 for row in plot([(i, float(i)) for i in range(1000)], 30, 3))


def test_watch_once_json_and_mistakes(store, capsys):
    run_id = make(store)
    assert main(["watch", "--once"]) == 0
    assert run_id in capsys.readouterr().out
    assert main(["watch", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    (row,) = told["runs"]
    assert told["waiting"] == [] and (row["id"], row["top1"], row["epoch"], row["eta_s"]) == (run_id, 60.0, 3, None)
    assert main(["watch", "nothing"]) == 2
    assert main(["watch", "../../etc"]) == 2
    assert main(["watch", "--every", "0"]) == 2
    assert "--every" in capsys.readouterr().err


def test_watch_in_a_pipe_writes_lines_until_no_run_is_active(store):
    first, second = make(store), make(store, "failed", reason="no luck")
    done = subprocess.run([sys.executable, "-m", "nes_lab.cli", "watch"], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0
    assert [line.split()[:2] for line in done.stdout.splitlines()] == [[second, "failed"], [first, "finished"]]
    assert "no luck" in done.stdout


def test_watch_is_live_on_a_terminal_and_ctrl_c_exits_with_0(store):
    """In a pseudo-terminal: a run that appears later is shown, Ctrl-C is no error, the cursor is given back."""
    main_end, child_end = pty.openpty()
    words = [sys.executable, "-m", "nes_lab.cli", "watch", "--every", "0.1"]
    terminal = os.environ | {"TERM": "xterm-256color", "COLUMNS": "80", "LINES": "24"}
    ignored = signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # a suite in the background ignores it, as would a child
    try:
        child = subprocess.Popen(words, stdin=child_end, stdout=child_end, stderr=child_end, env=terminal)
    finally:
        signal.signal(signal.SIGINT, ignored)
    os.close(child_end)
    seen = _until(main_end, b"no runs")
    run_id = make(store)
    seen += _until(main_end, run_id.encode())
    child.send_signal(signal.SIGINT)
    try:
        while piece := os.read(main_end, 65536):  # nobody reads a terminal that is not read here
            seen += piece
    except OSError:
        pass  # the terminal of an ended process
    assert child.wait(20) == 0
    os.close(main_end)
    assert b"Traceback" not in seen
    assert re.findall(rb"\x1b\[\?25[hl]", seen)[-1] == b"\x1b[?25h"


def _until(handle, wanted, seconds=30):
    seen, end = b"", time.monotonic() + seconds
    while wanted not in seen:
        assert time.monotonic() < end, seen
        seen += os.read(handle, 65536)
    return seen
