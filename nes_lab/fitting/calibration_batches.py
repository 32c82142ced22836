"""Read model inputs from the arguments ``calibration`` and ``norms``: a data loader or a list of batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import is_dataclass
from typing import Any

from torch import Tensor, nn

from nes_lab.cost.batch_pair import check_pair
from nes_lab.errors import OptionError

__all__ = ["calibration_batches", "number_of_batches"]

_FORMS = "give a list of batches, each a tensor, (inputs, labels), or a dict of arguments"


def calibration_batches(argument: str, batches: Any, model: nn.Module | None = None) -> Iterator[Any]:
    """Yield the model input of each calibration batch.

    Everywhere in NES Lab an input of a model, such as ``example_input``, is a tensor, a tuple of positional arguments or a dict
    of keyword arguments. A batch is an input, or a pair of an input and its labels. A tuple is always such a pair:

    - a tensor, or a dict of keyword arguments: the input;
    - ``(images, labels)``: the first entry is the input, and the labels are not used;
    - ``((a, b), labels)``: the input ``(a, b)`` of a model with several arguments; without labels, ``((a, b), None)``. Each argument is
      a tensor or a dataclass.

    Args:
        argument: Name to use for ``batches`` in error messages, such as ``"norms"``.
        batches: An iterable of batches. One tensor or one dict counts as one batch.
        model: The model; with it, a pair is refused that can only be meant as two arguments, and one that may be meant so gives a
            warning (:func:`~nes_lab.cost.batch_pair.check_pair`). None: this is not checked.

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
    if isinstance(batches, tuple) and any(isinstance(entry, Tensor) for entry in batches):
        raise OptionError(f"{argument} is a tuple of tensors, which may be one batch or several; {_FORMS}")
    number = -1
    for number, batch in enumerate(batches):
        x = batch[0] if isinstance(batch, tuple | list) and batch else batch
        is_several = (
            isinstance(x, tuple | list) and bool(x) and all(isinstance(p, Tensor) or is_dataclass(p) for p in x)
        )
        if not (isinstance(x, Tensor | Mapping) or is_several):
            raise OptionError(f"{argument}: batch {number} is a {type(batch).__name__} of {type(x).__name__}; {_FORMS}")
        if model is not None and number == 0 and isinstance(batch, tuple | list) and isinstance(x, Tensor):
            check_pair(argument, batch, model)
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
