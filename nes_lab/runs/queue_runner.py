"""``python -m nes_lab.runs.queue_runner ROOT LOCK``: start each waiting run when its turn comes, and exit at an empty queue.

Whoever queues a run behind another starts this process; a lock allows one per root. It sleeps until a training process
ends, in whatever way, so the queue continues even after SIGKILL while nobody looks. If it is killed itself, the next
launch, the end of any run, and every list of runs start it again.
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

MAX_WAIT_SECONDS = 10.0  # hung processes and those of other machines do not end, so the queue is read again
MAX_FAILURES = 60


def run_queue(store: RunStore, lock: int) -> None:
    """Start waiting runs as training processes end, until none waits.

    Args:
        store: The runs.
        lock: Handle of the locked file that shows that a queue runner is there. It is closed while the queue is held, so
            that no run can be queued unseen.

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
    """Run the queue of the root that the command line names."""
    root, lock = Path(sys.argv[1]), int(sys.argv[2])
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # inherited already, but not on every file system
    except OSError:
        return
    try:
        run_queue(RunStore(root), lock)
    except RunError as error:
        sys.exit(f"{time.strftime('%F %T')} the queue stands still: {error}; nes-lab runs starts it again")


if __name__ == "__main__":
    main()
