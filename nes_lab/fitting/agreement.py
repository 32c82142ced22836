"""Compare the outputs of a fitted network with those of the dense network, on batches.

Tests: tests/fitting/test_agreement.py
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any

from torch import Tensor, nn
from torch.utils._pytree import tree_iter

from nes_lab.cost.left_as_it_was import left_as_it_was
from nes_lab.cost.probe import evaluating, input_shape, run_example
from nes_lab.fitting.calibration_batches import calibration_batches, number_of_batches
from nes_lab.progress_bar import OnProgress

__all__ = ["Agreement", "keep_first", "measure_agreement"]

MAX_EXAMPLES = 512
"""Number of examples that are enough for a share: its standard error is then about two percent."""

LARGEST_ERROR = 1e6
"""Relative output error to record if an output is not finite."""


@dataclass(frozen=True)
class Agreement:
    """Result of comparing the outputs of a fitted network with those of the dense network.

    Args:
        same_top1: Share of examples for which both networks have the same largest output; None: the outputs are not of the
            shape ``(examples, classes)``.
        output_error: Norm of the difference of the outputs, relative to the norm of the dense network's outputs.
        examples: Number of compared examples.
    """

    same_top1: float | None = None
    output_error: float | None = None
    examples: int = 0


def keep_first(batches: Any) -> tuple[Any, Any]:
    """Return batches for a first pass, and batches of about 512 examples for a second one.

    An iterator can be read only once, so its first batches are kept in memory. A list or a loader is returned twice.

    Examples:
        >>> every, first = keep_first(iter([1, 2]))
        >>> first, list(every), keep_first([3])
        ([1, 2], [1, 2], ([3], [3]))
    """
    if not isinstance(batches, Iterator):
        return batches, batches
    kept: list[Any] = []
    examples = 0
    for batch in batches:
        kept.append(batch)
        examples += (*input_shape(batch), 1)[0]
        if examples >= MAX_EXAMPLES:
            break
    return chain(kept, batches), kept


def measure_agreement(
    dense: nn.Module, fitted: nn.Module, argument: str, batches: Any, report: OnProgress
) -> Agreement:
    """Run a dense network and its fitted copy on the first batches, and compare their outputs.

    Args:
        dense: The dense network. Both networks run in evaluation mode, and neither is changed.
        fitted: The fitted network.
        argument: Name to use for ``batches`` in error messages.
        batches: A data loader or a list of batches. At most about 512 examples are read.
        report: Function called with a :class:`~nes_lab.progress_bar.ProgressEvent` after each batch.

    Raises:
        OptionError: If a batch is not an input of the networks.
    """
    same, examples, wrong, energy, total = 0, 0, 0.0, 0.0, number_of_batches(batches)
    scores = True
    with evaluating(dense), evaluating(fitted):
        for done, x in enumerate(calibration_batches(argument, batches), start=1):
            wanted, given = _outputs(dense, x), _outputs(fitted, x)
            for a, b in zip(wanted, given, strict=True):
                wrong += float((a - b).double().square().sum())
                energy += float(a.double().square().sum())
            scores &= bool(wanted) and wanted[0].ndim == 2 and wanted[0].shape[1] > 1
            same += int((wanted[0].argmax(1) == given[0].argmax(1)).sum()) if scores else 0
            examples += (*input_shape(x), 1)[0]
            report({"done": done, "total": max(total, done), "phase": "comparison", "label": "with the dense network"})
            if examples >= MAX_EXAMPLES:
                break
    error = (wrong / energy) ** 0.5 if energy else wrong and LARGEST_ERROR
    error = error if error < LARGEST_ERROR else LARGEST_ERROR  # not finite either
    return Agreement(same / max(examples, 1) if scores else None, error, examples)


def _outputs(network: nn.Module, x: Any) -> list[Tensor]:
    """Return the floating-point tensors among a network's outputs, on the CPU."""
    with left_as_it_was(x):
        outputs = run_example(network, x)
        outputs = dict(outputs) if isinstance(outputs, Mapping) else outputs
        leaves = [
            leaf.detach().clone() for leaf in tree_iter(outputs) if isinstance(leaf, Tensor)
        ]  # x may be among them
    return [leaf.float().cpu() for leaf in leaves if leaf.is_floating_point()]
