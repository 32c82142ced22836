"""A run is watched in a real Jupyter kernel, the kernel is killed, and another kernel goes on watching the same run."""

from __future__ import annotations

import contextlib
import json
import queue
import signal
import time

import pytest
from jupyter_client.manager import KernelManager

from nes_lab.experiment.open_runs import open_run
from tests.house.tree import ROOT
from tests.notebooks.places import private

FIRST = """
import nes_lab
config = {"training": {"epochs": 2000, "warmup_epochs": 0, "threads": 1, "log_every_steps": 1}}
run = nes_lab.train(config, detach=True)
print(run.id)
widget = nes_lab.widgets.watch(run, seconds=0.2)
widget
"""
AGAIN = """
import nes_lab
widget = nes_lab.widgets.watch({run_id!r}, seconds=0.2)
widget
"""
CANCEL = "widget.cancel.click()"


@contextlib.contextmanager
def kernel(home):
    """A kernel of its own, and a client that hears what the kernel sends to a notebook."""
    manager = KernelManager(kernel_name="python3")
    settings = private(home) | {"NES_LAB_HOME": str(home / "nes-lab"), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    manager.start_kernel(env=settings)
    client = manager.client()
    client.start_channels()
    try:
        client.wait_for_ready(120)
        yield manager, client
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def run_cell(client, code):
    """Run a cell; returns what it printed, and the kinds of content that it showed."""
    printed, shown = [], set()
    answer = client.execute_interactive(code, timeout=180, output_hook=lambda message: hear(message, printed, shown))
    assert answer["content"]["status"] == "ok", answer["content"]
    return "".join(printed).strip(), shown


def hear(message, printed, shown):
    if message["msg_type"] == "stream":
        printed.append(message["content"]["text"])
    shown.update(message["content"].get("data", {}))


def next_figure(client, more_than, seconds=180.0):
    """Wait until the kernel sends, by itself, a figure whose longest curve takes more letters than this; returns how many."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(queue.Empty):
            message = client.get_iopub_msg(timeout=1.0)
            state = message["content"].get("data", {}).get("state", {})  # what a widget sends to the page
            curves = state.get("spec", {}).get("data", ())
            longest = max((len(json.dumps(curve.get("x", []))) for curve in curves), default=0)
            if longest > more_than:
                return longest
    pytest.fail(f"no figure with a curve of more than {more_than} letters came within {seconds} seconds")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_run_outlives_the_kernel_and_another_kernel_goes_on_watching(tmp_path):
    with kernel(tmp_path) as (manager, client):
        run_id, shown = run_cell(client, FIRST)
        run = open_run(run_id, root=tmp_path / "nes-lab" / "runs")
        try:
            assert "application/vnd.jupyter.widget-view+json" in shown
            seen = next_figure(client, 0)
            manager.signal_kernel(signal.SIGKILL)  # with all processes of its group
            step = last_step(run)
            with kernel(tmp_path) as (_, other):
                _, shown = run_cell(other, AGAIN.format(run_id=run_id))
                assert "image/png" in shown, "the curves up to now, where widgets are not shown"
                seen = next_figure(other, seen)
                next_figure(other, seen)  # and it goes on
                assert run.info.state == "running" and last_step(run) > step
                assert not manager.is_alive()
                run_cell(other, CANCEL)
                run.wait()
            assert run.info.state == "cancelled"
        finally:
            end(run)


def last_step(run):
    return max(row["step"] for row in run.metrics().rows)


def end(run):
    """End the process of a run that a failed test has left."""
    if run.info.is_final:
        return
    run.cancel()
    deadline = time.monotonic() + 60
    while not run.info.is_final and time.monotonic() < deadline:
        time.sleep(0.5)
