"""Real trainings in processes of their own, without five seconds of imports each: forked from one warmed parent.

Run as a script it is the parent: it imports once, reads orders from standard input, and forks. ``Zygote`` is its client.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


class Zygote:
    """Starts trainings and tells how they ended."""

    def __init__(self, config) -> None:
        root = Path(__file__).resolve().parents[2]
        environment = os.environ | ONE_THREAD | {"PYTHONPATH": str(root)}
        pipe = subprocess.PIPE
        words = [sys.executable, __file__, json.dumps(config)]
        self.process = subprocess.Popen(words, stdin=pipe, stdout=pipe, text=True, env=environment, cwd=root)
        assert self._read() == "ready"

    def _read(self):
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, f"the zygote has ended with {self.process.wait(10)}"
        return json.loads(line)

    def _ask(self, **order):
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        return self._read()

    def start(self, store, run_id, output="/dev/null", **faults) -> int:
        """Begin or resume a run in a process; ``faults`` are the names and arguments of functions below."""
        return self._ask(do="start", root=str(store.root), run=run_id, output=str(output), faults=faults)

    def wait(self, pid: int) -> int:
        """Wait for its end: its exit status, negative for a signal."""
        return os.waitstatus_to_exitcode(self._ask(do="wait", pid=pid))

    def train(self, store, run_id, output="/dev/null", **faults) -> int:
        return self.wait(self.start(store, run_id, output, **faults))

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()


def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)  # the signal needs a moment


def at_call(owner, name, number, act, late=False):
    """Let the numbered call of a function (from 1) act, before it is made or after."""
    original = getattr(owner, name)
    calls = []

    def wrapped(*args, **options):
        calls.append(1)
        if len(calls) == number and not late:
            act(*args, **options)
        result = original(*args, **options)
        if len(calls) == number and late:
            act(*args, **options)
        return result

    setattr(owner, name, wrapped)


def kill_in_save(save, function, call, late=False):
    """Die at a call of os.replace, os.fsync or os.unlink within the numbered save."""
    from nes_lab.runs.writer import RunWriter

    at_call(RunWriter, "commit_checkpoint", save, lambda *_, **__: at_call(os, function, call, die, late))


def kill_before_write(save):
    """Die when the numbered save begins, before anything of it is written."""
    from nes_lab.runs.writer import RunWriter

    at_call(RunWriter, "checkpoint_paths", save, die)


def kill_half_written(save, size):
    """Die when the numbered save has written a part of its first file."""
    from nes_lab.runs.writer import RunWriter

    original, calls = RunWriter.checkpoint_paths, []

    def half(self, step):
        paths = original(self, step)
        calls.append(1)
        if len(calls) == save:
            paths[0].write_bytes(b"x" * size)
            die()
        return paths

    RunWriter.checkpoint_paths = half


def kill_at_row(row):
    """Die at the numbered row of metrics."""
    from nes_lab.runs.writer import RunWriter

    at_call(RunWriter, "metric", row, die, late=True)


def signal_at_row(row, numbers):
    """Get these signals at once at the numbered row of metrics."""
    from nes_lab.runs.writer import RunWriter

    at_call(RunWriter, "metric", row, lambda *_, **__: [os.kill(os.getpid(), number) for number in numbers])


def wait_at_row(row, path):
    """Wait at the numbered row until a file appears."""
    from nes_lab.runs.writer import RunWriter

    def wait(*_, **__):
        Path(path + ".here").touch()
        end = time.monotonic() + 60
        while not os.path.exists(path) and time.monotonic() < end:
            time.sleep(0.01)

    at_call(RunWriter, "metric", row, wait)


def quick_heartbeat(seconds):
    from nes_lab.runs import process

    process.HEARTBEAT_SECONDS = seconds


def slow(function, seconds):
    """Let the first validation, or the first save, take long."""
    import nes_lab.runs.checkpoints
    from nes_lab.datasets.in_memory import TensorSplit

    owner = TensorSplit if function == "eval_batches" else nes_lab.runs.checkpoints
    at_call(owner, function, 1, lambda *_, **__: time.sleep(seconds))


def step_clock(row, seconds):
    """Set the wall clock to another time at the numbered row of metrics."""
    from nes_lab.runs.writer import RunWriter

    original = time.time

    def step(*_, **__):
        time.time = lambda: original() + seconds

    at_call(RunWriter, "metric", row, step)


def fill_disk(name, number, left):
    """Fill the disk the run is on at the numbered call of one of the writer's methods, but for some bytes."""
    from nes_lab.runs.writer import RunWriter

    def fill(writer, *_, **__):
        ballast = writer.store.root.parent / "ballast"
        with open(ballast, "ab", buffering=0) as file:
            with contextlib.suppress(OSError):
                while True:
                    file.write(b"\0" * 4096)
            file.truncate(max(0, os.fstat(file.fileno()).st_size - left))

    at_call(RunWriter, name, number, fill)


