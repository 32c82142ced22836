"""Run every notebook as a reader does, from top to bottom in its own folder, and write how many seconds it takes.

``wall`` is the time that a reader waits; it is too long if other programs run. ``cpu`` is the processor time of the kernel and of the
runs that it starts, and hardly depends on other programs.

    python -m benchmarks.notebook_times          # all notebooks, about five minutes
    python -m benchmarks.notebook_times 05 07    # only these; the others keep their numbers
"""

from __future__ import annotations

import ctypes
import json
import os
import platform
import resource
import sys
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import nbformat
import torch

from benchmarks.speed import commit, processor, say
from docs.site.executed import NOTEBOOKS, execute
from nes_lab.runs.replace import write_target

RESULTS = Path(__file__).resolve().parent / "results" / "notebook_times.json"
TARGETS = {"mean": 40, "max": 90}
"""Most seconds that a notebook may take on average, and that the slowest one may take."""


def main(chosen: list[str]) -> int:
    """Measure the notebooks whose names begin with one of these texts, and write the result file."""
    adopt_orphans()
    before = json.loads(RESULTS.read_text(encoding="utf-8"))["notebooks"] if chosen and RESULTS.exists() else {}
    rows = {path.stem: before[path.stem] for path in NOTEBOOKS if path.stem in before}
    for path in NOTEBOOKS:
        if not chosen or path.stem.startswith(tuple(chosen)):
            rows[path.stem] = measure(path)
            say(f"{path.stem}: {rows[path.stem]}")
    facts = {
        "script": "benchmarks/notebook_times.py",
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "commit": commit(),
        "device": processor(),
        "cores": os.cpu_count(),
        "threads": os.environ.get("OMP_NUM_THREADS", "not set"),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }
    means = {name: round(sum(row[name] for row in rows.values()) / len(rows), 1) for name in ("wall", "cpu")}
    record = {"facts": facts, "targets": TARGETS, "mean": means, "notebooks": dict(sorted(rows.items()))}
    write_target(RESULTS, json.dumps(record, indent=1) + "\n")
    say(f"mean {means}, written to {RESULTS.name}")
    return 0


def measure(path: Path) -> dict[str, float]:
    """Return the seconds that a notebook takes: ``wall`` and ``cpu``, and the ``load`` of the machine at the end."""
    wall, cpu = time.perf_counter(), cpu_of_children()
    execute(nbformat.read(path, as_version=4))
    seconds = time.perf_counter() - wall
    used = cpu_of_children() - cpu
    return {"wall": round(seconds, 1), "cpu": round(used, 1), "load": round(os.getloadavg()[0], 1)}


def adopt_orphans() -> None:
    """Become the parent of runs whose kernel has ended, so that their processor time is counted too. Linux only."""
    if sys.platform == "linux":
        set_child_subreaper = 36
        ctypes.CDLL(None).prctl(set_child_subreaper, 1, 0, 0, 0)


def cpu_of_children() -> float:
    """Return the processor seconds of all child processes that have ended; waits up to a minute for adopted ones to end."""
    end = time.monotonic() + 60
    with suppress(ChildProcessError):  # there is none left
        while time.monotonic() < end:
            if os.waitpid(-1, os.WNOHANG) == (0, 0):
                time.sleep(0.1)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
