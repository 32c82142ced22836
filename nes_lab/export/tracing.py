"""What every exporter does before and around tracing."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import torch
from torch import nn

from nes_lab.errors import ExportError, OptionError
from nes_lab.export.graph import exportable
from nes_lab.export.inputs import Example, outputs_of

__all__ = ["check_tolerance", "quiet", "short", "traceable", "traced"]

_T = TypeVar("_T")
_FAILURES = (RuntimeError, ValueError, TypeError, NotImplementedError, AssertionError, LookupError, AttributeError)


def traceable(model: nn.Module, example: Example, form: str, dynamic: bool) -> tuple[nn.Module, Example, Any]:
    """The model in the form asked for, arguments to trace it with, and its dynamic shapes."""
    graph = exportable(model, form)
    outputs_of(graph, example)  # the first call decides the execution plans
    if not dynamic:
        return graph, example, None
    if not example.batch:
        raise OptionError("example_input has no batch axis of one entry or more; give one, or dynamic_batch=False")
    many = example.with_batch(2) if example.batch == 1 else example  # of one entry a tracer takes the axis as fixed
    return graph, many, many.dynamic_shapes()


def traced(trace: Callable[[], _T], what: str, dynamic: bool) -> _T:
    """The result of a tracer.

    Raises:
        ExportError: If it fails; gives its reason.
    """
    try:
        with quiet(), torch.no_grad():
            return trace()
    except _FAILURES as error:
        hint = "; with dynamic_batch=False the batch is fixed, which some models need" if dynamic else ""
        raise ExportError(f"the model cannot be exported {what}: {short(error)}{hint}") from error


def check_tolerance(tolerance: object) -> None:
    """Refuse a tolerance that is none."""
    if isinstance(tolerance, bool) or not isinstance(tolerance, int | float) or not tolerance > 0:
        raise OptionError(f"tolerance={tolerance!r}; give a number above 0")


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without the exporters' remarks on their own progress; what matters is checked after them."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "onnxscript")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def short(error: BaseException) -> str:
    """The cause at the root of an error, in a line."""
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{type(error).__name__}: {' '.join(str(error).split())[:400]}"
