"""Train one run in several processes. Each of these processes is called a rank.

torchrun or ``accelerate launch`` can start the ranks. If the configuration sets ``training.processes``, a parent
process starts them instead, with the command ``nes-lab _run ID``. These ranks find each other through
a file in a private folder. They exchange data only inside this machine, so other machines cannot connect to them.

To stop the training, cancel the run. All ranks then stop at the same step. SIGTERM has the same effect. Send it to the
parent process, or to the process that ``nes-lab watch RUN`` shows.

If one rank fails, all ranks stop. If no rank could record the failure, the parent process records it.
"""

from __future__ import annotations

import contextlib
import math
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from nes_lab.errors import CheckpointError, NesLabError, RunError
from nes_lab.progress_bar import OnProgress
from nes_lab.runs.allocator import allocator_settings
from nes_lab.runs.launcher import cancel, settle
from nes_lab.runs.put_back import refusal_of
from nes_lab.runs.spawn import end_python, start_python
from nes_lab.runs.store import RunStore

if TYPE_CHECKING:
    from nes_lab.training.signals import StopSignals

__all__ = ["is_first", "is_rank", "only_first", "processes_of", "train_as_rank", "train_in_ranks"]

Value = TypeVar("Value")
NOTICE_SECONDS = 60.0  # time for the other ranks to notice that one has ended
LAST_SECONDS = 60.0  # time for a rank to end after it was told to
MEETING = "NES_LAB_MEETING"
"""Environment variable with the file through which ranks find each other. Without it they use torchrun's variables."""
_POLL_SECONDS = 0.1


