"""``python -m nes_lab.runs.queue_runner ROOT LOCK``: lives as long as runs wait, and starts each when its turn has come.

Whoever queues a run behind another starts one (a lock allows one a root). It sleeps until a process that occupies a
place ends, however it ends; so a queue goes on after SIGKILL with nobody looking. Killed itself, it is replaced by the
next launch, by the end of any run, and by every list of runs. It is no service: an empty queue has none.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sys
import time
from pathlib import Path

from nes_lab.errors import RunError
from nes_lab.runs import launcher, process, queue
from nes_lab.runs.store import RunStore

__all__ = ["keep"]

GLANCE_SECONDS = 10.0  # between two looks when no process ends: for hung ones, and those of other machines
MOST_FAILURES = 60


def keep(store: RunStore, lock: int) -> None:
    """Start waiting runs as places become free, until none waits.

    Args:
        store: The runs.
        lock: The open, locked file that says a keeper is here; closed while nobody can queue a run, so none is missed.

    Raises:
        RunError: If the queue could not be read or written for ten minutes.
    """
    failures = 0
    while True:
        try:
            launcher.start_waiting(store, keeper=False)
            failures = 0
        except RunError:
            failures += 1
            if failures >= MOST_FAILURES:
                raise
        if not queue.tickets(store.root):  # also when the whole root was deleted
            with contextlib.suppress(RunError), queue.hold_queue(store.root, make=False):
                if not queue.tickets(store.root):
                    os.close(lock)
                    return
            if not store.root.exists():
                return
        process.wait_for_an_end(launcher.holders(store), GLANCE_SECONDS)


def main() -> None:
    """Keep the queue of the root that the command line names."""
    root, lock = Path(sys.argv[1]), int(sys.argv[2])
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # inherited already, but not on every file system
    except OSError:
        return
    try:
        keep(RunStore(root), lock)
    except RunError as error:
        sys.exit(f"{time.strftime('%F %T')} the queue is no longer kept: {error}; nes-lab runs goes on with it")


if __name__ == "__main__":
    main()
