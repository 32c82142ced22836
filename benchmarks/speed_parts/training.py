"""Measure time and peak memory of training steps (forward, backward, SGD) of epitome and dense networks, eager on the CPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import nes_lab
from benchmarks.opponents import randomize_norms, wide_network
from benchmarks.speed_parts.record import Row, compare, row
from benchmarks.speed_parts.settings import DEFAULT, FOR_SPEED, Job, Settings, plan_options
from benchmarks.speed_parts.timing import take_turns
from nes_lab.cost.measure import measure_peak_memory
from nes_lab.nn.layer import EpitomeLayer

__all__ = ["CASES", "jobs"]

PIXELS = {"resnet50": 160, "mobilenetv2_100": 224}
CASES = (("resnet50", 0.5, 4), ("resnet50", 0.75, 4), ("mobilenetv2_100", 0.75, 16))
"""Triples of network, share of multiply-adds, and batch."""
LEAST = ("resnet50", 0.75)
"""In this case only contenders that have a target are timed."""


def jobs(settings: Settings) -> Iterator[Job]:
    """Yield a job for the time and one for the memory of each case."""
    for name, share, batch in CASES[2:] if settings.quick else CASES:
        where = f"{name}/{share:.0%}/batch {settings.batch(batch)} at {_pixels(name, settings)} px"
        yield Job(f"training/{where}", partial(_time, name, share, batch, settings))
        if (name, share) != LEAST:
            yield Job(f"memory/{where}", partial(_memory, name, share, batch, settings))


def _pixels(name: str, settings: Settings) -> int:
    return 64 if settings.quick else PIXELS[name]


def _epitome(dense: nn.Module, name: str, share: float, settings: Settings, routing: str, kind: str) -> nn.Module:
    """Return an epitome network in training mode, whose layers run ``factored`` if they can."""
    x = torch.randn(1, 3, _pixels(name, settings), _pixels(name, settings))
    options = plan_options(name, share, kind)
    plan = nes_lab.plan_for_budget(dense, nes_lab.Budget(madds=share), x, routing=routing, **options)
    model = nes_lab.compress(dense, plan, initial_weights="reset")
    for layer in _layers(model):
        layer.execution = "factored" if "factored" in layer.available_executions() else "auto"
    return model.train()


def _layers(model: nn.Module) -> list[EpitomeLayer]:
    return [m for m in model.modules() if isinstance(m, EpitomeLayer)]


def _dense(name: str, settings: Settings) -> nn.Module:
    torch.manual_seed(settings.seed)
    return randomize_norms(wide_network(name), settings.seed).train()


def _batch(name: str, batch: int, settings: Settings) -> tuple[Tensor, Tensor]:
    n = settings.batch(batch)
    return torch.randn(n, 3, _pixels(name, settings), _pixels(name, settings)), torch.randint(1000, (n,))


def _step(model: nn.Module, x: Tensor, y: Tensor) -> Callable[[], object]:
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        F.cross_entropy(model(x), y).backward()
        optimizer.step()

    return step


def _time(name: str, share: float, batch: int, settings: Settings) -> list[Row]:
    dense = _dense(name, settings)
    routings = [("free", FOR_SPEED)]
    if (name, share) != LEAST:
        routings += [("free", DEFAULT), ("learner", FOR_SPEED), ("tiled", FOR_SPEED)]
    models = {f"{r}, {kind}": _epitome(dense, name, share, settings, r, kind) for r, kind in routings}
    x, y = _batch(name, batch, settings)
    calls = {key: _step(model, x, y) for key, model in {"dense": dense, **models}.items()}
    times = take_turns(calls, settings.effort(4.0, most=24))
    case = f"{name}, {share:.0%}, batch {x.shape[0]} at {_pixels(name, settings)} px"
    more = {"network": name, "budget": share, "batch": x.shape[0]}
    full = nes_lab.count(dense, x[:1])
    rows = []
    for key, model in models.items():
        cost = nes_lab.count(model, x[:1])
        sizes = {"madd_ratio": cost.madds / full.madds, "params_ratio": cost.params / full.params}
        rows.append(compare(times, key, "dense", case, **more, **sizes, **_target(name, share, key)))
    learner, free = (f"{routing}, {FOR_SPEED}" for routing in ("learner", "free"))
    if learner in models:
        rows.append(compare(times, learner, free, case, **more, key="learner", target=1.05))
    return rows


def _target(name: str, share: float, contender: str) -> dict[str, Any]:
    if not contender.startswith("free"):
        return {}
    if (name, share) == ("resnet50", 0.5):
        return {"key": "training_resnet50_50", "target": 1.00}
    return {"key": "training", "target": 1.10}


def _memory(name: str, share: float, batch: int, settings: Settings) -> list[Row]:
    """Measure the peak bytes of tensors during forward and backward, not in the first step, which fills caches."""
    dense = _dense(name, settings)
    x, y = _batch(name, batch, settings)
    variants = (("tiled", "tiled", DEFAULT), (f"tiled, {FOR_SPEED}", "tiled", FOR_SPEED), ("free", "free", DEFAULT))
    models = {key: _epitome(dense, name, share, settings, routing, kind) for key, routing, kind in variants}
    models["free, then frozen"] = _epitome(dense, name, share, settings, "free", DEFAULT)
    for layer in _layers(models["free, then frozen"]):
        layer.freeze()
    peaks = {key: _peak(model, x, y) for key, model in {"dense": dense, **models}.items()}
    case = f"{name}, {share:.0%}, batch {x.shape[0]} at {_pixels(name, settings)} px"
    rows = []
    for key in models:
        more: dict[str, Any] = {"network": name, "budget": share, "batch": x.shape[0], "mib": peaks[key] / 2**20}
        more |= {} if key == "free" else {"key": "memory", "target": 1.10}
        rows.append(row(case, key, "dense", peaks[key] / peaks["dense"], baseline_mib=peaks["dense"] / 2**20, **more))
    return rows


def _peak(model: nn.Module, x: Tensor, y: Tensor) -> int:
    def step() -> None:
        F.cross_entropy(model(x), y).backward()

    step()
    model.zero_grad(set_to_none=True)
    peak = measure_peak_memory(step, "cpu")
    model.zero_grad(set_to_none=True)
    return peak
