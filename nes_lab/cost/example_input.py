"""Describe an example input without its data, and make an input from such a description.

Tests: tests/cost/test_example_input.py
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

from nes_lab.errors import OptionError
from nes_lab.records.example_input import InputPart

__all__ = ["describe_input", "make_input"]


def describe_input(example_input: Any) -> InputPart:
    """Describe an example input: its structure, and the shapes and types of its tensors.

    Of a tensor of integers or truth values, the least and the largest number are kept too, such as the range of token ids.

    Args:
        example_input: A tensor, or tuples, lists and dicts of tensors and plain values.

    Examples:
        >>> describe_input((torch.zeros(1, 3), True)).parts[0]
        InputPart(kind='tensor', shape=(1, 3), dtype='float32', range=None, value=None, parts=(), names=())
        >>> describe_input(torch.tensor([[2, 7]])).range
        (2, 7)
    """
    if isinstance(example_input, Tensor):
        return _describe_tensor(example_input)
    if isinstance(example_input, Mapping) and all(isinstance(name, str) for name in example_input):
        parts = tuple(map(describe_input, example_input.values()))
        return InputPart("dict", parts=parts, names=tuple(example_input))
    if type(example_input) in (tuple, list):
        parts = tuple(map(describe_input, example_input))
        return InputPart("tuple" if isinstance(example_input, tuple) else "list", parts=parts)
    if example_input is None or isinstance(example_input, bool | int | str):
        return InputPart("value", value=example_input)
    if isinstance(example_input, float) and math.isfinite(example_input):
        return InputPart("value", value=float(example_input))
    return InputPart("other", value=type(example_input).__name__)


def _describe_tensor(tensor: Tensor) -> InputPart:
    if tensor.layout != torch.strided or tensor.is_nested or is_traceable_wrapper_subclass(tensor):
        return InputPart("other", value=f"{type(tensor).__name__} with layout {tensor.layout}")
    counts = not tensor.is_floating_point() and not tensor.is_complex()
    known = counts and tensor.numel() > 0 and not tensor.is_meta
    bounds = torch.aminmax(tensor.detach().to(torch.int64)) if known else ()
    low_and_high = tuple(int(bound) for bound in bounds)
    return InputPart(
        "tensor",
        tuple(tensor.shape),
        str(tensor.dtype).removeprefix("torch."),
        range=(low_and_high[0], low_and_high[1]) if low_and_high else None,
    )


def make_input(part: InputPart, device: torch.device | str | None = None) -> Any:
    """Make an input from a description: random numbers with the shapes, types and ranges of the example.

    Floating-point numbers are normal with mean 0 and variance 1. The numbers are the same in every call, and the global random
    state is not used.

    Args:
        part: The description, from :func:`describe_input`.
        device: Device of the tensors; None: the CPU.

    Raises:
        OptionError: If the description has a part that is not covered; the message names its class.

    Examples:
        >>> made = make_input(describe_input({"tokens": torch.tensor([[2, 7]]), "scale": 0.5}))
        >>> made["tokens"].shape, made["scale"]
        (torch.Size([1, 2]), 0.5)
    """
    return _make(part, device, torch.Generator().manual_seed(0))


def _make(part: InputPart, device: torch.device | str | None, generator: torch.Generator) -> Any:
    if part.kind == "other":
        raise OptionError(f"the example input has a {part.value}, which a plan does not describe")
    if part.kind == "value":
        return part.value
    if part.kind == "tensor":
        return _make_tensor(part, generator).to(device)
    made = [_make(inner, device, generator) for inner in part.parts]
    if part.kind == "dict":
        return dict(zip(part.names, made, strict=True))
    return tuple(made) if part.kind == "tuple" else made


def _make_tensor(part: InputPart, generator: torch.Generator) -> Tensor:
    dtype = getattr(torch, part.dtype, None)
    if not isinstance(dtype, torch.dtype):
        raise OptionError(
            f"the example input has a tensor of type {part.dtype!r}, which this version of torch does not have"
        )
    if dtype.is_floating_point or dtype.is_complex:
        kind = dtype if dtype.is_complex else torch.float32
        return torch.randn(part.shape, generator=generator, dtype=kind).to(dtype)
    low, high = part.range or (0, 0)
    return torch.randint(low, high + 1, part.shape, generator=generator).to(dtype)
