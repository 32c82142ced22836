"""Turn learned starts into taps in compiled code on a CPU, by a few custom operators.

``torch.compile`` traces, fuses and compiles each operation that it sees. From starts to taps there are about 60 per axis, all on
a few numbers, and they would take most of the time to compile a network. A custom operator is one operation for the compiler,
which does not look into it. On a GPU each operation is a launch, so there the compiler should fuse them.

Tests: tests/execution/test_compiled.py.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from nes_lab.epitome.transforms import transforming

__all__ = [
    "channel_taps",
    "clamp_compiled",
    "clamp_offsets_",
    "compiles_taps",
    "pair_shares",
    "row_table",
    "limits_compiled",
]


def compiles_taps(like: Tensor) -> bool:
    """Return True if the operators of this file should be used: while torch compiles code for a CPU, but does not export it."""
    return torch.compiler.is_compiling() and like.device.type == "cpu" and not (transforming() or _exporting())


def _exporting() -> bool:
    return torch.compiler.is_exporting() or torch.jit.is_tracing() or torch.autograd.forward_ad._current_level >= 0


def _patches(size: int, patch: int) -> int:
    return -(-size // patch)


@torch.library.custom_op("nes_lab::start_limits", mutates_args=())
def limits_compiled(like: Tensor, size: int, patch: int, cells: int) -> Tensor:
    """Return the largest start of each patch of a channel axis, in the dtype of ``like``; shape ``(patches,)``."""
    return _limits(like, size, patch, cells)


@limits_compiled.register_fake
def _(like: Tensor, size: int, patch: int, cells: int) -> Tensor:
    return like.new_empty(_patches(size, patch))


def _limits(like: Tensor, size: int, patch: int, cells: int) -> Tensor:
    begin = torch.arange(0, size, patch, device=like.device)
    return (cells - (size - begin).clamp_max(patch)).to(like.dtype)


# ---- starts clamped to the epitome ----------------------------------------------------------------------------------------


@torch.library.custom_op("nes_lab::clamp_offsets_", mutates_args=("offsets",))
def clamp_offsets_(offsets: Tensor, anchor: Tensor, upper: Tensor) -> None:
    """Clamp stored offsets so that the starts, which are the sums with their anchors, lie in ``[0, upper]``."""
    offsets.clamp_(-anchor, upper - anchor)


@clamp_offsets_.register_fake
def _(offsets: Tensor, anchor: Tensor, upper: Tensor) -> None:
    return None


@torch.library.custom_op("nes_lab::clamp_starts", mutates_args=())
def clamp_compiled(starts: Tensor, upper: Tensor) -> Tensor:
    """Clamp starts to ``[0, upper]``, with the gradient of :func:`nes_lab.epitome.taps.clamp_starts`."""
    return torch.minimum(starts.clamp_min(0), upper)


@clamp_compiled.register_fake
def _(starts: Tensor, upper: Tensor) -> Tensor:
    return torch.empty_like(starts)


@torch.library.custom_op("nes_lab::unblocked", mutates_args=())
def _unblocked(grad: Tensor, starts: Tensor, upper: Tensor) -> Tensor:
    """Return the gradient where descent does not move a start out of its bounds, and 0 elsewhere."""
    blocked = ((starts <= 0) & (grad >= 0)) | ((starts >= upper) & (grad <= 0))
    return grad.masked_fill(blocked, 0).contiguous()


@_unblocked.register_fake
def _(grad: Tensor, starts: Tensor, upper: Tensor) -> Tensor:
    return torch.empty_like(grad, memory_format=torch.contiguous_format)


def _keep_inputs(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


# Compiled code has first derivatives only, so the operators of the backward pass need none of their own.
clamp_compiled.register_autograd(
    lambda ctx, grad: (_unblocked(grad, *ctx.saved_tensors), None), setup_context=_keep_inputs
)


# ---- from starts to cells and factors -------------------------------------------------------------------------------------


@torch.library.custom_op("nes_lab::channel_taps", mutates_args=())
def channel_taps(starts: Tensor, size: int, patch: int, cells: int, circular: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Return the lower and the upper cell of each channel, and the factor of the upper one; each has shape ``(size,)``."""
    base = starts.floor().nan_to_num(0, 0, 0)
    if not circular:
        base = torch.minimum(base, _limits(starts, size, patch, cells) - 1).clamp_min(0)
    channel = torch.arange(size, device=starts.device)
    of_patch, within = channel // patch, channel % patch
    lower = base.long()[of_patch] + within
    if circular:
        lower = lower % cells
    upper = (lower + 1) % cells if circular else (lower + 1).clamp_max(cells - 1)
    return lower, upper, (starts - base)[of_patch]


