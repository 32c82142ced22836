"""Check that the outputs of a network suit the classes of the data, before the first update of the weights.

Tests: tests/training/test_head.py.
"""

from __future__ import annotations

import warnings
from typing import Any

from torch import Tensor

from nes_lab.errors import OptionError
from nes_lab.training import distributed

__all__ = ["Head", "largest_class"]

FAR_MORE = 2
"""A head has far more outputs than classes if it has more than this many times as many."""


def largest_class(targets: Tensor) -> int:
    """Return the largest class number of a batch on the CPU; -1 if the targets are something else or lie on a GPU.

    Examples:
        >>> import torch
        >>> largest_class(torch.tensor([2, 0])), largest_class(torch.zeros(2, 3))
        (2, -1)
    """
    known = targets.device.type == "cpu" and targets.numel() > 0 and not targets.is_floating_point()
    return int(targets.max()) if known else -1


class Head:
    """Compares the outputs of a network, which are one score per class, with the classes of the data.

    With too few outputs, some classes could never be predicted, and on a GPU the training would crash. With too many, the first
    outputs would be trained for classes that the head does not mean.

    Args:
        classes: Number of classes of the data; 0: not known.
        may_have_more: True: more outputs than classes give a warning, because there may be classes without an example. False:
            they are refused.

    Examples:
        >>> import torch
        >>> Head(10).check(torch.zeros(2, 10), largest=9)
        >>> Head(10).check(torch.zeros(2, 5), largest=9)
        Traceback (most recent call last):
        nes_lab.errors.OptionError: the data has 10 classes, but the network has 5 outputs; ...
    """

    def __init__(self, classes: int, may_have_more: bool = False) -> None:
        self.classes, self.may_have_more = classes, may_have_more
        self.note = ""
        """What was warned about; empty if nothing was."""
        self._outputs, self._largest = 0, -1
        self._seen: set[int] = set()  # two classes are enough

    def see(self, targets: Tensor) -> int:
        """Remember the classes of a batch of training targets, and return its largest one; -1 if it is not known."""
        largest = largest_class(targets)
        self._largest = max(self._largest, largest)
        if largest >= 0 and len(self._seen) < 2:
            self._seen.update(targets[targets >= 0].unique().tolist())
        return largest

    def guessed_classes(self) -> int:
        """Return among how many classes an untrained network guesses; 0 if it is not known.

        It has a score for each of its outputs. 1: all targets are of one class.
        """
        may_be_other = self.may_have_more or not self.classes
        if may_be_other and len(self._seen) == 1 and distributed.world_size() == 1:
            return 1
        classes = self.classes or self._largest + 1
        return max(classes, self._outputs) if classes > 1 else classes

    def notes(self) -> tuple[str, ...]:
        """Return a sentence if the network has more outputs than the data has classes.

        If the classes are not known, the targets seen so far tell them, and only far more outputs count.
        """
        seen = self._largest + 1
        if not self.classes and 0 < FAR_MORE * seen < self._outputs:
            return (_first_outputs(self._outputs, seen),)
        return (self.note,) if self.note else ()

    def check(self, outputs: Any, largest: int) -> None:
        """Compare the outputs for a batch with the number of classes and with the largest class number of the batch.

        Args:
            outputs: What the network returned. Anything else than scores ``(N, outputs, ...)`` is not compared.
            largest: Largest class number of the batch; -1 if it is not known.

        Raises:
            OptionError: If there are too few outputs, or too many for classes that are known.
        """
        if not isinstance(outputs, Tensor) or outputs.ndim < 2:
            return
        count = outputs.shape[1]
        self._outputs = count if outputs.ndim == 2 else 0
        if count < self.classes:
            raise OptionError(
                f"the data has {self.classes:,} classes, but the network has {count:,} outputs; {_way_out(self.classes)}"
            )
        if count <= largest:
            raise OptionError(
                f"the targets reach up to class {largest:,}, but the network has {count:,} outputs; {_way_out(largest + 1)}"
            )
        if self.classes and count > self.classes and outputs.ndim == 2:
            self._too_many(count)

    def _too_many(self, count: int) -> None:
        if not self.may_have_more:
            raise OptionError(
                f"{_more(count, self.classes)}: its labels 0 to {self.classes - 1} would stand for the first outputs, whatever "
                f"these mean; {_way_out(self.classes)}, or say which {count:,} classes there are: as_dataset(data, classes=...)"
            )
        if not self.note:
            self.note = _first_outputs(count, self.classes)
            warnings.warn(self.note, stacklevel=2)


def _more(outputs: int, classes: int) -> str:
    return f"the network has {outputs:,} outputs, but the data has {classes:,} classes"


def _first_outputs(outputs: int, classes: int) -> str:
    return f"{_more(outputs, classes)} among its targets; labels 0 to {classes - 1} stand for the first outputs"


def _way_out(classes: int) -> str:
    return f"give it a classifier with {classes:,} outputs (network.reset_classifier({classes}) for timm's networks)"
