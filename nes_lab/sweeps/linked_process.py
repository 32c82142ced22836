"""``python -m nes_lab.sweeps.linked_process PARENT _run ID --root ROOT``: become a training that dies with its parent.

A Ray worker may be killed at any moment; its training must not train on beside the one that is started instead. Linux
kills the training together with the worker, and the run's lock stops whatever is left.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

__all__ = ["main"]

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Ask to be killed when the parent dies, take Ctrl-C again (Ray blocks it), and become the training."""
    parent, *words = sys.argv[1:]
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    if os.getppid() != int(parent):
        sys.exit(f"process {parent} ended before its training began")
    os.execv(sys.executable, [sys.executable, "-m", "nes_lab.cli", *words])


if __name__ == "__main__":
    main()
