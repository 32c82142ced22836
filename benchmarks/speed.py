"""Measure the speed of epitome layers and networks beside dense, narrower, pruned and factorized ones, for docs/speed.md.

Contenders run in turns in one process. The results of every job are written to results/speed.json at once; the page is made from
that file. ``--quick`` shows in about a minute that all parts work. Its numbers mean nothing and are written to build/.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nes_lab.runs.replace import write_target

if TYPE_CHECKING:
    from benchmarks.speed_parts.record import Record
    from benchmarks.speed_parts.settings import Job, Settings

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "speed.json"
BEFORE = RESULTS.parent / "before_speed.json"
PAGE = ROOT / "docs" / "speed.md"
ALLOCATOR = {
    "MALLOC_MMAP_THRESHOLD_": "4000000000",
    "MALLOC_TRIM_THRESHOLD_": "4000000000",
    "MALLOC_TOP_PAD_": "268435456",
}
"""Settings of glibc's allocator. By default it returns large tensors to the system after every call and fetches their pages
again, which takes longer than the operations that are measured."""
SAME = ALLOCATOR | {"TORCHINDUCTOR_FORCE_DISABLE_CACHES": "1", "PYTHONPATH": str(ROOT)}


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks/speed.py", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="run two rounds on small inputs, to test the benchmark")
    parser.add_argument("--only", metavar="TEXT", action="append", help="run only jobs whose name contains this text")
    parser.add_argument("--resume", action="store_true", help="skip the jobs that the result file already has")
    parser.add_argument(
        "--again", action="store_true", help="measure the chosen jobs again; keep the others of the result file"
    )
    parser.add_argument("--list", action="store_true", help="print the names of the jobs and exit")
    parser.add_argument("--page", action="store_true", help="only write docs/speed.md from the result file")
    parser.add_argument("--out", type=Path, help="write to another result file, and do not write the page")
    parser.add_argument("--threads", type=int, help="number of torch's threads (default: torch decides)")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    from benchmarks.speed_parts.settings import Settings

    if options.page:
        return write_page()
    settings = Settings(options.quick)
    chosen = [job for job in jobs(settings) if not options.only or any(text in job.name for text in options.only)]
    if options.list:
        print("\n".join(job.name for job in chosen))
        return 0
    partial = options.quick or (options.only and not (options.resume or options.again))
    out = options.out or (ROOT / "build" / "speed.json" if partial else RESULTS)
    import torch

    if options.threads:
        torch.set_num_threads(options.threads)
    failed = run(chosen, begin(out, settings, options), again=options.again)
    if out.resolve() in {path.resolve() for path in result_files()} and not failed:
        write_page()
    return 1 if failed else 0


def jobs(settings: Settings) -> Iterator[Job]:
    from benchmarks.speed_parts import audio, expansion, gpu, layers, networks, optimized, starts, training

    for part in (networks, optimized, training, starts, layers, audio, expansion, gpu):
        yield from part.jobs(settings)


def begin(out: Path, settings: Settings, options: argparse.Namespace) -> Record:
    from benchmarks.speed_parts.record import Record

    return Record.begin(out, facts(settings), keep=options.resume or options.again)


def run(chosen: list[Job], record: Record, again: bool = False) -> list[str]:
    """Measure the jobs that are not in the record yet, and return the names of those that failed."""
    failed: list[str] = []
    at, start = commit(), time.perf_counter()
    for number, job in enumerate(chosen, 1):
        if job.name in record.jobs and not again:
            continue
        say(f"[{number}/{len(chosen)}, {time.perf_counter() - start:.0f} s] {job.name}")
        begin_s = time.perf_counter()
        try:
            rows = [] if job.why_not else job.measure()
        except (
            ArithmeticError,
            AssertionError,
            AttributeError,
            ImportError,
            LookupError,
            RuntimeError,
            TypeError,
            ValueError,
        ):
            traceback.print_exc()
            failed.append(job.name)
            continue
        record.add(job.name, time.perf_counter() - begin_s, at, rows, job.why_not)
        say(f"    {job.why_not or summary(rows)}")
    say(
        f"{len(chosen)} jobs, {time.perf_counter() - start:.0f} s"
        + (f"; failed: {', '.join(failed)}" if failed else "")
    )
    return failed


def summary(rows: list[dict[str, Any]]) -> str:
    targets_met = [row["met"] for row in rows if row["met"] is not None]
    ratios = ", ".join(f"{row['ratio']:.2f}" for row in rows[:8])
    return f"{ratios}{' ...' if len(rows) > 8 else ''}" + (
        f"; targets met: {sum(targets_met)} of {len(targets_met)}" if targets_met else ""
    )


def facts(settings: Settings) -> dict[str, Any]:
    import torch

    from benchmarks.speed_parts.record import version_of
    from benchmarks.speed_parts.timing import copy_bandwidth

    return {
        "script": "benchmarks/speed.py",
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "commit": commit(),
        "quick": settings.quick,
        "seed": settings.seed,
        "device": processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "dtype": "float32",
        "copy_gb_per_s": round(copy_bandwidth(2**26, "cpu", settings.effort(0.5)) / 1e9, 1),
        "relu_ms": relu_ms(),
        "allocator": {key: os.environ.get(key) for key in ALLOCATOR},
        "system": platform.platform(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "versions": {p: version_of(p) for p in ("timm", "torch-pruning", "tensorly-torch", "triton")},
    }


def relu_ms() -> dict[str, float]:
    """Return the median milliseconds of a relu with the allocator's default settings and with ours, each in a new process."""
    from benchmarks.speed_parts.settings import RELU_MIB

    program = (
        "import time, statistics, torch\n"
        f"x, times = torch.randn({RELU_MIB} * 2**18), []\n"
        "for _ in range(40):\n"
        "    begin = time.perf_counter(); y = torch.relu(x); times.append(time.perf_counter() - begin)\n"
        "print(statistics.median(times[20:]) * 1e3)"
    )
    plain = {key: value for key, value in os.environ.items() if key not in ALLOCATOR}
    times = {}
    for name, environment in (("default", plain), ("here", plain | ALLOCATOR)):
        command = [sys.executable, "-c", program]
        times[name] = float(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)
    return {name: round(value, 2) for name, value in times.items()}