def is_rank() -> bool:
    """Return True if this process is one of several that were launched to train a run together. In the example it is alone.

    Examples:
        >>> is_rank()
        False
    """
    return all(name in os.environ for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR"))


def is_first() -> bool:
    """Return True if this process trains a run alone, or is the first of several that train it together."""
    return not is_rank() or os.environ["RANK"] == "0"


def only_first(action: Callable[[], Value]) -> Value:
    """Call a function without arguments in the first of several processes that train together.

    All processes must call ``only_first``. All get the result of the function. If the function fails, all raise an error. A
    process that trains alone simply calls the function.

    Examples:
        >>> only_first(lambda: "done")
        'done'
    """
    if not is_rank():
        return action()
    from nes_lab.training import distributed

    distributed.join()
    value, error = None, None
    try:
        value = action() if is_first() else None
    except NesLabError as problem:
        error = problem
    distributed.raise_on_all_ranks(error)
    return distributed.broadcast(value)


def processes_of(store: RunStore, run_id: str) -> int:
    """Return the number of processes that a run's configuration asks for.

    Raises:
        RunError: If the configuration asks for several processes, but a different number was launched.
    """
    training = store.get(run_id).config.get("training")
    processes = training.get("processes", 1) if isinstance(training, dict) else 1
    processes = processes if type(processes) is int else 1
    if is_rank() and processes not in (1, int(os.environ["WORLD_SIZE"])):
        raise RunError(
            f"training.processes={processes}, but this process is one of WORLD_SIZE={os.environ['WORLD_SIZE']}; set it to 1 "
            "when torchrun or accelerate launch starts the processes"
        )
    return processes


def train_as_rank(store: RunStore, run_id: str, on_progress: OnProgress | None) -> int:
    """Train a run in this process, which is one of several that train it together.

    Returns:
        The exit status 0 if the run finished or was stopped.

    Raises:
        RunError: If the run is not queued, or its training failed.
    """
    # torchrun treats any other status than 0 as a failure.
    from nes_lab.experiment.run_experiment import run_experiment

    processes_of(store, run_id)
    begins = only_first(lambda: _begins(store, run_id))
    if begins:
        # torch warns about the gradients of 1x1 convolutions, which is harmless
        warnings.filterwarnings("ignore", message="Grad strides do not match bucket view strides")
        with _stopped_without_parent():
            run_experiment(store, run_id, on_progress=on_progress if is_first() else None)
    return 0


def _begins(store: RunStore, run_id: str) -> bool:
    info = store.get(run_id)
    if info.state == "stopping":
        settle(store, run_id, "cancelled", "cancelled before training began")
        return False
    if info.state != "queued":
        raise RunError(f"run {run_id} is {info.state}, not queued")
    return True


@contextlib.contextmanager
def _stopped_without_parent() -> Iterator[None]:
    """Stop the training in this process if its parent process ends while the ``with`` block runs.

    The training saves a checkpoint before it stops.
    """
    # This process sends SIGTERM to itself.
    parent, over = os.getppid(), threading.Event()

    def watch() -> None:
        while not over.wait(1.0):
            if os.getppid() != parent:
                os.kill(os.getpid(), signal.SIGTERM)
                return

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()
    try:
        yield
    finally:
        over.set()


def train_in_ranks(store: RunStore, run_id: str, processes: int) -> None:
    """Train a run in several processes on this machine, and wait until they end.

    The processes record whether the run finished, was cancelled or failed. If they record nothing, this function records
    that the run failed.

    Raises:
        RunError: If the processes cannot be started.
        CheckpointError: If they refused to continue the run, because its data has changed.
    """
    from nes_lab.training.signals import StopSignals

    with StopSignals() as signals, tempfile.TemporaryDirectory(prefix="nes-lab-") as place:
        ranks: list[subprocess.Popen[bytes]] = []
        try:
            for rank in range(processes):
                ranks.append(_start(store, run_id, rank, processes, Path(place)))
            _wait(store, run_id, ranks, signals)
        finally:
            for child in ranks:
                end_python(child, LAST_SECONDS)
    info = store.get(run_id)
    if info.is_final and (refusal := refusal_of(info)):
        raise CheckpointError(refusal)
    if not info.is_final:
        ends = ", ".join(_how(child.returncode) for child in ranks)
        reason = (
            f"one of its {processes} processes was killed or could not start ({ends}; the log says more); resume it from its last "
            "checkpoint"
        )
        settle(store, run_id, "failed", reason)


def _how(status: int) -> str:
    """Return how a process ended, as text: the name of the signal that killed it, or its exit status.

    Examples:
        >>> _how(-9), _how(1)
        ('SIGKILL', 'status 1')
    """
    return signal.Signals(-status).name if status < 0 else f"status {status}"


def _wait(store: RunStore, run_id: str, ranks: list[subprocess.Popen[bytes]], signals: StopSignals) -> None:
    """Wait until all processes that train a run have ended.

    If one of them fails, wait at most ``NOTICE_SECONDS`` more seconds for the others. If SIGTERM or Ctrl-C asks this process
    to stop, cancel the run.
    """
    asked, patience = False, math.inf
    while any(child.poll() is None for child in ranks):
        if signals.received and not asked:
            asked = True
            with contextlib.suppress(RunError):
                if cancel(store, run_id).state == "cancelled":
                    return  # the run had not started
        if patience == math.inf and any(child.poll() for child in ranks):
            patience = time.monotonic() + NOTICE_SECONDS
        if time.monotonic() > patience:
            return
        time.sleep(_POLL_SECONDS)


def _start(store: RunStore, run_id: str, rank: int, processes: int, place: Path) -> subprocess.Popen[bytes]:
    """Start one of the processes that train a run together.

    Ctrl-C in the terminal does not reach the new process.
    """
    # Ctrl-C reaches only the parent process, which then cancels the run.
    environment = {"RANK": str(rank), "LOCAL_RANK": str(rank), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}
    environment |= {"WORLD_SIZE": str(processes), "LOCAL_WORLD_SIZE": str(processes), MEETING: str(place / "meeting")}
    defaults = {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // processes))}
    if sys.platform == "linux":
        defaults |= dict.fromkeys(("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"), "lo")
    environment |= {name: value for name, value in defaults.items() if name not in os.environ}
    environment |= allocator_settings()
    words = ["-m", "nes_lab.cli", "_run", run_id, "--root", str(store.root)]
    try:
        return start_python(words, None, environment=environment)
    except OSError as error:
        raise RunError(f"run {run_id} cannot be started: {error.strerror or error}") from error
