"""Compare the outputs of an exported file with those of PyTorch, and measure how long both take.

Tests: tests/export/test_onnx.py
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

from nes_lab.cost.probe import evaluating, run_example
from nes_lab.cost.timing import time_rounds
from nes_lab.errors import ExportError
from nes_lab.export.example import ExampleInput, outputs_of
from nes_lab.export.trace import root_cause

__all__ = ["compare_outputs", "fixed_batch_text", "verify_file"]

_SECONDS, _ROUNDS = 1.0, 20


def verify_file(
    call: Callable[[ExampleInput], list[Tensor]],
    model: nn.Module,
    example: ExampleInput,
    tolerance: float,
    dynamic: bool,
    what: str,
) -> dict[str, Any]:
    """Run an exported file on the example input, compare its outputs with those of the model, and time both.

    If the file accepts any batch size, it is run and compared with a second batch size too.

    Args:
        call: Function that runs the file on an example input and returns the file's outputs.
        model: The model that was exported.
        example: Example input for the file and the model.
        tolerance: Largest allowed difference of the outputs, divided by the output's largest entry.
        dynamic: True if the file accepts any batch size.
        what: Kind of file, for messages, such as ``"the ONNX file"``.

    Returns:
        The fields of an :class:`~nes_lab.export.report.ExportReport` about the comparison and the times.

    Raises:
        ExportError: If the outputs differ by more than ``tolerance``.
    """
    examples = [example, example.with_batch(2 if example.batch == 1 else 1)] if dynamic else [example]
    differences = [compare_outputs(_run(call, e, example), outputs_of(model, e), tolerance, what) for e in examples]
    arguments = dict(example.kwargs) or example.args
    with evaluating(model, arguments), torch.inference_mode():
        contenders = {"torch": lambda: run_example(model, arguments), "file": lambda: call(example)}
        times = time_rounds(contenders, example.tensors[0].device, _SECONDS, most=_ROUNDS, untimed=1)
    return {
        "batches": tuple(e.batch for e in examples),
        "largest_difference": max(absolute for absolute, _ in differences),
        "relative_difference": max(relative for _, relative in differences),
        "tolerance": tolerance,
        "exported_ms": median(times["file"]),
        "torch_ms": median(times["torch"]),
        "threads": torch.get_num_threads(),
    }


def _run(call: Callable[[ExampleInput], list[Tensor]], example: ExampleInput, first: ExampleInput) -> list[Tensor]:
    """Run an exported file on an example input. If it runs only the first example, say that the batch size is fixed."""
    try:
        return call(example)
    except (ExportError, RuntimeError, ValueError, AssertionError) as error:
        if example is first:
            raise
        raise ExportError(f"{fixed_batch_text(first.batch)} ({root_cause(error)})") from error


def fixed_batch_text(batch: int) -> str:
    """Return the message that a model accepts one batch size only, and what to do."""
    return (
        f"the model's forward fixes the batch size to that of the example, {batch}; give dynamic_batch=False to export it for "
        "this size only, or compute the size from the input, as in x.view(x.shape[0], -1)"
    )


def compare_outputs(
    outputs: Sequence[Tensor],
    expected: Sequence[Tensor],
    tolerance: float,
    what: str,
    then: str = "nothing was written",
) -> tuple[float, float]:
    """Return the largest difference between the outputs of an exported file and of its model.

    Args:
        outputs: Outputs of the file.
        expected: Outputs of the model.
        tolerance: Largest relative difference allowed: the difference divided by the largest entry of the model's output.
        what: Kind of file, for messages, such as ``"the ONNX file"``.
        then: What follows if they differ too much, for messages.

    Returns:
        The largest absolute difference and the largest relative difference.

    Raises:
        ExportError: If the number or shapes of the outputs differ, or the relative difference is above ``tolerance``.

    Examples:
        >>> compare_outputs([torch.tensor([1.0, 2.0])], [torch.tensor([1.0, 2.5])], 0.5, "a file")
        (0.5, 0.2)
    """
    shapes = [[tuple(t.shape) for t in tensors] for tensors in (outputs, expected)]
    if shapes[0] != shapes[1]:
        raise ExportError(f"{what} returns outputs of shapes {shapes[0]} where PyTorch returns {shapes[1]}; {then}")
    largest = share = 0.0
    for output, reference in zip(outputs, expected, strict=True):
        absolute, relative = _difference(output.detach().cpu().double(), reference.detach().cpu().double())
        if not relative <= tolerance:
            raise ExportError(
                f"{what} differs from PyTorch by {absolute:.3g}, which is {relative:.2g} of the largest entry of the output "
                f"and more than tolerance={tolerance:g}; {then}"
            )
        largest, share = max(largest, absolute), max(share, relative)
    return largest, share


def _difference(output: Tensor, reference: Tensor) -> tuple[float, float]:
    if not reference.numel():
        return 0.0, 0.0
    absolute, scale = float((output - reference).abs().max()), float(reference.abs().max())
    return absolute, absolute / scale if scale else absolute
