"""Measure the latencies of the demo's networks and compare their accuracies over seeds.

Tests: tests/experiment/test_demo.py.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from nes_lab.cost.measure import measure_latency
from nes_lab.runs.compare import Contest, compare_accuracy
from nes_lab.runs.store import RunStore
from nes_lab.surgery.for_inference import for_inference

if TYPE_CHECKING:
    from nes_lab.experiment.demo import Contender

__all__ = ["compare_contenders", "environment", "measure_latencies"]

BATCHES = (1, 64)


def environment() -> dict[str, Any]:
    """Return the facts about this machine that latencies depend on: device, processor, threads and versions."""
    return {
        "device": "cpu",
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "system": platform.platform(terse=True),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def measure_latencies(settings: Sequence[Contender]) -> dict[int, dict[str, float]]:
    """Measure how long one forward pass of each network of the demo takes.

    Each round measures every network once. A change of the machine's speed therefore affects all networks equally.

    Returns:
        A nested dict: for each batch size, the median time in ms by name of the network.
    """
    models = {c.name: for_inference(c.built.model) for c in settings}
    shape = settings[0].built.data.input_shape
    rounds = {1: 40, 64: 20}
    return {
        batch: {n: r.median_ms for n, r in measure_latency(models, torch.zeros(batch, *shape), rounds[batch]).items()}
        for batch in BATCHES
    }


def compare_contenders(
    store: RunStore, settings: Sequence[Contender], runs: dict[str, list[str]], latency: dict[int, dict[str, float]]
) -> tuple[list[dict[str, Any]], list[Contest]]:
    """Return a table of the demo's networks, and compare each epitome network with its rival, a narrower dense network.

    Args:
        store: The store of the finished runs.
        settings: The networks of the demo.
        runs: Name of each network -> ids of its runs.
        latency: Batch size -> name of the network -> median time in ms of one forward pass.

    Returns:
        One row per network (params, multiply-adds, latency, accuracy), and one comparison per epitome network.
    """
    top1 = {name: [float(store.get(run).summary["top1"]) for run in ids] for name, ids in runs.items()}
    table: list[dict[str, Any]] = []
    for contender in settings:
        scores, cost = top1[contender.name], contender.built.cost
        row: dict[str, Any] = {"network": contender.name, "params": cost.params, "madds": cost.madds}
        row |= {f"ms x{batch}": round(latency[batch][contender.name], 3) for batch in BATCHES}
        table.append(
            row
            | {
                "top-1 %": round(sum(scores) / len(scores), 2),
                "lowest": round(min(scores), 2),
                "highest": round(max(scores), 2),
            }
        )
    images = len(settings[0].built.data.val)
    return table, list(_contests(settings, top1, images))


def _contests(settings: Sequence[Contender], top1: dict[str, list[float]], images: int) -> Iterator[Contest]:
    for contender in settings:
        if contender.rival is not None:
            yield compare_accuracy(contender.name, top1[contender.name], contender.rival, top1[contender.rival], images)
