"""Read model inputs from the arguments ``calibration`` and ``norms``: a data loader or a list of batches.

Tests: tests/fitting/test_fit.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from torch import Tensor

from nes_lab.errors import OptionError

__all__ = ["calibration_batches", "number_of_batches"]


def calibration_batches(argument: str, batches: Any) -> Iterator[Any]:
    """Yield the model input of each calibration batch.

    A batch has one of these forms:

    - a tensor;
    - a dict of keyword arguments of the model;
    - a tuple or list, such as ``(images, labels)``: its first entry is the input, and the other entries are ignored;
    - ``((a, b), labels)``, for a model with several positional inputs.

    Args:
        argument: Name to use for ``batches`` in error messages, such as ``"norms"``.
        batches: An iterable of batches. One tensor or one dict counts as one batch.

    Raises:
        OptionError: If there is no batch, or a batch has another form. A wrong form is reported when the batch is read.

    Examples:
        >>> [x.shape for x in calibration_batches("norms", [(torch.zeros(2, 3), torch.zeros(2)), torch.zeros(4, 3)])]
        [torch.Size([2, 3]), torch.Size([4, 3])]
    """
    if isinstance(batches, Tensor | Mapping):
        batches = [batches]
    if isinstance(batches, str | bytes) or not isinstance(batches, Iterable):
        raise OptionError(f"{argument} is a {type(batches).__name__}; give a data loader, or a list of batches")
    number = -1
    for number, batch in enumerate(batches):
        x = batch[0] if isinstance(batch, tuple | list) and batch else batch
        is_several = isinstance(x, tuple | list) and bool(x) and all(isinstance(part, Tensor) for part in x)
        if not (isinstance(x, Tensor | Mapping) or is_several):
            raise OptionError(
                f"{argument}: batch {number} is a {type(batch).__name__} of {type(x).__name__}; a batch is a tensor, "
                "(inputs, labels), or a dict of arguments"
            )
        yield x
    if number < 0:
        raise OptionError(f"{argument} holds no batch; give at least one")


def number_of_batches(batches: Any) -> int:
    """Return the number of batches in a loader or list; 0 if the number is not known in advance.

    Examples:
        >>> number_of_batches([torch.zeros(1), torch.zeros(1)]), number_of_batches(iter([torch.zeros(1)]))
        (2, 0)
    """
    return len(batches) if hasattr(batches, "__len__") and not isinstance(batches, Tensor | Mapping) else 0
