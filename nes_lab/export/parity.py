"""Whether a file gives what PyTorch gives, and how long both take."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

from nes_lab.cost.count import evaluating, run_example
from nes_lab.cost.timing import time_rounds
from nes_lab.errors import ExportError
from nes_lab.export.inputs import Example, outputs_of

__all__ = ["agreement", "verified"]

_SECONDS, _ROUNDS = 1.0, 20


def verified(
    call: Callable[[Example], list[Tensor]],
    model: nn.Module,
    example: Example,
    tolerance: float,
    dynamic: bool,
    what: str,
) -> dict[str, Any]:
    """Run a file on the example and, where its batch is open, on another batch size; compare; then time it.

    Args:
        call: Runs the file.
        model: What it must agree with.
        example: Arguments of both.
        tolerance: Of :func:`agreement`.
        dynamic: Whether the batch is open.
        what: Name of the file's kind, for messages.

    Returns:
        Fields of an :class:`~nes_lab.export.report.ExportReport`.

    Raises:
        ExportError: If they do not agree.
    """
    examples = [example, example.with_batch(2 if example.batch == 1 else 1)] if dynamic else [example]
    found = [agreement(call(e), outputs_of(model, e), tolerance, what) for e in examples]
    arguments = dict(example.kwargs) or example.args
    with evaluating(model), torch.inference_mode():
        contenders = {"torch": lambda: run_example(model, arguments), "file": lambda: call(example)}
        times = time_rounds(contenders, example.tensors[0].device, _SECONDS, most=_ROUNDS)
    return {
        "batches": tuple(e.batch for e in examples),
        "largest_difference": max(absolute for absolute, _ in found),
        "relative_difference": max(relative for _, relative in found),
        "tolerance": tolerance,
        "exported_ms": median(times["file"]),
        "torch_ms": median(times["torch"]),
        "threads": torch.get_num_threads(),
    }


def agreement(found: Sequence[Tensor], wanted: Sequence[Tensor], tolerance: float, what: str) -> tuple[float, float]:
    """Largest difference of two lists of outputs, absolute and as a share of the output's largest entry.

    Raises:
        ExportError: If there are other outputs, of other shapes, or the share is above ``tolerance``; names ``what``.

    Examples:
        >>> agreement([torch.tensor([1.0, 2.0])], [torch.tensor([1.0, 2.5])], 0.5, "a file")
        (0.5, 0.2)
    """
    shapes = [[tuple(t.shape) for t in outputs] for outputs in (found, wanted)]
    if shapes[0] != shapes[1]:
        raise ExportError(f"{what} puts out shapes {shapes[0]} where PyTorch puts out {shapes[1]}; nothing was written")
    largest = share = 0.0
    for mine, theirs in zip(found, wanted, strict=True):
        absolute, relative = _difference(mine.detach().cpu().double(), theirs.detach().cpu().double())
        if not relative <= tolerance:
            raise ExportError(
                f"{what} differs from PyTorch by {absolute:.3g}, {relative:.2g} of the largest entry of the output, where "
                f"tolerance={tolerance:g} is allowed; nothing was written"
            )
        largest, share = max(largest, absolute), max(share, relative)
    return largest, share


def _difference(mine: Tensor, theirs: Tensor) -> tuple[float, float]:
    if not theirs.numel():
        return 0.0, 0.0
    absolute, scale = float((mine - theirs).abs().max()), float(theirs.abs().max())
    return absolute, absolute / scale if scale else absolute
