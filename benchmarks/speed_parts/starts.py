"""Measure what learned starts cost: calls, time and peak memory of training steps, one tiny layer, and time to compile. One thread."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

import nes_lab
from benchmarks.opponents import randomize_norms
from benchmarks.speed_parts.floors import training_floor
from benchmarks.speed_parts.record import Row, compare, row
from benchmarks.speed_parts.settings import DEFAULT, FOR_SPEED, Job, Settings, plan_options
from benchmarks.speed_parts.timing import Effort, take_turns
from nes_lab.cost.measure import measure_peak_memory

__all__ = ["CASES", "count_calls", "jobs"]

CASES = (("mobilenetv2_100", 0.75), ("resnet18", 0.55))
BATCH, PIXELS = 8, 64
ROUTINGS = ("tiled", "free", "learner")
STEP = {"mobilenetv2_100": (0.90, 1.00, 1.10), "resnet18": (0.66, 0.72, 0.78)}
CALLS = {"mobilenetv2_100": (3600, 5000, 7000)}
MEMORY = (1.00, 1.05, 1.10)
INFERENCE_US, STEP_US = (12, 15), (160, 240)
"""Targets of one tiny layer: microseconds above the dense layer's inference; microseconds of forward and backward pass, where the
dense layer takes 119."""
DENSE_STEP_US = 119


def jobs(settings: Settings) -> Iterator[Job]:
    """Yield jobs for calls, time and memory of each case, for the index learner and for torch.compile, each with two kinds of plan.

    The last job measures one tiny layer.
    """
    for kind in (FOR_SPEED,) if settings.quick else (DEFAULT, FOR_SPEED):
        end = "" if kind == DEFAULT else f"/{kind}"
        for name, share in CASES:
            yield Job(
                f"starts/calls/{name}/{share:.0%}{end}", partial(_alone, partial(_calls, name, share, kind, settings))
            )
            yield Job(
                f"starts/step/{name}/{share:.0%}{end}", partial(_alone, partial(_time, name, share, kind, settings))
            )
            yield Job(
                f"starts/memory/{name}/{share:.0%}{end}", partial(_alone, partial(_memory, name, share, kind, settings))
            )
        yield Job(f"starts/learner share/resnet50/50%{end}", partial(_alone, partial(_learner_share, kind, settings)))
        compiler = shutil.which("g++") or shutil.which("c++") or shutil.which("clang++")
        missing = None if compiler else "torch.compile needs a C++ compiler, and no g++, c++ or clang++ is on PATH"
        yield Job(f"starts/compile/resnet18/55%{end}", partial(_alone, partial(_compile, kind, settings)), missing)
    yield Job("starts/one layer", partial(_alone, partial(_one_layer, settings)))


def _alone(measure: Callable[[], list[Row]]) -> list[Row]:
    with _one_thread():
        return measure()


@contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _networks(name: str, share: float, kind: str, settings: Settings, pixels: int = PIXELS) -> dict[str, nn.Module]:
    """Return the dense network and its epitome networks, planned for speed or by default, in training mode."""
    torch.manual_seed(settings.seed)
    dense = randomize_norms(timm.create_model(name), settings.seed).train()
    x = torch.randn(1, 3, pixels, pixels)
    networks = {"dense": dense}
    for routing in ROUTINGS:
        options = plan_options(name, share, kind)
        plan = nes_lab.plan_for_budget(dense, nes_lab.Budget(madds=share), x, routing=routing, **options)
        networks[routing] = nes_lab.compress(dense, plan, initial_weights="reset").train()
    return networks


def _batch(settings: Settings, batch: int = BATCH, pixels: int = PIXELS) -> tuple[Tensor, Tensor]:
    return torch.randn(settings.batch(batch), 3, pixels, pixels), torch.randint(1000, (settings.batch(batch),))


def _pass(network: nn.Module, x: Tensor, y: Tensor) -> Callable[[], object]:
    def forward_and_backward() -> None:
        network.zero_grad(set_to_none=True)
        F.cross_entropy(network(x), y).backward()

    return forward_and_backward


def _step(network: nn.Module, x: Tensor, y: Tensor) -> Callable[[], object]:
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-3, momentum=0.9)
    both = _pass(network, x, y)

    def step() -> None:
        both()
        optimizer.step()

    return step


def count_calls(call: Callable[[], object]) -> int:
    """Return how many operations of ATen a call runs, with those that other operations call. The second call is counted."""
    call()
    with profile(activities=[ProfilerActivity.CPU]) as found:
        call()
    return sum(event.count for event in found.key_averages() if event.key.startswith("aten::"))


def _calls(name: str, share: float, kind: str, settings: Settings) -> list[Row]:
    x, y = _batch(settings)
    networks = _networks(name, share, kind, settings)
    networks |= {f"floor of {routing}": training_floor(networks[routing]) for routing in ROUTINGS[:2]}
    calls = {key: count_calls(_pass(network, x, y)) for key, network in networks.items()}
    rows = []
    for routing, most in zip(ROUTINGS, CALLS.get(name, (None,) * 3), strict=True):
        more = {} if most is None else {"key": "starts_calls", "target": most / calls["dense"], "most_calls": most}
        floor = calls["floor of tiled" if routing == "tiled" else "floor of free"] / calls["dense"]
        ratio, more = calls[routing] / calls["dense"], more | {"floor": floor}
        rows.append(
            row(
                _case(name, share),
                _named(routing, kind),
                "dense",
                ratio,
                calls=calls[routing],
                dense_calls=calls["dense"],
                **more,
            )
        )
    return rows


def _named(contender: str, kind: str) -> str:
    return contender if kind == DEFAULT else f"{contender}, {kind}"


def _case(name: str, share: float) -> str:
    return f"{name}, {share:.0%}, batch {BATCH} at {PIXELS} px"


def _time(name: str, share: float, kind: str, settings: Settings) -> list[Row]:
    """Measure training steps beside the dense network's, and beside the floors of the plans with fixed and with learned starts."""
    x, y = _batch(settings)
    networks = _networks(name, share, kind, settings)
    networks |= {f"floor of {routing}": training_floor(networks[routing]) for routing in ("tiled", "free")}
    calls = {key: _step(network, x, y) for key, network in networks.items()}
    times = take_turns(calls, settings.effort(40.0, most=60), clock=time.process_time)
    rows = []
    for routing, limit in zip(ROUTINGS, STEP[name], strict=True):
        floor = times.ratio("floor of tiled" if routing == "tiled" else "floor of free", "dense")
        found = compare(times, routing, "dense", _case(name, share), key="starts_step", target=limit, floor=floor)
        rows.append(found | {"contender": _named(routing, kind)})
    return rows