@channel_taps.register_fake
def _(starts: Tensor, size: int, patch: int, cells: int, circular: bool) -> tuple[Tensor, Tensor, Tensor]:
    lower = starts.new_empty(size, dtype=torch.int64)
    return lower, torch.empty_like(lower), starts.new_empty(size)


@torch.library.custom_op("nes_lab::sum_patches", mutates_args=())
def _sum_patches(channels: Tensor, patch: int) -> Tensor:
    """Sum the numbers of the channels of each patch; the last patch may be shorter."""
    patches = _patches(channels.shape[0], patch)
    missing = patch * patches - channels.shape[0]
    return torch.nn.functional.pad(channels, (0, missing)).view(patches, patch).sum(1)


@_sum_patches.register_fake
def _(channels: Tensor, patch: int) -> Tensor:
    return channels.new_empty(_patches(channels.shape[0], patch))


def _keep_patch(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    ctx.patch = inputs[2]
    ctx.mark_non_differentiable(*output[:2])


def _taps_backward(ctx: Any, of_lower: Any, of_upper: Any, grad: Tensor) -> tuple[Tensor, None, None, None, None]:
    return _sum_patches(grad, ctx.patch), None, None, None, None


channel_taps.register_autograd(_taps_backward, setup_context=_keep_patch)


@torch.library.custom_op("nes_lab::row_table", mutates_args=())
def row_table(lower: Tensor, upper: Tensor, cells: int) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return the tensors of a :class:`~nes_lab.epitome.taps.RowTable` of fractional starts."""
    cell = torch.stack((lower, upper), -1).flatten()
    ordered, order = torch.sort(cell, stable=True)
    offsets = torch.arange(0, cell.shape[0] + 1, 2, device=cell.device)
    return cell, offsets, order, order // 2, torch.searchsorted(ordered, torch.arange(cells + 1, device=cell.device))


@row_table.register_fake
def _(lower: Tensor, upper: Tensor, cells: int) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    channels = lower.shape[0]
    cell, order, channel = (lower.new_empty(2 * channels) for _ in range(3))
    return cell, lower.new_empty(channels + 1), order, channel, lower.new_empty(cells + 1)


@torch.library.custom_op("nes_lab::pair_shares", mutates_args=())
def pair_shares(frac: Tensor) -> Tensor:
    """Return the factors of the lower and the upper cell of each channel in turn; shape ``(2 * channels,)``."""
    return torch.stack((1 - frac, frac), -1).flatten()


@pair_shares.register_fake
def _(frac: Tensor) -> Tensor:
    return frac.new_empty(2 * frac.shape[0])


@torch.library.custom_op("nes_lab::pair_differences", mutates_args=())
def _pair_differences(pairs: Tensor) -> Tensor:
    lower, upper = pairs.view(-1, 2).unbind(1)
    return upper - lower


@_pair_differences.register_fake
def _(pairs: Tensor) -> Tensor:
    return pairs.new_empty(pairs.shape[0] // 2)


pair_shares.register_autograd(lambda ctx, grad: _pair_differences(grad.contiguous()))