def make_read_only(name, number, mount):
    """Mount the disk the run is on read-only at the numbered call of one of the writer's methods.

    The bind of files held open for writing is broken first, as a failing disk does: the kernel refuses else.
    """
    from nes_lab.runs.writer import RunWriter

    def seal(writer, *_, **__):
        for handle in (writer._metrics, writer._events, writer._lock.handle):
            os.dup2(os.open(os.devnull, os.O_RDONLY), handle)
        subprocess.run(["mount", "-o", "remount,ro", mount], check=True)

    at_call(RunWriter, name, number, seal)


def spoil(batch, how):
    """Let the numbered training batch be full of NaN, or find no memory."""
    import torch

    from nes_lab.datasets.in_memory import TensorSplit

    original, seen = TensorSplit.train_batches, []

    def spoiled(*args, **options):
        for images, labels in original(*args, **options):
            seen.append(1)
            if len(seen) == batch and how == "memory":
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")
            yield (images * float("nan") if len(seen) == batch else images), labels

    TensorSplit.train_batches = spoiled


def train(order) -> None:
    """Be the training: in a session of its own, as a detached one is."""
    os.setsid()
    output = os.open(order["output"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    for handle in (1, 2):
        os.dup2(output, handle)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for name, options in order["faults"].items():
        globals()[name](**options)
    from nes_lab.errors import NesLabError
    from nes_lab.experiment.run_experiment import run_experiment
    from nes_lab.runs.store import RunStore

    try:
        result = run_experiment(RunStore(order["root"]), order["run"])
    except NesLabError as error:
        os.write(1, f"{type(error).__name__}: {error}\n".encode())
        os._exit(2)
    os.write(1, json.dumps(result).encode())
    os._exit(0 if result["state"] == "finished" else 130)


def warm_up(config) -> None:
    """Train once, so that all lazy imports are done; and measure latencies of later runs in one round."""
    from nes_lab.experiment import attempt, run_experiment
    from nes_lab.runs.store import RunStore

    attempt.LATENCY_ROUNDS = 1
    with tempfile.TemporaryDirectory() as folder:
        store = RunStore(folder)
        run_experiment.run_experiment(store, store.create(config))


def main() -> None:
    import torch

    torch.set_num_threads(1)
    warm_up(json.loads(sys.argv[1]))
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a library prints is no answer

    def answer(value) -> None:
        answers.write(json.dumps(value) + "\n")
        answers.flush()

    answer("ready")
    for line in sys.stdin:
        order = json.loads(line)
        if order["do"] == "wait":
            answer(os.waitpid(order["pid"], 0)[1])
            continue
        pid = os.fork()
        if pid == 0:
            try:
                train(order)
            finally:  # nothing of the parent may go on in the child
                traceback.print_exc()
                os._exit(1)
        answer(pid)


if __name__ == "__main__":
    main()