def _memory(name: str, share: float, kind: str, settings: Settings) -> list[Row]:
    x, y = _batch(settings)
    peaks = {key: _peak(network, x, y) for key, network in _networks(name, share, kind, settings).items()}
    return [
        row(
            _case(name, share),
            _named(routing, kind),
            "dense",
            peaks[routing] / peaks["dense"],
            mib=peaks[routing] / 2**20,
            baseline_mib=peaks["dense"] / 2**20,
            key="starts_memory",
            target=limit,
        )
        for routing, limit in zip(ROUTINGS, MEMORY, strict=True)
    ]


def _peak(network: nn.Module, x: Tensor, y: Tensor) -> int:
    _pass(network, x, y)()  # the first step fills caches
    network.zero_grad(set_to_none=True)
    return measure_peak_memory(lambda: F.cross_entropy(network(x), y).backward(), "cpu")


def _learner_share(kind: str, settings: Settings) -> list[Row]:
    """Measure which share of a step the index learner takes: the time beyond the same step with free starts.

    Its floor is the time to read each layer's input once, for the means, and to add a number to each channel of its gradient.
    """
    x, y = _batch(settings, batch=4, pixels=64 if settings.quick else 160)
    networks = _networks("resnet50", 0.5, kind, settings, x.shape[-1])
    calls = {routing: _step(networks[routing], x, y) for routing in ("free", "learner")}
    calls["floor"] = _passes(networks["learner"], x)
    times = take_turns(calls, settings.effort(60.0, most=40), clock=time.process_time)
    share, floor = 1 - 1 / times.ratio("learner", "free"), times.ratio("floor", "learner")
    case = f"resnet50, 50%, batch {x.shape[0]} at {x.shape[-1]} px"
    more = {"key": "starts_learner_share", "target": 0.05, "floor": floor}
    return [row(case, _named("learner's share of its step", kind), "the step", share, **more)]


