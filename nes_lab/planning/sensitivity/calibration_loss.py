"""Compute the loss of a model on calibration data, with one weight replaced at a time.

Tests: tests/planning/sensitivity/test_measure.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from torch import Tensor, nn
from torch.utils._pytree import tree_iter

from nes_lab.cost.batch_pair import check_pair
from nes_lab.cost.probe import evaluating, run_example
from nes_lab.errors import OptionError

__all__ = ["CalibrationLoss", "Loss", "read_batches"]

Loss = Callable[[Any, Any], Tensor]


class CalibrationLoss:
    """Computes the loss of a model on calibration data. One weight of the model can be replaced for this.

    Args:
        model: The model; :meth:`loss_with` changes a weight and restores it afterwards.
        batches: Batches of ``(input, target)``, from :func:`read_batches`.
        loss: Function that takes the model's output and the target, and returns the mean loss over the batch.
    """

    def __init__(self, model: nn.Module, batches: list[tuple[Any, Any]], loss: Loss) -> None:
        self.model, self.batches, self._loss = model, batches, loss
        self.samples = sum(_length(target) for _, target in batches)
        self.name = getattr(loss, "__qualname__", type(loss).__qualname__)

    def tensors(self) -> list[Tensor]:
        """Return a list of all tensors in the calibration batches, both inputs and targets."""
        return [leaf for leaf in tree_iter(self.batches) if isinstance(leaf, Tensor)]

    def loss(self) -> float:
        """Return the mean loss of the model over all calibration samples.

        Raises:
            OptionError: If the loss function cannot take the model's output and the target.
        """
        total = 0.0
        with evaluating(self.model, self.batches):
            for inputs, target in self.batches:
                output = run_example(self.model, inputs)
                total += self._value(output, target) * _length(target)
        return total / self.samples

    def _value(self, output: Any, target: Any) -> float:
        try:
            return float(self._loss(output, target))
        except (RuntimeError, ValueError, TypeError, IndexError, AttributeError) as error:
            raise OptionError(f"loss={self.name} cannot take the model's output and the target: {error}") from error

    def loss_with(self, weight: Tensor, other: Tensor) -> float:
        """Return the model's mean loss while one weight has other values. Afterwards the weight is restored.

        Args:
            weight: Parameter of the model, or a tensor that shares its memory.
            other: The other values, a tensor of the same shape.
        """
        before = weight.clone()
        try:
            weight.copy_(other)
            return self.loss()
        finally:
            weight.copy_(before)


def _length(target: Any) -> int:
    return len(target) if isinstance(target, Tensor) and target.ndim else 1


def read_batches(calibration: Any, model: nn.Module) -> list[tuple[Any, Any]]:
    """Return calibration batches as a list of ``(input, target)``.

    Args:
        calibration: Batches from the user.
        model: The model; a warning is given if a target may be meant as an argument of it.

    Raises:
        OptionError: If there is no batch, a batch is not a pair, or the model needs several arguments.
    """
    expected = "give batches of (input, target), such as a data loader"
    if isinstance(calibration, Tensor | Mapping | str) or not isinstance(calibration, Iterable):
        raise OptionError(f"calibration is a {type(calibration).__name__}; {expected}")
    batches = list(calibration)
    if not batches:
        raise OptionError(f"calibration has no batches; {expected}")
    for batch in batches:
        if not isinstance(batch, tuple | list) or len(batch) != 2:
            raise OptionError(f"calibration holds a {type(batch).__name__} where a pair is expected; {expected}")
    if isinstance(batches[0][0], Tensor):
        check_pair("calibration", batches[0], model, targets_used=True)
    return [(inputs, target) for inputs, target in batches]
