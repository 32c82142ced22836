"""Measure how much faster training steps are if glibc's allocator keeps freed memory, as in the processes that `nes-lab` trains in.

Each network trains in two processes, one with the system's settings and one with those of `nes_lab.runs.allocator`. They take steps
in turns, and each reports the CPU time of its step, so other programs do not count. ``--page`` only writes docs/speed.md from the
result files.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from nes_lab.runs.allocator import allocator_settings
from nes_lab.runs.replace import write_target

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "allocator.json"
CASES = (
    ("cifar_resnet14", 32, 128),
    ("small_mobilenetv2", 32, 128),
    ("resnet18", 112, 32),
    ("mobilenetv2_100", 112, 32),
)
"""Network, pixels on a side, and batch size."""
DTYPES = ("float32", "bfloat16")
SEED, STEPS, WARM_UP, MADDS = 0, 15, 3, "50%"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks/allocator.py", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--page", action="store_true", help="only write docs/speed.md from the result files")
    parser.add_argument("--steps", type=int, default=STEPS, help="training steps of each process that are timed")
    parser.add_argument("--child", nargs=4, metavar=("NETWORK", "PIXELS", "BATCH", "DTYPE"), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.child:
        name, pixels, batch, dtype = options.child
        return answer(training_step(name, int(pixels), int(batch), dtype))
    from benchmarks.speed import write_page

    if not options.page:
        write_target(RESULTS, json.dumps(measure_all(options.steps), indent=1) + "\n")
    return write_page()


def measure_all(steps: int) -> dict[str, Any]:
    import torch

    from benchmarks.speed import commit, processor, say

    rows = []
    for network, pixels, batch in CASES:
        for dtype in DTYPES:
            rows.append(measure(network, pixels, batch, dtype, steps))
            say(str(rows[-1]))
    return {
        "script": "benchmarks/allocator.py",
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "commit": commit(),
        "seed": SEED,
        "device": processor(),
        "cores": os.cpu_count(),
        "threads": 1,
        "madds": MADDS,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        "libc": " ".join(platform.libc_ver()),
        "allocator": allocator_settings({}),
        "rows": rows,
    }


def measure(network: str, pixels: int, batch: int, dtype: str, steps: int) -> dict[str, Any]:
    """Time steps with both settings, in turns, and return the medians and the median of the ratios of the rounds."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_TUNABLES"))}
    plain |= {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    words = [sys.executable, "-m", "benchmarks.allocator", "--child", network, str(pixels), str(batch), dtype]
    children = [
        subprocess.Popen(
            words, cwd=ROOT, env=plain | settings, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        for settings in ({}, allocator_settings({}))
    ]
    try:
        for child in children:
            _ask(child, WARM_UP)
        rounds = [[_ask(child, 1) for child in children] for _ in range(steps)]
        for child in children:
            child.communicate("", timeout=60)
    finally:
        for child in children:
            child.kill()
            child.wait()
    peaks = [answers[-1]["peak_mib"] for answers in zip(*rounds, strict=True)]
    times = [[answer["seconds"] for answer in answers] for answers in rounds]
    ratios = [kept / default for default, kept in times]
    return {
        "network": network,
        "pixels": pixels,
        "batch": batch,
        "dtype": dtype,
        "steps": steps,
        "ratio": round(statistics.median(ratios), 3),
        "lowest_ratio": round(min(ratios), 3),
        "highest_ratio": round(max(ratios), 3),
        "ms": [round(statistics.median(column) * 1000, 1) for column in zip(*times, strict=True)],
        "peak_mib": peaks,
    }


def _ask(child: subprocess.Popen[str], steps: int) -> dict[str, float]:
    assert child.stdin and child.stdout
    child.stdin.write(f"{steps}\n")
    child.stdin.flush()
    return json.loads(child.stdout.readline())


def answer(step: Callable[[], None]) -> int:
    """For each number read from standard input, take so many steps; print their CPU time and the peak memory so far as JSON."""
    import resource

    for line in sys.stdin:
        start = time.process_time()
        for _ in range(int(line)):
            step()
        seconds = time.process_time() - start
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        print(json.dumps({"seconds": seconds, "peak_mib": peak}), flush=True)
    return 0


def training_step(network: str, pixels: int, batch: int, dtype: str) -> Callable[[], None]:
    """Return a function that takes one step of SGD with a network with tiled epitomes."""
    import torch

    import nes_lab

    torch.set_num_threads(1)  # the CPU time of one thread is its time on a free machine
    torch.manual_seed(SEED)
    x, y = torch.randn(batch, 3, pixels, pixels), torch.randint(10, (batch,))
    net = nes_lab.compress(nes_lab.create_backbone(network), madds=MADDS, example_input=x[:1], routing="tiled").train()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == "bfloat16"):
            loss = torch.nn.functional.cross_entropy(net(x).float(), y)
        loss.backward()
        optimizer.step()

    return step


if __name__ == "__main__":
    sys.exit(main())
