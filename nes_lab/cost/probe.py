"""Run a model once on an example input.

The model is in evaluation mode. Its attention layers use operations that torch's ``FlopCounterMode`` can count.

Tests: tests/cost/test_count.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._pytree import tree_iter

from nes_lab.cost.left_as_it_was import left_as_it_was
from nes_lab.errors import OptionError

__all__ = ["counting_kernels", "evaluating", "in_mode", "input_shape", "run_example"]

Model = TypeVar("Model", bound=nn.Module)


@contextmanager
def evaluating(model: nn.Module, *inputs: Any) -> Iterator[None]:
    """Put a model into evaluation mode, without gradients, in a ``with`` block.

    After the block, the model, the given inputs and the global state are bit for bit as before
    (:func:`~nes_lab.cost.left_as_it_was.left_as_it_was`).
    """
    with left_as_it_was(model, inputs):
        model.eval()
        with torch.no_grad():
            yield


def in_mode(model: Model, training: bool = False) -> Model:
    """Put a model into training or evaluation mode, and return it.

    ``model.eval()`` itself returns None if the model's class has a method ``train`` without a ``return``.

    Args:
        model: The model, which is changed in place.
        training: True: training mode. False: evaluation mode.

    Examples:
        >>> in_mode(nn.Dropout()).training
        False
    """
    model.train(training)
    return model


@contextmanager
def counting_kernels() -> Iterator[None]:
    """Turn off fused attention kernels in a ``with`` block.

    torch's ``FlopCounterMode`` does not count the operations of these kernels.
    """
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


def run_example(model: nn.Module, example_input: Any) -> Any:
    """Call a model with an example input: a tensor, a tuple of arguments or a dict of keyword arguments.

    Raises:
        OptionError: If the call fails; the message names the shape of the input and the reason.
    """
    parts = example_input if isinstance(example_input, tuple | list) else [example_input]
    if all(isinstance(part, int | float | str | np.ndarray) for part in parts):
        given = f"={example_input!r}" if parts is example_input else f" is a {type(example_input).__name__}"
        raise OptionError(
            f"example_input{given}; give a tensor with a batch axis, such as torch.zeros(1, 3, 224, 224), or a tuple of tensors"
        )
    try:
        if isinstance(example_input, Mapping):
            return model(**example_input)
        return model(*example_input) if isinstance(example_input, tuple | list) else model(example_input)
    except (RuntimeError, ValueError, TypeError, AssertionError, LookupError, AttributeError, ArithmeticError) as error:
        reason = next(iter(str(error).split("\n")), "") or type(error).__name__
        raise OptionError(
            f"example_input of shape {input_shape(example_input)}: {type(model).__name__} cannot run it: {reason}"
        ) from error


def input_shape(example_input: Any) -> tuple[int, ...]:
    """Return the shape of the first tensor in an example input; ``()`` if there is no tensor.

    Tensors inside lists, tuples and dicts are found too.
    """
    example_input = dict(example_input) if isinstance(example_input, Mapping) else example_input
    first = next((leaf for leaf in tree_iter(example_input) if isinstance(leaf, Tensor)), None)
    return () if first is None else tuple(first.shape)
