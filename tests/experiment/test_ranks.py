"""One run in two processes: its states stay true, whoever of them is asked to stop or dies."""

from __future__ import annotations

import os
import signal
import time

import psutil
import pytest

from nes_lab.config import load_config
from nes_lab.errors import OptionError, RunError
from nes_lab.experiment.build import check
from nes_lab.experiment.ranks import processes_of
from nes_lab.runs import launcher
from nes_lab.runs.files import read_json
from nes_lab.runs.store import RunStore

CONFIG = {
    "data": {"limit": 128, "batch_size": 16},
    "backbone": {"width": 0.35},
    "training": {"epochs": 2000, "threads": 1, "processes": 2, "device": "cpu", "checkpoint_every_epochs": 100},
}


def create(store: RunStore, **training) -> str:
    return store.create(load_config(CONFIG | {"training": CONFIG["training"] | training}).to_dict())


def wait_for(store: RunStore, run_id: str, what, seconds: float = 240):
    end = time.monotonic() + seconds
    while not what(info := store.get(run_id)):
        assert time.monotonic() < end, (info, store.log_tail(run_id, 40))
        time.sleep(0.1)
    return info


def rank_of(pid: int, rank: int) -> int:
    """The pid of one rank under a run's parent."""
    for child in psutil.Process(pid).children(recursive=True):
        if child.environ().get("RANK") == str(rank) and "_run" in child.cmdline():
            return child.pid
    raise AssertionError(f"no rank {rank} under {pid}")


def test_processes_of_refuses_another_number_of_processes(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    monkeypatch.setattr("nes_lab.experiment.build.pick_device", lambda name: __import__("torch").device("cuda"))
    with pytest.raises(OptionError, match="processes=2: device='cuda' can serve 1 "):
        check(load_config(CONFIG))
    store = RunStore(tmp_path)
    run_id = create(store)
    assert processes_of(store, run_id) == 2
    for name, value in (("RANK", "0"), ("WORLD_SIZE", "3"), ("MASTER_ADDR", "127.0.0.1")):
        monkeypatch.setenv(name, value)
    with pytest.raises(RunError, match=r"processes=2, but this process is one of WORLD_SIZE=3"):
        processes_of(store, run_id)


@pytest.mark.slow
def test_ranks_resume_after_cancel_and_sigterm_and_the_queue_continues(tmp_path) -> None:
    store = RunStore(tmp_path)
    run_id, after = create(store), create(store, epochs=1, processes=1)
    parent = launcher.launch(store, run_id)
    assert launcher.launch(store, after) is None  # it waits
    info = wait_for(store, run_id, lambda info: info.step >= 2)
    assert info.pid == rank_of(parent, 0) != parent
    for pid in (parent, rank_of(parent, 0), rank_of(parent, 1)):  # nothing can be reached from another machine
        heard = [link.laddr.ip for link in psutil.Process(pid).net_connections() if link.status == psutil.CONN_LISTEN]
        assert set(heard) <= {"127.0.0.1", "::1"}, heard
    os.kill(parent, signal.SIGTERM)
    info = wait_for(store, run_id, lambda info: info.state == "cancelled")
    assert store.latest_checkpoint(run_id).step == info.step >= 2
    wait_for(store, after, lambda info: info.state == "finished")
    parent = launcher.launch(store, run_id)
    wait_for(store, run_id, lambda now: now.state == "running" and now.step > info.step)
    launcher.cancel(store, run_id)
    again = wait_for(store, run_id, lambda info: info.state == "cancelled")
    assert store.latest_checkpoint(run_id).step == again.step > info.step
    wait_gone(parent)
    assert not (store.path(run_id) / "claim.json").exists()


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_ranks_fail_the_run_with_a_reason_when_one_is_killed(tmp_path, rank: int) -> None:
    store = RunStore(tmp_path)
    run_id = create(store)
    parent = launcher.launch(store, run_id)
    wait_for(store, run_id, lambda info: info.step >= 2)
    ranks = [rank_of(parent, number) for number in range(2)]
    os.kill(ranks[rank], signal.SIGKILL)
    info = wait_for(store, run_id, lambda info: info.state == "failed", seconds=90)
    assert "resume it from its last checkpoint" in info.reason
    wait_gone(parent, *ranks)
    assert read_json(store.path(run_id) / "status.json")["state"] == "failed"


@pytest.mark.slow
def test_ranks_save_and_stop_without_their_parent(tmp_path) -> None:
    store = RunStore(tmp_path)
    run_id = create(store)
    parent = launcher.launch(store, run_id)
    wait_for(store, run_id, lambda info: info.step >= 2)
    ranks = [rank_of(parent, number) for number in range(2)]
    os.kill(parent, signal.SIGKILL)
    info = wait_for(store, run_id, lambda info: info.state == "cancelled", seconds=90)
    assert store.latest_checkpoint(run_id).step == info.step >= 2
    wait_gone(parent, *ranks)


def wait_gone(*pids: int) -> None:
    end = time.monotonic() + 90
    while any(psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie" for pid in pids):
        assert time.monotonic() < end, pids
        time.sleep(0.1)
