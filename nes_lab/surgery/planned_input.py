"""Make, from a plan, an input that a network can run.

Tests: tests/surgery/test_verify.py
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import nn

from nes_lab.cost.example_input import make_input
from nes_lab.errors import OptionError
from nes_lab.records.compression_plan import CompressionPlan
from nes_lab.records.example_input import InputPart
from nes_lab.surgery.counted_run import counted_run

__all__ = ["described_input", "planned_input"]


def described_input(plan: CompressionPlan) -> InputPart:
    """Return the description of a plan's input. Plans of older versions know only its shape; then it is taken for numbers in float32."""
    return plan.example_input or InputPart("tensor", plan.input_shape, "float32")


def planned_input(network: nn.Module, plan: CompressionPlan) -> Any:
    """Make an input from a plan's description, on the device of the network's first parameter.

    If the network has another floating-point type than the description, such as after ``network.half()``, and cannot run the input as
    described, the input gets the type of the network.

    Raises:
        OptionError: If the description has a part that is not covered.
    """
    device = next((parameter.device for parameter in network.parameters()), None)
    dtype = next((parameter.dtype for parameter in network.parameters() if parameter.is_floating_point()), None)
    described = described_input(plan)
    example, cast = make_input(described, device), described if dtype is None else _with_dtype(described, dtype)
    if cast == described:
        return example
    try:
        counted_run(network, {}, example)
    except OptionError:
        return make_input(cast, device)
    return example


def _with_dtype(part: InputPart, dtype: torch.dtype) -> InputPart:
    """Return a description in which the tensors of floating-point numbers have another type."""
    if part.kind != "tensor":
        return replace(part, parts=tuple(_with_dtype(inner, dtype) for inner in part.parts))
    known = getattr(torch, part.dtype, None)
    floats = isinstance(known, torch.dtype) and known.is_floating_point
    return replace(part, dtype=str(dtype).removeprefix("torch.")) if floats else part
