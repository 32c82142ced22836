"""``python -m nes_lab.sweeps.linked_process PARENT _run ID --root ROOT``: train run ID until process PARENT dies.

PARENT is the process id of the Ray process that started this training. On Linux the training is killed as soon as PARENT
dies. On other systems it may go on for a while.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

__all__ = ["main"]

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Train the run in this process. Linux kills this process when its parent process dies."""
    parent, *words = sys.argv[1:]
    # Ray resumes the run elsewhere, so this training must end. On other systems the run's lock lets only one write.
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())  # Ray blocks signals
    if os.getppid() != int(parent):
        sys.exit(f"process {parent} ended before its training began")
    os.execv(sys.executable, [sys.executable, "-m", "nes_lab.cli", *words])


if __name__ == "__main__":
    main()
