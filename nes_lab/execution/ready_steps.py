"""Prepare the steps of a layer's inference for one input shape: fold the input, apply the operation, expand the result.

Everything that does not depend on the numbers of the input is computed once: shapes, indices and factors. The multiply-adds are those of
the layer's execution.

Tests: tests/execution/test_ready_calls.py
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from nes_lab.epitome.constants import arange_column
from nes_lab.epitome.row_operations import rows_supported
from nes_lab.epitome.sampling import expand, fold
from nes_lab.epitome.slices import channels_inside, expand_slices, fold_slices
from nes_lab.epitome.taps import AxisTaps
from nes_lab.execution.base import CONVS, Execution, LayerOp, Prepared

__all__ = ["Call", "ready_call"]

Call = Callable[[Tensor], Tensor]

_MOST_NUMBERS = 1 << 15
"""Inputs with more numbers are folded slice by slice, which reads them once less."""
_MOST_ENTRIES = 1 << 18
"""Largest number of entries of a sampling matrix, over all samples of a batch, that is prepared."""


def ready_call(
    execution: Execution, prepared: Prepared, op: LayerOp, scale: Tensor | None, bias: Tensor | None, x: Tensor
) -> Call:
    """Return a function that computes what ``execution.run`` computes, for inputs of one shape, layout and dtype.

    The function records no gradients.

    Args:
        execution: The way to compute the layer.
        prepared: What the execution prepared.
        op: The layer's convolution or matrix product.
        scale: One factor per output channel; None: no factor.
        bias: One number per output channel; None: no bias.
        x: An input, on a CPU.
    """
    plain = op.spatial > 0 and op.groups == 1 and op.reads_all and not isinstance(op.padding, str)
    known = execution.name in ("materialize", "wrapped", "factored") and x.ndim == op.spatial + 2
    if not (plain and known) or channels_inside(x) or not x.is_contiguous() or x.numel() == 0:
        return lambda x: execution.run(x, prepared, op, scale, bias)
    (weight, taps), folds = prepared, execution.name != "materialize"
    output = taps[0] if execution.name == "factored" else None
    folded = _ready_fold(taps[1], x) if folds and taps[1] is not None else None
    product = _ready_product(op, weight, bias if output is None else None)
    if output is None:
        return product if folded is None else _chain(folded, product)
    cells, sizes = weight.shape[0], op.output_sizes(x.shape[2:])
    expanded = _ready_expand(output, x.new_empty((x.shape[0], cells, *sizes)), scale, bias)
    return _chain(product, expanded) if folded is None else _chain(folded, product, expanded)


def _chain(first: Call, second: Call, third: Call | None = None) -> Call:
    if third is None:
        return lambda x: second(first(x))
    return lambda x: third(second(first(x)))


def _ready_product(op: LayerOp, weight: Tensor, bias: Tensor | None) -> Call:
    conv, stride, padding, dilation = CONVS[op.spatial], op.stride, op.padding, op.dilation
    return lambda x: conv(x, weight, bias, stride, padding, dilation)


def _ready_fold(taps: AxisTaps, x: Tensor) -> Call:
    """Return a function that folds the input channels of inputs like ``x``."""
    cells, slices = taps.cells, taps.slices
    if slices is not None:
        shape = (x.shape[0], len(slices), cells, *x.shape[2:])
        if _copies(taps) and x.numel() <= _MOST_NUMBERS:
            return lambda x: x.view(shape).sum(1)
        return partial(fold_slices, slices=slices, cells=cells, dim=1)
    rows = taps.rows()
    if not rows_supported(x, 1) or x.shape[0] * len(rows.cell) > _MOST_ENTRIES:
        return partial(fold, taps=taps, dim=1)
    return _ready_bags(x, rows.channel, rows.cell_begins, taps.shares_by_cell, cells)


def _ready_expand(taps: AxisTaps, y: Tensor, scale: Tensor | None, bias: Tensor | None) -> Call:
    """Return a function that expands products like ``y`` to the output channels, multiplies by ``scale`` and adds ``bias``."""
    ones = [1] * (y.ndim - 2)
    if _copies(taps):
        return _ready_copies(y, len(taps.slices or ()), scale, bias)
    factor, extra = (None if t is None else t.detach().to(y.dtype).view(1, -1, *ones) for t in (scale, bias))
    if taps.slices is not None:
        return partial(expand_slices, slices=taps.slices, dim=1, scale=factor, bias=extra)
    rows, shares = taps.rows(), taps.shares()
    if not rows_supported(y, 1) or y.shape[0] * len(rows.cell) > _MOST_ENTRIES:
        return partial(expand, taps=taps, dim=1, scale=scale, bias=bias)
    bags = _ready_bags(y, rows.cell, rows.begins, None if shares is None else shares.detach(), taps.lower.shape[0])
    if factor is None:
        return bags if extra is None else lambda y: bags(y).add_(extra)
    if extra is None:
        return lambda y: bags(y).mul_(factor)
    return lambda y: torch.addcmul(extra, bags(y), factor)


def _copies(taps: AxisTaps) -> bool:
    """Return True if the channels of an axis are read in slices that are complete copies of the epitome axis."""
    return taps.slices is not None and all(length == taps.cells for _, _, length in taps.slices)


def _ready_copies(y: Tensor, count: int, scale: Tensor | None, bias: Tensor | None) -> Call:
    """Return a function that copies all channels of products like ``y`` several times, with factors and a bias of each copy."""
    samples, cells, *sizes = y.shape
    if scale is None and bias is None:
        return lambda y: torch.cat([y] * count, 1)
    shape, single = (samples, count * cells, *sizes), samples == 1
    lead = () if single else (1,)  # a convolution may return another memory format, so results are reshaped
    factor, extra = (
        None if t is None else t.detach().to(y.dtype).view(*lead, count, cells, *[1] * len(sizes))
        for t in (scale, bias)
    )

    def affine(y: Tensor) -> Tensor:
        if factor is None:
            return torch.add(y, extra)  # type: ignore[arg-type]
        return torch.mul(y, factor) if extra is None else torch.addcmul(extra, y, factor)

    if single:  # the axis of samples becomes that of copies
        return lambda y: affine(y).reshape(shape)
    return lambda y: affine(y.unsqueeze(1)).reshape(shape)


def _ready_bags(tensor: Tensor, index: Tensor, begins: Tensor, shares: Tensor | None, count: int) -> Call:
    """Return a function that adds up rows along axis 1 of tensors like ``tensor``, weighted by ``shares``, separately for each sample.

    Args:
        tensor: Contiguous tensor of shape ``(samples, rows, ...)``.
        index: Rows of all bags of one sample.
        begins: Where in ``index`` each bag begins.
        shares: Factor of each row; None: 1.
        count: Number of bags of one sample.
    """
    samples, rows = tensor.shape[:2]
    index = (index + arange_column(samples, rows, index.device)).view(-1)
    begins = (begins + arange_column(samples, len(index) // samples, index.device)).view(-1)
    shares = None if shares is None else shares.to(tensor.dtype).repeat(samples)
    table, shape = (samples * rows, tensor[0, 0].numel()), (samples, count, *tensor.shape[2:])
    bags = torch._embedding_bag_forward_only
    return lambda t: bags(t.reshape(table), index, begins, False, 0, False, shares)[0].view(shape)
