"""``python -m nes_lab.sweeps.linked_process PARENT _run ID --root ROOT``: train run ID until process PARENT dies.

PARENT is a Ray worker. If it is killed, another worker resumes the run, so the training of the first worker must end.
On Linux the kernel kills this training together with its worker. On other systems both trainings may go on for a while, but
the run's lock lets only one of them write.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

__all__ = ["main"]

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Start the training in this process, which Linux kills when its parent dies. Signals that Ray blocks are unblocked."""
    parent, *words = sys.argv[1:]
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    if os.getppid() != int(parent):
        sys.exit(f"process {parent} ended before its training began")
    os.execv(sys.executable, [sys.executable, "-m", "nes_lab.cli", *words])


if __name__ == "__main__":
    main()
