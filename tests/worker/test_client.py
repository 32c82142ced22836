"""A worker answers, is cancelled, dies, hangs and is started again; it ends with its server; other users cannot ask it."""

from __future__ import annotations

import gc
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nes_lab.worker import client
from nes_lab.worker.client import Refusal, Waiting, Worker, WorkerError
from nes_lab.worker.messages import LineReader, is_own_user

ANSWERS = """
import os, sys, time
from pathlib import Path
from nes_lab.errors import BudgetError
from nes_lab.records.counts import Counts
from nes_lab.worker import serve

serve.SECONDS_TO_STOP = 0.5

def step(arguments, on_progress):
    for done in range(arguments["steps"]):
        on_progress({"phase": "steps", "done": done, "total": arguments["steps"], "label": ""})
        time.sleep(0.05)
    return {"steps": arguments["steps"], "pid": os.getpid()}

def deaf(arguments, on_progress):
    time.sleep(60)

def die(arguments, on_progress):
    os._exit(1)

def die_once(arguments, on_progress):
    if not Path(arguments["mark"]).exists():
        Path(arguments["mark"]).touch()
        os._exit(1)
    return "alive"

def refuse(arguments, on_progress):
    raise BudgetError("params=1 cannot be met", least=Counts(2, 3), dense=Counts(20, 30))

serve.serve(Path(sys.argv[1]), lambda: {"step": step, "deaf": deaf, "die": die, "die_once": die_once, "refuse": refuse})
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "answers.py"
    path.write_text(ANSWERS)
    return path


@pytest.fixture
def worker(script: Path) -> Iterator[Worker]:
    made = Worker("plans", command=(sys.executable, str(script)))
    yield made
    made.close()


def _until(condition: Callable[[], object], seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


def _is_running(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def test_worker_answers_and_refuses(worker: Worker):
    states: list[Waiting] = []
    answer = worker.ask("step", {"steps": 12}, waiting=states.append)
    assert answer["steps"] == 12 and answer["pid"] == worker.pid
    assert any(state.progress and state.progress["done"] > 0 for state in states if state.is_worked_on)
    with pytest.raises(Refusal, match="params=1 cannot be met") as refused:
        worker.ask("refuse", {})
    assert (refused.value.kind, refused.value.least["params"], refused.value.dense["madds"]) == ("BudgetError", 2, 30)
    with pytest.raises(WorkerError) as failed:
        worker.ask("steps", {})
    assert "question 'steps' is not known; known are step" in failed.value.details
    assert worker.ask("step", {"steps": 0})["pid"] == answer["pid"]  # errors ended nothing


def test_worker_cancels_the_question_whose_asker_left_and_no_other(worker: Worker):
    results: dict[str, object] = {}

    def ask(name: str, steps: int) -> None:
        results[name] = worker.ask("step", {"steps": steps})

    def leave(state: Waiting) -> None:
        if state.progress:
            raise InterruptedError

    pid = worker.ask("step", {"steps": 0})["pid"]
    other = threading.Thread(target=ask, args=("other tab", 3))
    with pytest.raises(InterruptedError):
        worker.ask("step", {"steps": 10_000}, waiting=leave)
    other.start()
    other.join(20)  # the cancelled question would have taken 500 s
    assert results["other tab"] == {"steps": 3, "pid": pid}


def test_worker_that_does_not_stop_is_replaced(worker: Worker):
    def leave(state: Waiting) -> None:
        if state.is_worked_on:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        worker.ask("deaf", {}, waiting=leave)
    old = worker.pid
    assert worker.ask("step", {"steps": 0})["pid"] != old
    with pytest.raises(WorkerError, match="longer than 1 seconds"):
        worker.ask("deaf", {}, seconds=1)
    assert worker.ask("step", {"steps": 0})["steps"] == 0


def test_worker_that_dies_is_asked_once_more(worker: Worker, tmp_path: Path):
    assert worker.ask("die_once", {"mark": str(tmp_path / "mark")}) == "alive"
    with pytest.raises(WorkerError, match="stopped unexpectedly, twice"):
        worker.ask("die", {})
    os.kill(worker.ask("step", {"steps": 0})["pid"], signal.SIGKILL)
    assert worker.ask("step", {"steps": 1})["steps"] == 1


def test_worker_that_hangs_is_replaced(worker: Worker, monkeypatch: pytest.MonkeyPatch):
    old = worker.ask("step", {"steps": 0})["pid"]
    monkeypatch.setattr(client, "SECONDS_WITHOUT_SIGN", 2.0)
    os.kill(old, signal.SIGSTOP)
    assert worker.ask("step", {"steps": 0})["pid"] != old
    _until(lambda: not _is_running(old))


def test_worker_that_is_closed_leaves_nothing_behind(worker: Worker):
    other = Worker("jobs", command=worker._command)  # as for each question about the user's own code
    folder, left = other.start().parent, weakref.ref(other)
    other.close()
    del other
    gc.collect()
    assert left() is None and not folder.exists()


def test_worker_ends_with_its_server(script: Path, tmp_path: Path):
    server = tmp_path / "server.py"
    server.write_text(
        "import sys, time\nfrom nes_lab.worker.client import Worker\n"
        f"worker = Worker('plans', command=(sys.executable, {str(script)!r}))\n"
        "print(worker.ask('step', {'steps': 0})['pid'], worker.start(), flush=True)\ntime.sleep(60)\n"
    )
    process = subprocess.Popen([sys.executable, str(server)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process.stdout as lines:
        pid, path = lines.readline().split()
    assert _is_running(int(pid)) and Path(path).exists()
    process.kill()
    process.wait()
    _until(lambda: not _is_running(int(pid)))
    assert not Path(path).parent.exists()


def test_worker_is_closed_to_other_users(worker: Worker, monkeypatch: pytest.MonkeyPatch):
    path = worker.start()
    worker.ask("step", {"steps": 0})
    assert path.parent.stat().st_mode & 0o777 == 0o700 and path.stat().st_mode & 0o777 == 0o600
    near, far = socket.socketpair()
    with near, far:
        assert is_own_user(near)
        monkeypatch.setattr(os, "getuid", lambda: 12345)
        assert not is_own_user(near)
    if os.geteuid() != 0:
        return
    lines = ("import os, socket", "os.setuid(65534)", "s = socket.socket(socket.AF_UNIX)", "s.settimeout(5)")
    command = [sys.executable, "-c", "; ".join((*lines, f"s.connect({str(path)!r})", "print(s.recv(9))"))]
    refused = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "PermissionError" in refused.stderr
    path.parent.chmod(0o755)
    path.chmod(0o777)
    refused = subprocess.run(command, capture_output=True, text=True, check=False)
    assert refused.stdout.strip() == "b''" or "ConnectionReset" in refused.stderr  # the worker hung up


def test_messages_are_limited_and_objects():
    near, far = socket.socketpair()
    with near, far:
        far.sendall(b'{"a": 1}\n[2]\n' + b"x" * 2000)
        reader = LineReader(near, limit=1000)
        assert reader.read() == {"a": 1}
        with pytest.raises(ValueError, match="a message is list, not an object"):
            reader.read()
        with pytest.raises(ValueError, match="more than 1,000 bytes"):
            reader.read()


def test_client_imports_no_torch():
    code = "import nes_lab.worker.client, sys; assert not {'torch', 'numpy', 'timm'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
