"""Floors: the least time that the execution plan ``factored`` can take.

A floor runs a plain convolution with the epitome's shape, as ``factored`` does, and copies as many bytes as folding the input
and expanding the output must read and write. Its output means nothing.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from nes_lab.nn.conv import EpitomeConv2d

__all__ = ["LayerFloor", "floor_network", "training_floor"]


class LayerFloor(nn.Module):
    """The floor of one layer, for inputs of one shape: call it to run one convolution and one copy.

    Args:
        layer: An epitome convolution, from which the shapes are taken.
        x: An input.
        whole_copies: Whether to copy all that the fold reads and all that the expansion writes, as the target for GPUs says.
            Otherwise only the bytes that must move are copied.
    """

    def __init__(self, layer: EpitomeConv2d, x: Tensor, whole_copies: bool = False) -> None:
        super().__init__()
        e_out, e_in = layer.geometry.epitome_shape[:2]
        c_out, c_in = layer.geometry.weight_shape[:2]
        self.conv = nn.Conv2d(e_in, e_out, layer.kernel_size, layer.stride, layer.padding, layer.dilation, bias=False)
        self.conv = self.conv.to(x.device, x.dtype).requires_grad_(False)
        read, written = layer.op.positions(x.shape)
        self.folded = x.new_ones(x.shape[0], e_in, *x.shape[2:])
        moved = 0
        if c_in != e_in:
            moved += 2 * c_in * read if whole_copies else (c_in + e_in) * read
        if c_out != e_out:
            moved += 2 * c_out * written if whole_copies else (e_out + c_out) * written
        self.source = x.new_ones(max(1, moved // 2))
        self.target = torch.empty_like(self.source)
        self.copies = moved > 0

    def forward(self, x: Tensor | None = None) -> Tensor:
        """Run the convolution on a stored input, and the copy."""
        y = self.conv(self.folded)
        if self.copies:
            self.target.copy_(self.source)
        return y


class _InPlace(nn.Module):
    """A floor inside a network: it takes the layer's input and returns a tensor with the shape of its output."""

    def __init__(self, layer: EpitomeConv2d) -> None:
        super().__init__()
        e_out, self.e_in = layer.geometry.epitome_shape[:2]
        self.c_out = layer.geometry.weight_shape[0]
        self.op, self.times = layer.op, -(-self.c_out // e_out)
        self.weight = nn.Parameter(torch.randn(e_out, self.e_in, *layer.kernel_size) / 100)
        self.bias = nn.Parameter(torch.zeros(e_out))

    def forward(self, x: Tensor) -> Tensor:
        """Copy the first input channels, convolve them, and repeat the output channels."""
        op = self.op
        if x.shape[1] != self.e_in:
            x, op = op.skip_unread(x)
            x = x[:, : self.e_in].contiguous()
        y = op(x, self.weight, self.bias)
        return y if self.times == 1 else torch.cat([y] * self.times, 1)[:, : self.c_out]


class _Trained(nn.Module):
    """A floor inside a network that is trained: it drops input channels, convolves, and repeats output channels, all in torch.

    Its backward pass moves the bytes that folding and expanding must move.
    """

    def __init__(self, layer: EpitomeConv2d) -> None:
        super().__init__()
        (e_out, e_in), (c_out, c_in) = layer.geometry.epitome_shape[:2], layer.geometry.weight_shape[:2]
        self.conv = nn.Conv2d(e_in, e_out, layer.kernel_size, layer.stride, layer.padding, layer.dilation, bias=False)
        self.read = [e_in, c_in - e_in] if c_in > e_in else []
        self.copies, rest = divmod(c_out, e_out)
        self.rest = [rest, e_out - rest] if rest else []

    def forward(self, x: Tensor) -> Tensor:
        """Return a tensor with the shape of the layer's output."""
        y = self.conv(x.split(self.read, 1)[0] if self.read else x)
        parts = [y] * self.copies + ([y.split(self.rest, 1)[0]] if self.rest else [])
        return torch.cat(parts, 1) if len(parts) > 1 else parts[0]


def training_floor(model: nn.Module) -> nn.Module:
    """Return a copy of an epitome network for training, in which every layer that can run ``factored`` is replaced by its floor.

    Its output means nothing. Its training step has the small convolutions and the bytes that must move, and no code of this project.
    """
    fresh: dict[int, object] = {}
    for module in model.modules():
        if isinstance(module, EpitomeConv2d):
            small = all(
                e <= c for e, c in zip(module.geometry.epitome_shape, module.geometry.weight_shape, strict=True)
            )
            can = small and "factored" in module.available_executions()
            fresh[id(module)] = _Trained(module) if can else module.to_dense()
    return copy.deepcopy(model, fresh).train()


def floor_network(model: nn.Module) -> nn.Module:
    """Return a copy of a fused network in which every layer that can run ``factored`` is replaced by its floor.

    Its output means nothing: it folds by dropping channels and expands by repeating them.
    """
    fresh: dict[int, object] = {}
    for module in model.modules():
        if isinstance(module, EpitomeConv2d):
            can = "factored" in module.available_executions()
            fresh[id(module)] = _InPlace(module) if can else module.to_dense()
    return copy.deepcopy(model, fresh).eval().requires_grad_(False)
