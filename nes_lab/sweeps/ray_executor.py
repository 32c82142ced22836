"""Train the runs of a sweep with Ray, on a cluster or on this machine.

Tests: tests/sweeps/test_ray.py.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
from collections.abc import Iterator
from typing import Any

from nes_lab.errors import NesLabError, OptionError, RunError
from nes_lab.packages import need
from nes_lab.runs import launcher
from nes_lab.runs.info import RunInfo
from nes_lab.runs.store import RunStore
from nes_lab.sweeps.executors import stop_runs
from nes_lab.sweeps.ray_task import train_run

__all__ = ["RayExecutor", "import_ray"]

OBJECT_STORE_BYTES = 100_000_000  # small, because only the ids of runs pass through Ray


class RayExecutor:
    """Trains the runs of a sweep as tasks of a Ray cluster. Each task starts a separate training process.

    Args:
        store: The store of the runs, on a file system that all machines share.
        jobs: Number of runs that train at the same time. None means as many as the CPUs and GPUs of the cluster allow.
        address: ``auto`` or host:port of a running cluster. An empty text starts Ray on this machine.
        cpus: Number of CPUs that one run reserves.
        gpus: Number of GPUs that one run reserves.
        retries: How often a run is resumed after its training process, its Ray process or its machine died.
    """

    def __init__(self, store: RunStore, jobs: int | None = None, address: str = "", cpus: float = 1.0,
                 gpus: float = 0.0, retries: int = 2) -> None:  # fmt: skip
        if jobs is not None and jobs < 1:
            raise OptionError(f"jobs={jobs} should be at least 1: the number of trials at a time")
        if cpus < 0 or gpus < 0 or not cpus + gpus:
            raise OptionError(f"cpus_per_trial={cpus:g}, gpus_per_trial={gpus:g}: a trial needs at least one of them")
        if address not in ("", "auto"):
            _split(address)
        self.store, self.jobs, self.address, self.retries = store, jobs, address, retries
        self.cpus, self.gpus = cpus, gpus
        self.tasks: dict[Any, str] = {}
        self.broken: dict[str, str] = {}

    @contextlib.contextmanager
    def open(self) -> Iterator[None]:
        """Connect to a Ray cluster, or start Ray on this machine, for the time of the ``with`` block."""
        if self.address not in ("", "auto"):
            _knock(self.address)
        ray = import_ray(self.address)
        must_connect = not ray.is_initialized()
        try:
            if must_connect:
                self._connect(ray)
            self._check_room(ray)
            self.task = ray.remote(train_run)
            yield
        finally:
            if must_connect:
                ray.shutdown()

    def _connect(self, ray: Any) -> None:
        here = {"include_dashboard": False, "object_store_memory": OBJECT_STORE_BYTES, "_node_ip_address": "127.0.0.1"}
        options = {"log_to_driver": False, "logging_level": "ERROR"} | ({} if self.address else here)
        try:
            with _own_signals():
                ray.init(self.address or "local", **options)
        except Exception as error:  # Ray raises Exception itself when a node is slow to start
            ray.shutdown()
            if not self.address:
                raise RunError(f"Ray cannot start: {error}") from error
            raise RunError(
                f"address={self.address!r}: no Ray cluster can be joined there: {error}{_about_token()}"
            ) from error

    def _check_room(self, ray: Any) -> None:
        have = ray.cluster_resources()
        for name, needed in (("CPU", self.cpus), ("GPU", self.gpus)):
            if not self.address and have.get(name, 0) < needed:
                raise OptionError(f"{name.lower()}s_per_trial={needed:g}, and this machine has {have.get(name, 0):g}")

    def places(self) -> int:
        """Return how many runs may train at the same time.

        This is the number ``jobs``. If it is None, as many runs train as the CPUs and GPUs of the cluster allow.
        """
        import ray

        if self.jobs is not None:
            return self.jobs
        have = ray.cluster_resources()
        needs = (("CPU", self.cpus), ("GPU", self.gpus))
        return max(1, min(int(have.get(name, 0) // needed) for name, needed in needs if needed))

    def start(self, run_id: str) -> None:
        """Start a Ray task that trains a run."""
        info = self.store.get(run_id)
        if info.is_resumable:
            launcher.requeue(self.store, info)
        task = self.task.options(num_cpus=self.cpus, num_gpus=self.gpus, max_retries=self.retries, name=run_id)
        root, place = str(self.store.root), os.getcwd()
        self.tasks[task.remote(root, run_id, info.attempt, self.retries, place)] = run_id

    def ended(self) -> list[RunInfo]:
        """Return the runs whose Ray tasks have ended since the last call.

        If the task of a run has died, its training process may live a little longer. The run is returned after this
        process has ended.
        """
        import ray
        from ray.exceptions import RayError

        done, _ = ray.wait(list(self.tasks), num_returns=len(self.tasks), timeout=0) if self.tasks else ([], [])
        for task in done:
            run_id = self.tasks.pop(task)
            try:
                ray.get(task)
                self.broken[run_id] = ""
            except (RayError, NesLabError) as error:
                self.broken[run_id] = str(getattr(error, "cause", None) or error).strip().splitlines()[-1]
        infos = [self._conclude(run_id, why) for run_id, why in self.broken.items()]
        ended = [info for info in infos if not info.is_active]
        for info in ended:
            del self.broken[info.id]
        return ended

    def _conclude(self, run_id: str, why: str) -> RunInfo:
        try:
            info = self.store.get(run_id)
        except RunError as error:
            return RunInfo(run_id, state="lost", reason=str(error))
        if info.state == "queued":
            return RunInfo(run_id, state="lost", reason=why or "its worker ended before it began")
        return info

    def stop(self) -> None:
        """Cancel all runs that this object trains. Cancelled runs can be resumed."""
        stop_runs(self.store, [*self.tasks.values(), *self.broken])


@contextlib.contextmanager
def _own_signals() -> Iterator[None]:
    """Restore the signal handlers of this process at the end of the ``with`` block."""
    # Ray's handlers would end this process before the runs have saved a checkpoint
    is_main = threading.current_thread() is threading.main_thread()
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)} if is_main else {}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def import_ray(address: str) -> Any:
    """Import Ray with telemetry turned off. If Ray is started on this machine, it refuses connections from other machines."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if not address or address.startswith(("127.0.0.1:", "localhost:")):
        os.environ.setdefault(
            "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0"
        )  # Ray's name of the option that prefers 127.0.0.1
    return need("ray", "executor='ray'")


def _about_token() -> str:
    """Return the end of an error message: how to connect to a cluster that asks for a token.

    The text is empty if the environment variable ``RAY_AUTH_MODE`` is set already.
    """
    # Ray sends its token to an address given by the user only if this variable is "token"
    if "RAY_AUTH_MODE" in os.environ:
        return ""
    return "; if the cluster asks for a token (it does if ~/.ray/auth_token existed when it started), set RAY_AUTH_MODE=token"


def _split(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535 or "//" in address:
        raise OptionError(f"address={address!r} should be host:port of a Ray cluster, such as 10.0.0.1:6379, or auto")
    return host, int(port)


def _knock(address: str) -> None:
    """Check that a server answers at the address of a Ray cluster."""
    try:
        socket.create_connection(_split(address), timeout=10).close()  # Ray itself would try for minutes
    except OSError as error:
        raise RunError(f"address={address!r}: no Ray cluster answers there: {error}") from error
