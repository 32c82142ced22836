"""``python -m nes_lab.sweeps.linked_process PARENT _run ID --root ROOT``: train a run until process PARENT dies.

A Ray worker may be killed at any moment. Then its training must end before another worker resumes the run. Linux kills the
training together with the worker; elsewhere the run's lock keeps the new training from writing beside the old one.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

__all__ = ["main"]

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Ask Linux to kill this process when its parent dies, unblock the signals that Ray blocks, and start the training."""
    parent, *words = sys.argv[1:]
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    if os.getppid() != int(parent):
        sys.exit(f"process {parent} ended before its training began")
    os.execv(sys.executable, [sys.executable, "-m", "nes_lab.cli", *words])


if __name__ == "__main__":
    main()
