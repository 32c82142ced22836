"""Describe what a training measures: metrics by name, each with the direction that is better.

Tests: tests/training/test_task.py
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from nes_lab.errors import OptionError

__all__ = [
    "ACCURACY",
    "AnyMetric",
    "Metric",
    "Total",
    "as_metrics",
    "call_named",
    "detached",
    "in_float32",
    "mean_of",
    "top_hits",
    "total_of",
]

RESERVED = ("step", "epoch", "split", "loss", "lr", "images_per_s", "attempt", "time", "seconds", "seed", "device", "threads",
            "params", "learner_params", "madds", "dense_params", "dense_madds", "latency_ms", "latency_p90_ms", "epochs",
            "precision", "processes", "torch", "val_loss", "stored_bytes", "cpu_percent", "memory_bytes", "memory_percent",
            "gpu_memory_bytes", "gpu_memory_percent")  # fmt: skip
"""Keys of the rows of metrics and of the summary of a run, which no metric may have as its name."""


@dataclass(frozen=True)
class Metric:
    """A number that says how good the outputs of a network are, and whether higher or lower is better.

    The function returns one of these for a batch:

    - a number: the mean over the examples of the batch
    - a tensor with one value per example or per pixel: the metric is the mean of all values
    - a pair of numbers ``(sum, count)``: both are added up over all batches, and the metric is the total sum divided by the
      total count
    - a pair of vectors ``(sums, counts)``, for example with one entry per class: each entry is treated like a pair of
      numbers, and the metric is the mean over the entries whose total count is not 0

    Args:
        function: Called as ``function(outputs, targets)`` for each batch, without gradients.
        better: ``"higher"`` or ``"lower"``.
        finish: Called with the metric over all batches; it returns the number to report. None: the metric itself.

    Raises:
        OptionError: If an argument has another form.

    Examples:
        >>> import math, nes_lab
        >>> nes_lab.Metric(lambda outputs, targets: (outputs - targets).square(), "lower", finish=math.sqrt).better
        'lower'
    """

    function: Callable[[Any, Tensor], Any]
    better: Literal["higher", "lower"] = "higher"
    finish: Callable[[float], float] | None = None

    def __post_init__(self) -> None:
        if isinstance(self.function, type):
            name = self.function.__name__
            raise OptionError(f"function={name} of a metric is a class; give an object that was made with it: {name}()")
        if not callable(self.function):
            raise OptionError(f"function={self.function!r} of a metric; give a function of (outputs, targets)")
        if self.better not in ("higher", "lower"):
            raise OptionError(f"better={self.better!r} of a metric; say which is better, 'higher' or 'lower'")


AnyMetric = Metric | Callable[[Any, Tensor], Any] | tuple[Callable[[Any, Tensor], Any], Literal["higher", "lower"]]
"""A metric: a :class:`Metric`, a function whose higher values are better, or a pair ``(function, "higher" or "lower")``."""


def call_named(name: str, function: Callable[[Any, Tensor], Any], outputs: Any, targets: Tensor) -> Any:
    """Call a loss or a metric of the user's own. An error in it gets a note with its name.

    Examples:
        >>> call_named("metric 'ratio'", lambda outputs, targets: 1 / 0, None, torch.zeros(1))
        Traceback (most recent call last):
        ZeroDivisionError: division by zero
        metric 'ratio' raised this error
    """
    try:
        return function(outputs, targets)
    except Exception as error:
        error.add_note(f"{name} raised this error")
        raise


def top_hits(outputs: Tensor, targets: Tensor, k: int) -> Tensor:
    """Return 100 for each target that is among the ``k`` most likely classes, and 0 for the others.

    Args:
        outputs: Scores of the classes, ``(N, classes, ...)``.
        targets: Class numbers, ``(N, ...)``.
        k: Number of classes that count as hits.

    Examples:
        >>> top_hits(torch.tensor([[3.0, 1.0], [0.0, 2.0]]), torch.tensor([0, 0]), 1)
        tensor([100.,   0.])
    """
    chosen = outputs.topk(min(k, outputs.shape[1]), dim=1).indices
    return 100.0 * (chosen == targets.unsqueeze(1)).any(1)


def _top1(outputs: Tensor, targets: Tensor) -> Tensor:
    return top_hits(outputs, targets, 1)


def _top5(outputs: Tensor, targets: Tensor) -> Tensor:
    return top_hits(outputs, targets, 5)


ACCURACY: Mapping[str, Metric] = {"top1": Metric(_top1), "top5": Metric(_top5)}
"""The metrics of a training on classes: top-1 and top-5 accuracy in percent."""


def as_metrics(metrics: Mapping[str, AnyMetric]) -> dict[str, Metric]:
    """Check metrics by name, and return each as a :class:`Metric`, in the same order.

    Args:
        metrics: Name -> metric.

    Raises:
        OptionError: If a name or a metric has another form; the message says what is right.

    Examples:
        >>> list(as_metrics({"error": (lambda outputs, targets: (outputs - targets).abs(), "lower")}))
        ['error']
    """
    if not isinstance(metrics, Mapping):
        raise OptionError(f"metrics={metrics!r}; give a dict, name -> function of (outputs, targets)")
    return {_checked_name(name): _as_metric(name, metric) for name, metric in metrics.items()}


def _as_metric(name: str, metric: AnyMetric) -> Metric:
    if isinstance(metric, Metric):
        return metric
    if callable(metric):
        return Metric(metric)
    if isinstance(metric, tuple) and len(metric) == 2:
        return Metric(*metric)
    raise OptionError(
        f"metrics[{name!r}]={metric!r}; give a function of (outputs, targets), or a pair (function, 'lower') if lower is better"
    )


def _checked_name(name: object) -> str:
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z]\w{0,39}", name):
        raise OptionError(f"the metric's name {name!r} should be letters, digits and underscores, at most 40")
    if name in RESERVED or name.startswith(("ema_", "best_")):
        raise OptionError(f"the metric's name {name!r} is used for something else; choose another one")
    return name


class Total(NamedTuple):
    """The sum of a loss or metric over some examples, and the number by which it is divided."""

    sum: Tensor
    count: Tensor


def total_of(name: str, value: Any, examples: int, dtype: torch.dtype = torch.float64) -> Total:
    """Return the sum of a loss or a metric over a batch, and the count by which the sum is divided to give the mean.

    Both are vectors without gradients. In the example, the values 1 and 3 give the sum 4 and the count 2. The mean 2 of two
    examples gives the same.

    Args:
        name: Name of the loss or metric, for the error message.
        value: A mean over the batch, a tensor with one value per example or element, or a pair ``(sum, count)``.
        examples: Number of examples of the batch.
        dtype: Type of the numbers that are returned.

    Raises:
        OptionError: If ``value`` has another form.

    Examples:
        >>> [part.tolist() for part in total_of("error", torch.tensor([1.0, 3.0]), 2)], total_of("error", 2.0, 2).sum.tolist()
        ([[4.0], [2.0]], [4.0])
    """
    if _is_pair(value):
        total, count = (torch.atleast_1d(torch.as_tensor(part).detach().to(dtype)) for part in value)
        return Total(total, count.to(total.device).expand_as(total).clone())
    if isinstance(value, np.generic | np.ndarray):
        value = torch.as_tensor(value)
    if not isinstance(value, Tensor | int | float):
        raise _wrong_value(name, value)
    numbers = torch.as_tensor(value).detach().to(dtype)
    weight, count = (1, numbers.numel()) if numbers.ndim else (examples, examples)
    return Total((numbers.sum() * weight)[None], torch.full((1,), count, dtype=dtype, device=numbers.device))


def mean_of(name: str, value: Any) -> Tensor:
    """Return the mean of what a loss returned for a batch, with gradients.

    Args:
        name: Name of the loss, for the error message.
        value: A mean over the batch, a tensor with one value per example or element, or a pair ``(sum, count)``.

    Raises:
        OptionError: If ``value`` has another form.

    Examples:
        >>> float(mean_of("error", torch.tensor([1.0, 3.0]))), float(mean_of("error", (torch.tensor(6.0), 4)))
        (2.0, 1.5)
    """
    if _is_pair(value) and isinstance(value[0], Tensor):
        return (value[0] / value[1]).mean()
    if not isinstance(value, Tensor):
        raise _wrong_value(name, value)
    return value.mean() if value.ndim else value


def detached(value: Any) -> Any:
    """Return a tensor without its gradients; also the tensors inside tuples, lists and dicts.

    Examples:
        >>> detached((torch.ones(1, requires_grad=True), 3))
        (tensor([1.]), 3)
    """
    return _each(value, Tensor.detach)


def in_float32(value: Any) -> Any:
    """Return a tensor of half precision as float32; also the tensors inside tuples, lists and dicts.

    Examples:
        >>> in_float32({"scores": torch.ones(1, dtype=torch.bfloat16)})["scores"].dtype
        torch.float32
    """
    return _each(value, lambda tensor: tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor)


def _each(value: Any, function: Callable[[Tensor], Tensor]) -> Any:
    if isinstance(value, Tensor):
        return function(value)
    if type(value) in (tuple, list):
        return type(value)(_each(part, function) for part in value)
    if type(value) is dict:
        return {key: _each(part, function) for key, part in value.items()}
    return value


def _is_pair(value: object) -> bool:
    return isinstance(value, tuple | list) and len(value) == 2


def _wrong_value(name: str, value: object) -> OptionError:
    return OptionError(
        f"{name} returned a {type(value).__name__}; return a tensor: the mean, one value per example, or a pair (sum, count)"
    )
