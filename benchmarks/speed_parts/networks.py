"""Measure inference of complete networks on the CPU: tuned and fused epitome networks beside dense, narrower and pruned ones."""

from __future__ import annotations

import gc
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn

import nes_lab
from benchmarks.opponents import narrower, pruned, randomize_norms, wide_network
from benchmarks.speed_parts.floors import floor_network
from benchmarks.speed_parts.record import Row, compare
from benchmarks.speed_parts.settings import DEFAULT, FOR_SPEED, Job, Settings, plan_options
from benchmarks.speed_parts.timing import Times, take_turns
from nes_lab.nn.layer import EpitomeLayer

__all__ = ["BUDGETS", "jobs"]

BUDGETS = {"resnet50": (0.5, 0.25), "mobilenetv2_100": (0.75, 0.5)}
BATCHES = (1, 16)
TUNE_S = 10.0
"""Approximate seconds that ``tune`` may take for each network and batch."""
WIDTH, PRUNED = "width multiplier, fused", "Torch-Pruning, fused"
COMPILED = f"epitome, {FOR_SPEED}"
TARGETS = {
    ("resnet50", 0.5, "dense"): ("resnet50_50", 0.60),
    ("mobilenetv2_100", 0.75, "dense, fused"): ("mobilenetv2_75", 0.95),
    ("mobilenetv2_100", 0.75, WIDTH): ("mobilenetv2_75_width", 1.05),
}


def jobs(settings: Settings) -> Iterator[Job]:
    """Yield one job per network, budget and batch, and one job per network for ``torch.compile``, which reuses the tuned networks."""
    compiler = shutil.which("g++") or shutil.which("c++") or shutil.which("clang++")
    missing = None if compiler else "torch.compile needs a C++ compiler, and no g++, c++ or clang++ is on PATH"
    for name, budgets in list(BUDGETS.items())[1 if settings.quick else 0 :]:
        for share in budgets[: 1 if settings.quick else None]:
            where = f"{name}/{share:.0%}"
            for batch in BATCHES:
                yield Job(f"networks/{where}/batch {batch}", partial(_measure, name, share, batch, settings))
                if (share, batch) == (budgets[0], BATCHES[0]) and not settings.quick:
                    job = f"compiled/{where}/batch {batch}"
                    yield Job(job, partial(_measure_compiled, name, share, batch, settings), missing)


@lru_cache(maxsize=1)
def _contenders(name: str, share: float, settings: Settings) -> dict[str, nn.Module]:
    """Return all networks of one budget, not tuned yet; with both kinds of plan if the budget has a target."""
    gc.collect()
    torch.manual_seed(settings.seed)
    x = torch.randn(1, 3, settings.pixels, settings.pixels)
    dense = _finished(wide_network(name), settings)
    models: dict[str, nn.Module] = {"dense": dense, "dense, fused": nes_lab.fuse(dense, x)}
    madds = share * nes_lab.count(dense, x).madds
    models[WIDTH] = nes_lab.fuse(_finished(narrower(name, madds, x), settings), x)
    if find_spec("torch_pruning"):
        models[PRUNED] = nes_lab.fuse(_finished(pruned(dense, madds, x), settings), x)
    for kind in (DEFAULT, FOR_SPEED) if share == BUDGETS[name][0] else (FOR_SPEED,):
        plan = nes_lab.plan_for_budget(dense, nes_lab.Budget(madds=share), x, **plan_options(name, share, kind))
        models[f"epitome, {kind}"] = nes_lab.fuse(
            _finished(nes_lab.compress(dense, plan, initial_weights="reset"), settings), x
        )
    return {key: model.requires_grad_(False) for key, model in models.items()}


def _finished(model: nn.Module, settings: Settings) -> nn.Module:
    return randomize_norms(model, settings.seed).eval().requires_grad_(False)


