"""Measure epitome layers and networks on a GPU in under 9 minutes: ``python3 -m benchmarks.gpu``.

It needs torch and numpy, no network and no other package. The rows of each job are written to the result file at once,
``benchmarks/results/gpu-<device>.json``, so a run that is cut off keeps what it has. ``--device cpu --size tiny`` shows on any machine
that all parts work; its numbers mean nothing and are written to build/.
"""

from __future__ import annotations

import argparse
import platform
import re
import sys
import time
import traceback
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu_parts import layers, steps
from benchmarks.gpu_parts.sizes import SIZES
from benchmarks.speed import ROOT, commit, say, summary
from benchmarks.speed_parts.record import Record, version_of
from benchmarks.speed_parts.settings import Job
from nes_lab.cost.timing import device_name

__all__ = ["main"]

LIMIT_S = 420.0
"""Seconds after which no further job starts, so that the last one ends before 9 minutes have passed."""
NO_GPU = 2


def main(arguments: list[str] | None = None) -> int:
    """Measure all jobs that fit into the time. Return 0; 1 if a job failed; 2 if there is no GPU."""
    options = _parse(arguments)
    begun = time.perf_counter()
    if options.device == "cuda" and not torch.cuda.is_available():
        say(
            "this machine has no GPU that torch can use, so nothing is measured; --device cpu --size tiny shows that all parts work"
        )
        return NO_GPU
    record = Record.begin(options.out or _result_file(options), _facts(options), keep=False)
    failed: list[str] = []
    chosen = [job for job in _jobs(options) if not options.only or any(text in job.name for text in options.only)]
    for number, job in enumerate(chosen, 1):
        passed = time.perf_counter() - begun
        reason = job.why_not or (f"the time of {options.limit:.0f} s is up" if passed > options.limit else None)
        say(f"[{number}/{len(chosen)}, {passed:.0f} s] {job.name}{': ' + reason if reason else ''}")
        if not _measure(job, reason, record):
            failed.append(job.name)
    say(
        f"{record.path}: {len(chosen)} jobs, {time.perf_counter() - begun:.0f} s; failed: {', '.join(failed) or 'none'}"
    )
    return 1 if failed else 0


def _measure(job: Job, reason: str | None, record: Record) -> bool:
    """Measure one job, and write its rows, or the reason why it has none. Return False if it failed."""
    begun = time.perf_counter()
    rows, error = [], None
    try:
        rows = [] if reason else job.measure()
    except Exception as failure:  # noqa: BLE001 one job's failure must not lose the others' time
        traceback.print_exc()
        error = f"failed: {type(failure).__name__}: {failure}"[:400]
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    record.add(job.name, time.perf_counter() - begun, commit(), rows, error or reason)
    say(f"    {error or reason or summary(rows)}")
    return error is None


def _jobs(options: argparse.Namespace) -> Iterator[Job]:
    jobs = [job for part in (layers, steps) for job in part.jobs(SIZES[options.size], options.device)]
    yield from sorted(jobs, key=lambda job: job.name.startswith("layer/"))  # the slowest come last


def _result_file(options: argparse.Namespace) -> Path:
    slug = re.sub(r"[^a-z0-9]+", "-", device_name(torch.device(options.device)).lower()).strip("-")
    measures = options.device == "cuda" and options.size == "full" and not options.only
    folder = ROOT / "benchmarks" / "results" if measures else ROOT / "build"
    return folder / f"gpu-{slug}.json"


def _facts(options: argparse.Namespace) -> dict[str, Any]:
    return {
        "script": "benchmarks/gpu.py",
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "commit": commit(),
        "quick": SIZES[options.size].settings.quick,
        "size": options.size,
        "seed": SIZES[options.size].settings.seed,
        "device": device_name(torch.device(options.device)),
        "threads": torch.get_num_threads(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "versions": {"triton": version_of("triton")},
        "allocator": {},
    }


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python3 -m benchmarks.gpu", description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--device", choices=("cuda", "cpu"), default="cuda", help="cpu, with --size tiny, tests the benchmark"
    )
    parser.add_argument("--size", choices=sorted(SIZES), default="full", help="tiny: small shapes and two rounds")
    parser.add_argument("--only", metavar="TEXT", action="append", help="run only jobs whose name contains this text")
    parser.add_argument("--limit", metavar="SECONDS", type=float, default=LIMIT_S, help="start no job after this time")
    parser.add_argument("--out", type=Path, help="write to another result file")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
