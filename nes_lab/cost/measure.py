"""Measure the latency of several models, and the peak memory of a function call.

The models run in turn. If the machine is slow for a while, all models are slowed.
"""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

from nes_lab.cost.probe import evaluating, run_example
from nes_lab.errors import OptionError
from nes_lab.records.cost_report import LatencyReport, LatencyReports
from nes_lab.records.spread import quartiles

__all__ = ["measure_latency", "measure_peak_memory"]


def measure_latency(models: Mapping[str, nn.Module], x: Any, pairs: int = 20, warmup: int = 3) -> LatencyReports:
    """Measure the latency of several models in turn: each round times one forward pass of every model.

    Args:
        models: Models by name, on the device of ``x``. They run in evaluation mode. Afterwards, they and the global state
            are bit for bit as before.
        x: Input of one forward pass, with its batch axis: a tensor, a tuple of arguments or a dict of keyword arguments.
        pairs: Number of timed rounds; each round runs every model once.
        warmup: Number of untimed rounds before the timed ones.

    Returns:
        A dict from the name of each model to its report. A report holds the median, the quartiles and the 90th percentile of the
        times in milliseconds, and the device, dtype, batch size and number of threads. ``print`` shows a table, and says which
        models can be told apart. The method ``compare`` returns the ratio of two of them, with its spread.

    Raises:
        OptionError: If ``pairs`` is below 1, or ``x`` holds no tensor.

    Examples:
        >>> import torch, nes_lab
        >>> nes_lab.measure_latency({"linear": torch.nn.Linear(8, 8)}, torch.randn(4, 8), pairs=3)["linear"].batch
        4
    """
    if not isinstance(models, Mapping) or not models:
        raise OptionError(f"models is a {type(models).__name__}; give the models by name, such as {{'dense': model}}")
    if pairs < 1:
        raise OptionError(f"pairs={pairs!r}; at least one round must be timed")
    first = next((leaf for leaf in tree_iter(x) if isinstance(leaf, Tensor)), None)
    if first is None or not first.ndim:
        raise OptionError(
            f"x is a {type(x).__name__} without a tensor that has a batch axis; give an input of the models"
        )
    times: dict[str, list[float]] = {name: [] for name in models}
    with ExitStack() as block:
        for model in models.values():
            block.enter_context(evaluating(model, x))
        for round_number in range(warmup + pairs):
            for name, model in models.items():
                elapsed = _forward_ms(model, x, first.device)
                if round_number >= warmup:
                    times[name].append(elapsed)
    reports = LatencyReports((name, _summary(values, first)) for name, values in times.items())
    reports.rounds_ms = times
    return reports


def measure_peak_memory(step: Callable[[], object], device: torch.device | str = "cpu") -> int:
    """Return the peak memory of a function call in bytes.

    The peak is the largest total size of the tensors that the call has created and not yet freed.

    Tensors that existed before the call, such as parameters, do not count. Gradients and tensors that autograd saves do count.

    How the peak is measured depends on the device:

    - On CUDA, torch's memory allocator reports the peak. Memory that was in use before the call is subtracted.
    - On other devices, the sizes of the tensors that operations return are added up. Memory that an operation uses only
      internally is not counted.

    Args:
        step: Function without arguments that is called once. It can run a forward and backward pass, for example.
        device: Device on which the function computes.

    Raises:
        OptionError: If ``step`` cannot be called.

    Examples:
        >>> import torch, nes_lab
        >>> nes_lab.measure_peak_memory(lambda: torch.zeros(1000) + 1)  # two tensors of 4000 bytes at once
        8000
    """
    if not callable(step) or isinstance(step, nn.Module):
        given = type(step).__name__ if isinstance(step, nn.Module) else repr(step)
        raise OptionError(f"step={given}; give a function of no arguments, such as one that runs forward and backward")
    try:
        device = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise OptionError(f"device={device!r} is not a device; give 'cpu' or 'cuda'") from error
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        step()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - before
    with _LiveBytes() as live:
        step()
    return live.peak


def _forward_ms(model: nn.Module, x: Any, device: torch.device) -> float:
    _wait(device)
    begin = time.perf_counter()
    run_example(model, x)
    _wait(device)
    return (time.perf_counter() - begin) * 1e3


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _summary(values: list[float], x: Tensor) -> LatencyReport:
    ordered = torch.tensor(values, dtype=torch.float64)
    device = torch.cuda.get_device_name(x.device) if x.device.type == "cuda" else x.device.type
    return LatencyReport(
        median_ms=float(ordered.median()),
        p90_ms=float(ordered.quantile(0.9)),
        repeats=len(values),
        batch=x.shape[0],
        threads=torch.get_num_threads(),
        device=device,
        dtype=str(x.dtype).removeprefix("torch."),
        low_ms=quartiles(values)[0],
        high_ms=quartiles(values)[2],
    )


class _LiveBytes(TorchDispatchMode):
    """Follows the total size of the tensors that operations return, and remembers the largest total. Freed tensors do not count."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = {id(s) for s in self._storages((args, kwargs))}
        out = func(*args, **(kwargs or {}))
        for storage in self._storages(out):
            if id(storage) not in given and id(storage) not in self._known:
                self._follow(storage)
        return out

    @staticmethod
    def _storages(tree: Any) -> list[torch.UntypedStorage]:
        tensors = [leaf for leaf in tree_iter(tree) if isinstance(leaf, torch.Tensor)]
        return [tensor.untyped_storage() for tensor in tensors if tensor.layout == torch.strided]

    def _follow(self, storage: torch.UntypedStorage) -> None:
        size, key = storage.nbytes(), id(storage)
        self._known.add(key)
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._gone, key, size)

    def _gone(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.now -= size
