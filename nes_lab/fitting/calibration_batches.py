"""Batches to calibrate with: what a data loader gives, or a few tensors, brought to one form or refused."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from torch import Tensor

from nes_lab.errors import OptionError

__all__ = ["batches_of"]


def batches_of(argument: str, value: Any) -> Iterator[Any]:
    """The model inputs in a loader or list of batches.

    A batch is a tensor; a tuple or list whose first entry is the input, as loaders give ``(images, labels)``, the rest being left
    alone; or a dict of keyword arguments. A model with several positional inputs takes ``((a, b), labels)``.

    Args:
        argument: Its name, for messages.
        value: An iterable of batches; one tensor or one dict is one batch.

    Raises:
        OptionError: If it is nothing of that kind, or holds no batch; when that is noticed, while reading.

    Examples:
        >>> [x.shape for x in batches_of("norms", [(torch.zeros(2, 3), torch.zeros(2)), torch.zeros(4, 3)])]
        [torch.Size([2, 3]), torch.Size([4, 3])]
    """
    if isinstance(value, Tensor | Mapping):
        value = [value]
    if isinstance(value, str | bytes) or not isinstance(value, Iterable):
        raise OptionError(f"{argument} is a {type(value).__name__}; give a data loader, or a list of batches")
    number = -1
    for number, batch in enumerate(value):
        x = batch[0] if isinstance(batch, tuple | list) and batch else batch
        several = isinstance(x, tuple | list) and bool(x) and all(isinstance(part, Tensor) for part in x)
        if not (isinstance(x, Tensor | Mapping) or several):
            raise OptionError(
                f"{argument}: batch {number} is a {type(batch).__name__} of {type(x).__name__}; a batch is a tensor, "
                "(inputs, labels), or a dict of arguments"
            )
        yield x
    if number < 0:
        raise OptionError(f"{argument} holds no batch; give at least one")