@lru_cache(maxsize=1)
def _tuned(
    name: str, share: float, batch: int, settings: Settings
) -> tuple[dict[str, nn.Module], Tensor, dict[str, float]]:
    """Tune the epitome networks in place; return all networks, the input, and the seconds of each tuning."""
    contenders, seconds = _contenders(name, share, settings), {}
    torch.manual_seed(settings.seed)
    x = torch.randn(settings.batch(batch), 3, settings.pixels, settings.pixels)
    for key, model in contenders.items():
        if key.startswith("epitome"):
            begin = time.perf_counter()
            nes_lab.tune(model, x, seconds=1.0 if settings.quick else TUNE_S, keep_madds=False)  # time alone decides
            seconds[key] = time.perf_counter() - begin
    return {key: nes_lab.for_inference(model) for key, model in contenders.items()}, x, seconds


def _measure(name: str, share: float, batch: int, settings: Settings) -> list[Row]:
    contenders, x, seconds = _tuned(name, share, batch, settings)
    floors = {f"floor of {n}": floor_network(m) for n, m in contenders.items() if n.startswith("epitome")}
    with torch.inference_mode():
        calls: dict[str, Callable[[], object]] = {n: partial(m, x) for n, m in (contenders | floors).items()}
        times = take_turns(calls, settings.effort(3.0, most=40))
    counts = {n: nes_lab.count(m, x[:1]) for n, m in contenders.items()}
    return list(_rows(name, share, batch, times, contenders, counts, seconds))


def _rows(
    name: str,
    share: float,
    batch: int,
    times: Times,
    contenders: dict[str, nn.Module],
    counts: dict[str, nes_lab.CostReport],
    seconds: dict[str, float],
) -> Iterator[Row]:
    full = counts["dense"]
    for contender, model in contenders.items():
        for baseline in ("dense", "dense, fused", WIDTH):
            if contender == baseline or (baseline == WIDTH and contender not in seconds):
                continue
            more: dict[str, Any] = {"network": name, "budget": share, "batch": batch, "mode": "eager"}
            more |= _sizes(counts[contender], full)
            if contender in seconds:
                more |= {"floor": times.ratio(f"floor of {contender}", baseline), "tune_s": seconds[contender]}
                more["executions"] = dict(Counter(m.execution for m in model.modules() if isinstance(m, EpitomeLayer)))
                key, target = TARGETS.get((name, share, baseline), (None, None))
                more |= {} if key is None else {"key": key, "target": target}
            more["norms_left"] = sum(isinstance(m, nn.BatchNorm2d) for m in model.modules())
            yield compare(times, contender, baseline, f"{name}, {share:.0%}", **more)


def _sizes(cost: nes_lab.CostReport, full: nes_lab.CostReport) -> dict[str, Any]:
    return {
        "madds": cost.madds,
        "params": cost.params,
        "madd_ratio": cost.madds / full.madds,
        "params_ratio": cost.params / full.params,
    }


def _measure_compiled(name: str, share: float, batch: int, settings: Settings) -> list[Row]:
    """Measure fused networks under ``torch.compile``, and the seconds of compilation, which is the first call."""
    contenders, x, _ = _tuned(name, share, batch, settings)
    chosen = {n: contenders[n] for n in ("dense, fused", COMPILED)}
    calls: dict[str, Callable[[], object]] = {}
    seconds = {}
    torch.compiler.reset()
    with torch.inference_mode():
        for key, model in chosen.items():
            compiled, begin = (
                torch.compile(model, fullgraph=True, dynamic=False, options={"freezing": True}),
                time.perf_counter(),
            )
            compiled(x)
            seconds[key], calls[key] = time.perf_counter() - begin, partial(compiled, x)
        times = take_turns(calls, settings.effort(3.0, most=40))
    more: dict[str, Any] = {"network": name, "budget": share, "batch": batch, "mode": "compiled"}
    more |= {"compile_s": seconds[COMPILED], "baseline_compile_s": seconds["dense, fused"]}
    more |= _sizes(nes_lab.count(chosen[COMPILED], x[:1]), nes_lab.count(contenders["dense"], x[:1]))
    return [compare(times, COMPILED, "dense, fused", f"{name}, {share:.0%}", **more)]
