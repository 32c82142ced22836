"""Run a worker: ``python -m nes_lab.worker KIND SOCKET``. Only :mod:`nes_lab.worker.client` starts it."""

from __future__ import annotations

import sys
from pathlib import Path

from nes_lab.worker.questions import KINDS
from nes_lab.worker.serve import serve

if __name__ == "__main__":
    kind, path = sys.argv[1:3]
    serve(Path(path), KINDS[kind])
