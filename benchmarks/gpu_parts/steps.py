"""Measure complete networks on a GPU: training steps and their memory, CUDA graphs, and the time to compile."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial

import torch
import torch._inductor.config
import torch.nn.functional as F
from torch import Tensor, nn

import nes_lab
from benchmarks.gpu_parts.networks import VARIANTS, resnet, variant
from benchmarks.gpu_parts.sizes import Size
from benchmarks.speed_parts.record import Row, compare, row
from benchmarks.speed_parts.settings import Job
from benchmarks.speed_parts.timing import take_turns
from nes_lab.records.options import Routing

__all__ = ["jobs"]

GRAPH_BATCHES = (1, 32)


def jobs(size: Size, device: str) -> Iterator[Job]:
    """Yield one job per routing for training steps and for the time to compile, and one per batch size for CUDA graphs."""
    no_graphs = None if device == "cuda" else f"CUDA graphs need a GPU, and the device is {device}"
    for routing in VARIANTS:
        yield Job(f"step/{routing}", partial(_steps, routing, size, device))
    for batch in GRAPH_BATCHES:
        yield Job(f"graph/batch {batch}", partial(_graphs, batch, size, device), no_graphs)
    for routing in VARIANTS[:2]:
        yield Job(f"compile/{routing}", partial(_compile, routing, size, device))


def _steps(routing: Routing, size: Size, device: str) -> list[Row]:
    """Measure forward, backward and SGD in bfloat16 (autocast), and the peak memory of forward and backward."""
    networks = {"dense": resnet(size), routing: variant(size, routing)}
    x, y = _batch(size, device, size.batch // 4 or 1)
    calls: dict[str, Callable[[], object]] = {}
    peaks: dict[str, int] = {}
    for name, network in networks.items():
        network = network.to(device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
        step = _step(network, x, y, device)
        step()
        peaks[name] = nes_lab.measure_peak_memory(step, device)
        calls[name] = step
    times = take_turns(calls, size.settings.effort(3.0, most=40), device, inner=1)
    case = f"training step, batch {len(x)} at {size.pixels} px, bfloat16"
    memory = {"mib": peaks[routing] / 2**20, "baseline_mib": peaks["dense"] / 2**20}
    return [
        compare(times, routing, "dense", case, madd_ratio=0.5),
        row(f"peak memory, {case}", routing, "dense", peaks[routing] / max(peaks["dense"], 1), **memory),
    ]


def _step(network: nn.Module, x: Tensor, y: Tensor, device: str) -> Callable[[], None]:
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-3, momentum=0.9)

    def step() -> None:
        with torch.autocast(device, torch.bfloat16):
            loss = F.cross_entropy(network(x), y)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def _graphs(batch: int, size: Size, device: str) -> list[Row]:
    """Measure a forward pass as a CUDA graph, beside the dense network as a CUDA graph and beside eager mode."""
    x = _batch(size, device, size.settings.batch(batch))[0]
    calls: dict[str, Callable[[], object]] = {}
    networks = {"dense": resnet(size), **{routing: variant(size, routing) for routing in VARIANTS[:2]}}
    for name, network in networks.items():
        network = nes_lab.for_inference(nes_lab.fuse(network.eval()))
        network = network.to(device, torch.bfloat16, memory_format=torch.channels_last)  # type: ignore[call-overload]
        calls[f"{name}, eager"] = partial(_forward, network, x)
        calls[f"{name}, graph"] = _captured(network, x).replay
    times = take_turns(calls, size.settings.effort(2.0), device)
    case = f"forward, batch {batch} at {size.pixels} px, bfloat16"
    rows = [compare(times, f"{name}, graph", "dense, graph", case) for name in ("tiled", "free")]
    return rows + [compare(times, f"{name}, graph", f"{name}, eager", case) for name in ("dense", "tiled", "free")]


def _captured(network: nn.Module, x: Tensor) -> torch.cuda.CUDAGraph:
    """Capture a forward pass, after a few passes on another stream, as torch asks for."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            _forward(network, x)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.no_grad(), torch.cuda.graph(graph):
        network(x)
    return graph


def _forward(network: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    with torch.no_grad():
        return network(x)


def _compile(routing: Routing, size: Size, device: str) -> list[Row]:
    """Measure the seconds that the first call of a compiled network takes, and the milliseconds of later calls."""
    x = _batch(size, device, size.settings.batch(32))[0]
    calls: dict[str, Callable[[], object]] = {}
    seconds: dict[str, float] = {}
    for name, network in (("dense", resnet(size)), (routing, variant(size, routing))):
        network = network.eval().to(device, torch.bfloat16, memory_format=torch.channels_last)  # type: ignore[call-overload]
        torch.compiler.reset()
        begin = time.perf_counter()
        compiled = torch.compile(network, fullgraph=True, dynamic=False)
        with torch._inductor.config.patch(force_disable_caches=True):
            _forward(compiled, x)
        seconds[name], calls[name] = time.perf_counter() - begin, partial(_forward, compiled, x)
    times = take_turns(calls, size.settings.effort(1.0), device)
    case = f"batch {len(x)} at {size.pixels} px, bfloat16"
    compiling = row(f"seconds to compile, {case}", routing, "dense", seconds[routing] / seconds["dense"])
    compiling |= {"seconds": round(seconds[routing], 1), "baseline_seconds": round(seconds["dense"], 1)}
    return [compiling, compare(times, routing, "dense", f"compiled forward, {case}")]


def _batch(size: Size, device: str, batch: int) -> tuple[Tensor, Tensor]:
    torch.manual_seed(size.settings.seed)
    x = torch.randn(batch, 3, size.pixels, size.pixels, device=device, dtype=torch.bfloat16)
    return x.contiguous(memory_format=torch.channels_last), torch.randint(0, 1000, (batch,), device=device)
