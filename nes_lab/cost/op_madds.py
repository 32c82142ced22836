"""Formulas for the multiply-adds of operations that torch's ``FlopCounterMode`` counts as 0.

To add an operation, write a function ``(args, kwargs, out) -> multiply-adds`` and name it in :data:`OP_MADDS`.

Tests: tests/cost/test_products.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor

__all__ = ["OP_MADDS"]

Formula = Callable[[Sequence[Any], Mapping[str, Any], Any], int]
"""Takes the arguments, the keyword arguments and the result of an operation; returns the multiply-adds."""


def _entries(index: int) -> Formula:
    """Return a formula: one multiply-add per entry of an argument, as in a product of a matrix and a vector."""
    return lambda args, _, __: args[index].numel()


def _summed_axis(index: int) -> Formula:
    """Return a formula: entries of the result times the length of an argument's last axis, which is summed over."""
    return lambda args, _, out: out.numel() * args[index].shape[-1]


def _conv(weight: int) -> Formula:
    """Return a formula for a convolution: entries of the result times the weights that each of them reads."""
    return lambda args, _, out: out.numel() * prod(args[weight].shape[1:])


def _packed_conv(args: Sequence[Any], _: Mapping[str, Any], out: Tensor) -> int:
    return out.numel() * prod(args[1].unpack()[0].shape[1:])


def _conv_tbc(args: Sequence[Any], _: Mapping[str, Any], out: Tensor) -> int:
    return out.numel() * prod(args[1].shape[:2])  # the weight is (kernel, in, out)


def _addr(args: Sequence[Any], _: Mapping[str, Any], __: Any) -> int:
    return args[1].numel() * args[2].numel()


def _addbmm(args: Sequence[Any], _: Mapping[str, Any], __: Any) -> int:
    return args[1].numel() * args[2].shape[-1]


def _grouped_mm(args: Sequence[Any], _: Mapping[str, Any], out: Tensor) -> int:
    left, right = args[0], args[1]
    if left.dim() == right.dim() == 2:  # the groups divide the axis that is summed over
        return left.numel() * right.shape[-1]
    return out.numel() * left.shape[-1]


def _trilinear(args: Sequence[Any], _: Mapping[str, Any], __: Any) -> int:
    """Count ``nn.Bilinear`` as einsum computes it: the first input times the weight, then times the second input."""
    shapes = [list(tensor.shape) for tensor in args[:3]]
    for shape, new_axes in zip(shapes, args[3:6], strict=True):
        for axis in sorted(new_axes):
            shape.insert(axis, 1)
    every = torch.broadcast_shapes(*shapes)
    return prod(every) + prod(every) // every[args[6][0]]


def _rnn(data: Tensor, weights: Sequence[Any]) -> int:
    """Count recurrent layers: every step of every sequence meets every matrix of every layer and direction once."""
    steps = data.numel() // data.shape[-1]
    return steps * sum(weight.numel() for weight in weights if isinstance(weight, Tensor) and weight.dim() == 2)


def _sparse_addmm(args: Sequence[Any], _: Mapping[str, Any], out: Tensor) -> int:
    return args[1]._nnz() * out.shape[-1]


OP_MADDS: Mapping[str, Formula] = {
    "aten::mv": _entries(0),
    "aten::dot": _entries(0),
    "aten::vdot": _entries(0),
    "aten::addmv": _entries(1),
    "aten::addmv_": _entries(1),
    "aten::addr": _addr,
    "aten::addr_": _addr,
    "aten::addbmm": _addbmm,
    "aten::addbmm_": _addbmm,
    "aten::addmm_": _summed_axis(1),
    "aten::baddbmm_": _summed_axis(1),
    "aten::_addmm_activation": _summed_axis(1),
    "aten::_int_mm": _summed_axis(0),
    "aten::_weight_int8pack_mm": _summed_axis(0),
    "aten::_weight_int4pack_mm": _summed_axis(0),
    "aten::_grouped_mm": _grouped_mm,
    "aten::_trilinear": _trilinear,
    "aten::_cdist_forward": _summed_axis(0),
    "aten::_sparse_addmm": _sparse_addmm,
    "aten::conv_tbc": _conv_tbc,
    "aten::conv_depthwise3d": _conv(1),
    "aten::_conv_depthwise2d": _conv(1),
    "aten::mkldnn_linear": _summed_axis(0),
    "aten::mkldnn_convolution": _conv(1),
    "aten::mkldnn_rnn_layer": lambda args, _, __: _rnn(args[0], args[1:3]),
    "aten::_cudnn_rnn": lambda args, _, __: _rnn(args[0], args[1]),
    "aten::miopen_rnn": lambda args, _, __: _rnn(args[0], args[1]),
    "aten::_lstm_mps": lambda args, _, __: _rnn(args[0], args[2]),
    "quantized::linear": _summed_axis(0),
    "quantized::linear_relu": _summed_axis(0),
    "quantized::linear_dynamic": _summed_axis(0),
    "quantized::linear_relu_dynamic": _summed_axis(0),
    "quantized::linear_dynamic_fp16": _summed_axis(0),
    "quantized::conv1d": _packed_conv,
    "quantized::conv2d": _packed_conv,
    "quantized::conv2d_relu": _packed_conv,
    "quantized::conv3d": _packed_conv,
    "torchvision::deform_conv2d": _conv(1),
}
"""Formula of each operation, by its qualified name."""
