"""Prepare a model for tracing, run a tracer, and explain its errors, for the exporters to ONNX and torch.export.

Tests: tests/export/test_onnx.py
"""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import torch
from torch import nn

from nes_lab.errors import ExportError, OptionError
from nes_lab.export.example import ExampleInput
from nes_lab.export.graph import choose_executions_, prepare_for_export
from nes_lab.records.options import ExportForm

__all__ = ["chosen_tolerance", "prepare_trace", "quiet_exporters", "root_cause", "run_tracer"]

_T = TypeVar("_T")
_LOGGERS = ("torch.onnx", "torch.export", "torch.fx.experimental.symbolic_shapes", "onnxscript")
_FAILURES = (RuntimeError, ValueError, TypeError, NotImplementedError, AssertionError, LookupError, AttributeError)


def prepare_trace(
    model: nn.Module, example: ExampleInput, form: ExportForm, dynamic: bool
) -> tuple[nn.Module, ExampleInput, Any]:
    """Prepare a model and an example input for tracing.

    Args:
        model: The model to export; it does not change.
        example: The example input.
        form: ``"materialized"`` (plain layers) or ``"factored"`` (layers that compute with the epitomes).
        dynamic: True if the exported file should accept any batch size.

    Returns:
        The model in the given form, the arguments to trace it with, and the argument ``dynamic_shapes`` of ``torch.export``.
        The last one says which axes may change in length; None means that all lengths are fixed.

    Raises:
        OptionError: If ``dynamic`` is True and the example has no batch axis.
    """
    graph = prepare_for_export(model, form)
    choose_executions_(graph, example)
    if not dynamic:
        return graph, example, None
    if not example.batch:
        raise OptionError(
            "example_input has no batch axis, or an empty one; give an example with a batch, or dynamic_batch=False"
        )
    many = example.with_batch(2) if example.batch == 1 else example  # tracers treat an axis of length 1 as fixed
    return graph, many, many.dynamic_shapes()


def run_tracer(trace: Callable[[], _T], what: str, dynamic: bool, verbose: bool = False) -> _T:
    """Call a function that traces a model, and return what the function returns.

    Args:
        trace: The function to call, without arguments.
        what: How the model is exported, for the message, such as ``"to ONNX"``.
        dynamic: True if the exported file should accept any batch size.
        verbose: Let the tracer print its messages and graphs on standard error.

    Raises:
        ExportError: If tracing fails; the message gives the reason.
    """
    try:
        with contextlib.nullcontext() if verbose else quiet_exporters(), torch.no_grad():
            return trace()
    except _FAILURES as error:
        hint = (
            "; some models can be exported only with dynamic_batch=False, which fixes the batch size" if dynamic else ""
        )
        raise ExportError(f"the model cannot be exported {what}: {root_cause(error)}{hint}") from error


def chosen_tolerance(tolerance: float | None, dtype: torch.dtype) -> float:
    """Return the tolerance of an export: the given one, or the default for a dtype.

    The default is 1e-4. For dtypes with large rounding errors it is ten times the error of one operation: 0.01 for float16,
    and 0.08 for bfloat16.

    Args:
        tolerance: The tolerance that was asked for; None: the default.
        dtype: The least precise dtype in the model.

    Raises:
        OptionError: If the tolerance is not a number above 0; the message quotes it.

    Examples:
        >>> chosen_tolerance(None, torch.float32), chosen_tolerance(None, torch.float16)
        (0.0001, 0.009765625)
    """
    if tolerance is None:
        return max(1e-4, 10 * torch.finfo(dtype).eps)
    if isinstance(tolerance, bool) or not isinstance(tolerance, int | float) or not tolerance > 0:
        raise OptionError(f"tolerance={tolerance!r}; give a number above 0, or None for the default of the dtype")
    return tolerance


@contextlib.contextmanager
def quiet_exporters() -> Iterator[None]:
    """Silence the warnings, log messages and printed graphs of torch's exporters inside the ``with`` block.

    The messages are not needed, because the exported file is checked afterwards.
    """
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def root_cause(error: BaseException) -> str:
    """Return the class and message of the error that first caused ``error``, in one line."""
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{type(error).__name__}: {' '.join(str(error).split())[:400]}"
