"""Measure what evaluation costs without ``nes_lab.for_inference``, for the section of docs/speed.md about it.

Plain evaluation looks for changes of a layer's numbers at each call; the copy that ``for_inference`` makes does not. Both run in turns
with the dense network in one process. Times are CPU times of the process, so other programs do not count. ``--page`` only writes
docs/speed.md from the result files.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from nes_lab.runs.replace import write_target

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "plain_eval.json"
WIDE = "one linear layer"
CASES = (
    ("mobilenetv2_100", 0.75, "separable", 1),
    ("mobilenetv2_100", 0.75, "separable", 16),
    ("resnet50", 0.5, "separable", 1),
    ("resnet50", 0.5, "joint", 1),
    (WIDE, 0.5, "joint", 1),
)
"""Network, share of its params, scope, and batch size."""
SEED, PIXELS, CHANNELS = 0, 224, 2048


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks/plain_eval.py", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--page", action="store_true", help="only write docs/speed.md from the result files")
    options = parser.parse_args(arguments)
    from benchmarks.speed import write_page

    if not options.page:
        write_target(RESULTS, json.dumps(measure_all(), indent=1) + "\n")
    return write_page()


def measure_all() -> dict[str, Any]:
    import torch

    from benchmarks.speed import ALLOCATOR, commit, processor, say

    torch.set_num_threads(1)  # the CPU time of one thread is its time on a free machine
    rows = []
    for network, share, scope, batch in CASES:
        for routing in ("tiled", "free"):
            rows.append(measure(network, share, scope, batch, routing))
            say(str(rows[-1]))
    return {
        "script": "benchmarks/plain_eval.py",
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "commit": commit(),
        "seed": SEED,
        "device": processor(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
        "threads": 1,
        "dtype": "float32",
        "torch": torch.__version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        "allocator": {key: os.environ.get(key) for key in ALLOCATOR},
        "rows": rows,
    }


def measure(network: str, share: float, scope: Any, batch: int, routing: Any, pixels: int = PIXELS) -> dict[str, Any]:
    """Time the dense network, the compressed one as it is, and its copy for inference, in turns."""
    import torch

    import nes_lab
    from benchmarks.opponents import wide_network
    from benchmarks.speed_parts.settings import Settings
    from benchmarks.speed_parts.timing import take_turns

    torch.manual_seed(SEED)
    shape = (CHANNELS,) if network == WIDE else (3, pixels, pixels)
    x = torch.randn(batch, *shape)
    dense = torch.nn.Sequential(torch.nn.Linear(CHANNELS, CHANNELS)) if network == WIDE else wide_network(network)
    dense.eval()
    plan = nes_lab.plan_for_budget(dense, nes_lab.Budget(params=share), x[:1], routing=routing, scope=scope)
    plain = nes_lab.compress(dense, plan, initial_weights="reset").eval()
    for module in plain.modules() if routing == "free" else ():
        if isinstance(module, nes_lab.EpitomeLayer):
            with torch.no_grad():
                for _, offsets in module.routing.tables():
                    offsets.uniform_(0.1, 0.4)
    networks = {"dense": dense, "plain": plain, "for_inference": nes_lab.for_inference(plain)}
    with torch.inference_mode():
        calls = {name: partial(net, x) for name, net in networks.items()}
        times = take_turns(calls, Settings().effort(20.0, most=60), clock=time.process_time)
    return {
        "network": network,
        "params": share,
        "scope": scope,
        "routing": routing,
        "batch": batch,
        "rounds": times.pairs,
        "plain / for_inference": round(times.ratio("plain", "for_inference"), 3),
        "plain / dense": round(times.ratio("plain", "dense"), 3),
        "for_inference / dense": round(times.ratio("for_inference", "dense"), 3),
        "median_ms": {name: round(times.median(name), 2) for name in networks},
    }


if __name__ == "__main__":
    from benchmarks.speed import SAME

    if any(os.environ.get(key) != value for key, value in SAME.items()):
        # the allocator reads its settings when a process starts
        os.execve(sys.executable, [sys.executable, str(Path(__file__).resolve()), *sys.argv[1:]], os.environ | SAME)
    sys.exit(main())