def processor() -> str:
    """Return the name of the CPU, and the widest vector instructions that torch uses on it."""
    import torch

    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else []
    name = next(
        (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.processor()
    )
    return f"{name} ({torch.backends.cpu.get_cpu_capability()})"


def commit() -> str:
    """Return the commit that is measured, with ``+`` if files of the library differ from it."""

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], capture_output=True, text=True, cwd=ROOT, check=False).stdout.strip()

    changed = git(
        "status", "--porcelain", "--untracked-files=no", "--", "nes_lab", "benchmarks/*.py", "benchmarks/speed_parts"
    )
    return git("rev-parse", "HEAD")[:12] + ("+" if changed else "")


def write_page() -> int:
    write_target(PAGE, page_text())
    say(f"wrote {PAGE.relative_to(ROOT)}")
    return 0


def page_text() -> str:
    """Return docs/speed.md, written from the committed result files."""
    import json

    from benchmarks.allocator import RESULTS as KEPT
    from benchmarks.plain_eval import RESULTS as PLAIN
    from benchmarks.speed_parts.page import page

    def read(path: Path) -> dict[str, Any] | None:
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None

    jobs = merged([found for path in result_files() if (found := read(path))])
    return page(jobs, read(PLAIN), read(BEFORE), read(KEPT))


def result_files() -> list[Path]:
    """Return the result files: ``speed.json``, and ``speed_DEVICE.json`` for each other machine on which jobs were measured."""
    return [RESULTS, *sorted(RESULTS.parent.glob("speed_*.json"))]


def merged(files: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the contents of several result files as one. A job that several files have is taken from the last of them.

    Each job from another file than the first one names its machine, because its milliseconds compare with no others.
    """
    first, *others = files
    jobs = dict(first["jobs"])
    for other in others:
        f = other["facts"]
        machine = f"{f['device']}, {f['cores']} cores, torch {f['torch']}"
        jobs |= {name: job | {"machine": machine} for name, job in other["jobs"].items()}
    return {"facts": first["facts"], "jobs": jobs}


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    if any(os.environ.get(key) != value for key, value in SAME.items()):
        # the allocator reads its settings when a process starts
        os.execve(sys.executable, [sys.executable, str(Path(__file__).resolve()), *sys.argv[1:]], os.environ | SAME)
    sys.exit(main())
