"""Check that a pair in a list of batches is an input and its labels, where it may be meant as two arguments of the network.

Tests: tests/cost/test_batch_pair.py
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from nes_lab.errors import OptionError, warn_user

__all__ = ["check_pair"]

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_NO_TENSORS = (bool, int, float, str)
_LABEL_NAMES = ("label", "target")
_FORMS = "write ((a, b), labels), ((a, b), None) or a dict of arguments"


def check_pair(argument: str, batch: Sequence[Any], model: nn.Module, targets_used: bool = False) -> None:
    """Refuse a batch that the network cannot take, and warn if its second entry may be meant as an argument.

    Args:
        argument: Name to use for the batches in messages, such as ``"calibration"``.
        batch: The first batch: an input, and what is read as its labels.
        model: The network that is called with the input.
        targets_used: True if the second entry is needed as the target of a loss. Then only a mask is questioned.

    Raises:
        OptionError: If the network needs several arguments.

    Examples:
        >>> import torch
        >>> check_pair("calibration", (torch.zeros(2, 3), torch.zeros(2)), nn.Linear(3, 1))
    """
    try:
        parameters = inspect.signature(model.forward).parameters.values()
    except (TypeError, ValueError):  # a forward written in another language
        return
    places, name = [p for p in parameters if p.kind in _POSITIONAL], type(model).__name__
    several = f"Wrap {name} in a module of one argument" if targets_used else f"For two arguments {_FORMS}"
    if sum(p.default is p.empty for p in places) > 1:
        raise OptionError(
            f"{argument}: batch 0 holds one input and its labels, but {name} takes several arguments. {several}"
        )
    rest = [part for part in batch[1:] if isinstance(part, Tensor)]
    second = places[1] if len(places) > 1 else None
    if len(batch) > 2 or (second is not None and any(_may_be(second, part, targets_used) for part in rest)):
        besides = "" if second is None else f", though its forward also takes {second.name}="
        labels = "" if targets_used else ", or ((x,), labels) to confirm that they are labels"
        warn_user(
            f"{argument}: only the first entry of each batch is used as an input of {name}{besides}; the others count as labels. "
            f"{several}{labels}"
        )


def _may_be(parameter: inspect.Parameter, part: Tensor, targets_used: bool) -> bool:
    """Return True if a tensor beside the input may be meant as a network's second argument."""
    kinds = (*_NO_TENSORS, *(kind.__name__ for kind in _NO_TENSORS))
    if isinstance(parameter.default, _NO_TENSORS) or parameter.annotation in kinds:
        return False
    if any(word in parameter.name for word in _LABEL_NAMES) or parameter.name == "y":
        return False
    is_mask = "mask" in parameter.name
    return part.ndim > 1 if is_mask else not targets_used
