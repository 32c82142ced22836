"""Check that the outputs of a network suit the classes of the data, before the first update of the weights.

Tests: tests/training/test_head.py.
"""

from __future__ import annotations

import warnings
from typing import Any

from torch import Tensor

from nes_lab.errors import OptionError

__all__ = ["Head", "largest_class"]


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
        about = f"the network has {count:,} outputs, but the data has {self.classes:,} classes"
        if not self.may_have_more:
            raise OptionError(
                f"{about}: its labels 0 to {self.classes - 1} would stand for the first outputs, whatever these mean; "
                f"{_way_out(self.classes)}, or say which {count:,} classes there are: as_dataset(data, classes=...)"
            )
        if not self.note:
            self.note = f"{about} among its targets; labels 0 to {self.classes - 1} stand for the first outputs"
            warnings.warn(self.note, stacklevel=2)


def _way_out(classes: int) -> str:
    return f"give it a classifier with {classes:,} outputs (network.reset_classifier({classes}) for timm's networks)"
