"""Tell whether a process is alive, gives no sign of life, or has ended, and wait until one ends.

The pid (process id) alone is not enough, because a later process may get the same pid.

Tests: tests/runs/test_store.py.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from nes_lab.errors import RunError
from nes_lab.packages import need

__all__ = [
    "HEARTBEAT_SECONDS",
    "STALE_SECONDS",
    "Identity",
    "boot_id",
    "is_alive",
    "is_gone",
    "is_me",
    "is_near",
    "now",
    "patience",
    "silence",
    "wait_for_an_end",
    "why_dead",
]

HEARTBEAT_SECONDS = 5.0
STALE_SECONDS = 2 * HEARTBEAT_SECONDS + 5.0  # two heartbeats, and five seconds more for a busy machine
FAR_SECONDS = STALE_SECONDS + 30.0  # for another machine, whose clock may differ and whose files arrive late


def _psutil() -> Any:
    return need("psutil", "starting and watching runs")


@cache
def boot_id() -> str:
    """Return the boot id of this machine; empty if it has none. The boot id changes at every start of the machine."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


@dataclass(frozen=True)
class Identity:
    """Describes a process, so that it is not confused with a later process that has the same pid.

    Attributes:
        pid: Process id.
        create_time: Time at which the process started, in seconds since 1970.
        start_ticks: Clock ticks from the start of the machine to the start of the process. Setting the clock does not
            change them. None on other systems than Linux.
        host: Name of the machine.
        boot_id: A text that changes at every start of the machine.
    """

    pid: int
    create_time: float
    start_ticks: int | None
    host: str
    boot_id: str

    @classmethod
    def of(cls, pid: int | None = None) -> Identity:
        """Return the ``Identity`` of a living process, by which the process can be recognized later.

        Args:
            pid: Process id; None means the calling process.

        Raises:
            RunError: If there is no such process.
            MissingPackageError: If psutil is not installed.
        """
        psutil = _psutil()
        pid = os.getpid() if pid is None else pid
        try:
            created = float(psutil.Process(pid).create_time())
        except (psutil.Error, ValueError, OverflowError) as error:
            raise RunError(f"there is no process {pid}") from error
        return cls(pid, created, _start_ticks(pid), socket.gethostname(), boot_id())

    @classmethod
    def read(cls, content: dict[str, Any]) -> Identity | None:
        """Read the description of a process from a dict. Return None if the pid or the start time is missing."""
        pid, created = content.get("pid"), content.get("create_time")
        if type(pid) is not int or pid <= 0 or not isinstance(created, int | float):
            return None
        ticks = content.get("start_ticks")
        return cls(
            pid,
            float(created),
            ticks if type(ticks) is int else None,
            str(content.get("host", "")),
            str(content.get("boot_id", "")),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the description of the process as a dict of plain values for JSON."""
        return asdict(self)

    def is_here(self) -> bool:
        """Return whether the process was started on this machine since the machine's last start."""
        return self.host == socket.gethostname() and self.boot_id == boot_id()


def _start_ticks(pid: int) -> int | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
        return int(stat.rpartition(")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return None


def why_dead(identity: Identity) -> str:
    """Return the reason why a process is not alive on this machine.

    The text is empty if the process is alive.
    """
    if not identity.is_here():
        if identity.host != socket.gethostname():
            return f"it ran on {identity.host or 'an unknown machine'}"
        return "the machine was restarted"
    psutil = _psutil()
    try:
        process = psutil.Process(identity.pid)
        created = process.create_time()
        zombie = process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return f"process {identity.pid} is gone (memory or the disk may have been full)"
    except psutil.Error as error:
        return f"process {identity.pid} cannot be seen: {error}"
    ticks = _start_ticks(identity.pid)
    has_ticks = ticks is not None and identity.start_ticks is not None
    if (ticks != identity.start_ticks) if has_ticks else abs(created - identity.create_time) > 0.05:
        return f"process {identity.pid} is gone; another one has its number now"
    return f"process {identity.pid} has died (a zombie is left)" if zombie else ""


def is_alive(identity: Identity | None) -> bool:
    """Return whether the process that ``identity`` describes is alive on this machine.

    False if ``identity`` is None.
    """
    return identity is not None and not why_dead(identity)


def is_near(identity: Identity) -> bool:
    """Return whether the process was started on this machine. The machine may have been restarted since then."""
    return identity.host == socket.gethostname()


def is_me(identity: Identity | None) -> bool:
    """Return whether ``identity``, the description of a process, describes the calling process."""
    return identity is not None and identity.pid == os.getpid() and identity.is_here()


def is_gone(pid: int) -> bool:
    """Return True if the process with this pid has ended or never existed. A zombie process has ended."""
    psutil = _psutil()
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except (psutil.NoSuchProcess, ValueError, OverflowError):
        return True
    except psutil.Error:
        return False


def now() -> dict[str, float]:
    """Return the present time, to be stored as a sign of life: the clock time and the uptime of this machine.

    The uptime is the number of seconds since the machine started. Setting the clock does not change it.
    """
    return {"heartbeat": time.time(), "uptime": time.monotonic()}


def patience(identity: Identity) -> float:
    """Return for how many seconds a process may give no sign of life before it counts as lost.

    The number is larger for a process on another machine.
    """
    # The clock of another machine may differ, and its files arrive late.
    return STALE_SECONDS if is_near(identity) else FAR_SECONDS


def wait_for_an_end(identities: Iterable[Identity], seconds: float) -> None:
    """Wait until one of the given processes ends, but at most ``seconds`` seconds. Processes on other machines are ignored."""
    poll, handles = select.poll(), []
    try:
        for identity in identities:
            with contextlib.suppress(OSError):
                if identity.is_here() and hasattr(os, "pidfd_open"):
                    handles.append(os.pidfd_open(identity.pid))
                    poll.register(handles[-1], select.POLLIN)
        poll.poll(1000 * (seconds if handles else min(seconds, 2.0)))
    finally:
        for handle in handles:
            os.close(handle)


def silence(status: dict[str, Any], identity: Identity) -> float:
    """Return how many seconds ago a process last gave a sign of life.

    Args:
        status: Content of a run's status or claim file, which holds the time of the last sign of life.
        identity: The process that wrote the file.

    Returns:
        Seconds, at least 0; infinite if ``status`` holds no time.
    """
    key, clock = ("uptime", time.monotonic()) if identity.is_here() else ("heartbeat", time.time())
    beat = status.get(key)
    return max(0.0, clock - beat) if isinstance(beat, int | float) else float("inf")