def _passes(network: nn.Module, x: Tensor) -> Callable[[], object]:
    """Return a function that reads all inputs of epitome layers once, and adds a number to each channel of as many gradients."""
    inputs: dict[int, Tensor] = {}
    sizes: list[torch.Size] = []

    def note(layer: nn.Module, args: tuple[Tensor, ...]) -> None:
        inputs[id(args[0])] = args[0]
        sizes.append(args[0].shape)

    hooks = [m.register_forward_pre_hook(note) for m in network.modules() if isinstance(m, nes_lab.EpitomeLayer)]
    network(x)
    for hook in hooks:
        hook.remove()
    read = [tensor.detach() for tensor in inputs.values()]
    written = [(torch.zeros(size), torch.zeros(*size[:2], *[1] * (len(size) - 2))) for size in sizes]

    def passes() -> None:
        for tensor in read:
            tensor.mean(tuple(range(2, tensor.ndim)))
        for gradient, numbers in written:
            gradient.add_(numbers)

    return passes


def _one_layer(settings: Settings) -> list[Row]:
    """Measure one tiny convolution: inference after ``for_inference``, plain evaluation, and forward with backward pass."""
    torch.manual_seed(settings.seed)
    x = torch.randn(1, 16, 8, 8)
    dense = nn.Conv2d(16, 32, 3, padding=1)
    made = {
        r: nes_lab.EpitomeConv2d(
            16,
            32,
            3,
            padding=1,
            epitome_shape=(16, 8, 3, 3),
            patch_channels=None if r == "tiled" else (8, 4),
            routing=r,
        )
        for r in ROUTINGS[:2]
    }
    effort = Effort(2, 2, 0.0, 1) if settings.quick else Effort(40, 200, 5.0)
    rows = []
    with torch.inference_mode():
        served = {key: nes_lab.for_inference(layer) for key, layer in {"dense": dense, **made}.items()}
        plain = {f"{key}, plain evaluation": layer.eval() for key, layer in made.items()}
        times = take_turns(
            {k: partial(m, x) for k, m in {**served, **plain}.items()}, effort, inner=50, clock=time.process_time
        )
    base = times.median("dense")
    for routing, extra in zip(ROUTINGS, INFERENCE_US, strict=False):
        target = {"key": "starts_layer", "target": 1 + extra / 1e3 / base}
        rows.append(
            compare(times, routing, "dense", "one tiny layer", extra_us=(times.median(routing) - base) * 1e3, **target)
        )
        key = f"{routing}, plain evaluation"
        rows.append(compare(times, key, "dense", "one tiny layer", extra_us=(times.median(key) - base) * 1e3))
    x = x.requires_grad_()
    trained = {"dense": dense.train(), **{key: layer.train() for key, layer in made.items()}}
    trained |= {f"floor of {key}": training_floor(nn.Sequential(layer)) for key, layer in made.items()}
    calls = {key: partial(lambda layer: layer(x).sum().backward(), layer) for key, layer in trained.items()}
    times = take_turns(calls, effort, inner=20, clock=time.process_time)
    for routing, most in zip(ROUTINGS, STEP_US, strict=False):
        target = {
            "key": "starts_layer_step",
            "target": most / DENSE_STEP_US,
            "floor": times.ratio(f"floor of {routing}", "dense"),
        }
        rows.append(compare(times, routing, "dense", "one tiny layer, forward and backward", **target))
    return rows


def _compile(kind: str, settings: Settings) -> list[Row]:
    """Measure the processor time until the first compiled step has run, of each network once, without caches of compiled code.

    The time of the C++ compiler counts too: it runs in child processes, one at a time. A tiny network is compiled first, because the
    first one that a process compiles also loads the compiler.
    """
    import torch._inductor.config as inductor

    x, y = _batch(settings)
    networks, seconds = _networks("resnet18", 0.55, kind, settings), {}
    networks["floor"] = training_floor(networks["free"])
    del networks["tiled"]  # it has no target
    tiny = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    for key, network in {"tiny": tiny, **networks}.items():
        torch.compiler.reset()
        begin = sum(os.times()[:4])
        with inductor.patch(compile_threads=1):
            _pass(torch.compile(network, backend="aot_eager" if settings.quick else "inductor"), x, y % 8)()
        seconds[key] = sum(os.times()[:4]) - begin
    case = f"torch.compile of {_case('resnet18', 0.55)}"
    return [
        row(
            case,
            _named(routing, kind),
            "dense",
            seconds[routing] / seconds["dense"],
            seconds=seconds[routing],
            floor=seconds["floor"] / seconds["dense"],
            key="starts_compile",
            target=1.4,
        )
        for routing in ROUTINGS[1:]
    ]
