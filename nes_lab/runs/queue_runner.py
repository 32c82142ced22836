"""``python -m nes_lab.runs.queue_runner ROOT LOCK``: start each waiting run when its turn comes; exit when the queue is empty.

ROOT is the folder of all runs. LOCK is the handle of a locked file. The lock allows only one such process per folder.

This process, the queue runner, is started when a run has to wait for another run. It sleeps until a training process
ends. Then it starts the next waiting run. If the queue runner is killed, NES Lab starts it again later.
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

__all__ = ["main", "run_queue"]

MAX_WAIT_SECONDS = 10.0  # then the queue is read again, because the end of a process on another machine is not noticed
MAX_FAILURES = 60


def run_queue(store: RunStore, lock: int) -> None:
    """Start the next waiting run whenever a training process ends; return when no run waits.

    Args:
        store: The store of the runs.
        lock: Handle of a locked file. The lock shows that a queue runner exists. The file is closed when no run waits.

    Raises:
        RunError: If the queue could not be read or written for ten minutes.
    """
    failures = 0
    while True:
        try:
            launcher.start_waiting(store, start_runner=False)
            failures = 0
        except RunError:
            failures += 1
            if failures >= MAX_FAILURES:
                raise
        if not queue.tickets(store.root):  # also when the whole root was deleted
            with contextlib.suppress(RunError), queue.hold_queue(store.root, make=False):
                if not queue.tickets(store.root):
                    os.close(lock)
                    return
            if not store.root.exists():
                return
        process.wait_for_an_end(launcher.holders(store), MAX_WAIT_SECONDS)


def main() -> None:
    """Run the queue runner: start the waiting runs of the folder that the command line names."""
    root, lock = Path(sys.argv[1]), int(sys.argv[2])
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # some file systems do not pass the lock on to a child process
    except OSError:
        return
    try:
        run_queue(RunStore(root), lock)
    except RunError as error:
        sys.exit(f"{time.strftime('%F %T')} the queue has stopped: {error}; nes-lab runs starts it again")


if __name__ == "__main__":
    main()
