"""Find the batch norm that can undo a scaling of a layer's output channels, and change it so that it does.

When an epitome is fitted to a weight, each output channel may be divided by a factor. The batch norm is then changed so
that its output stays the same. The layer itself stores no factors.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor, nn

from nes_lab.surgery.fuse import safe_pairs

__all__ = ["move_into_norm_", "scaling_norms"]


def scaling_norms(model: nn.Module, names: Collection[str], example_input: Any = None) -> dict[str, str]:
    """Find, for each layer, the batch norm after it that can undo a scaling of the layer's output channels.

    If an output channel is divided by a factor, the norm can be changed so that its output stays the same. For this the norm
    must have a weight, and only the norm may read the layer's output.

    Args:
        model: The dense model.
        names: Module names of the layers to check.
        example_input: Input of one forward pass. It confirms norms inside modules whose forward method cannot be traced. None:
            such norms are left out, and a warning names them.

    Returns:
        A dict from the name of the layer to the name of the norm. Layers without such a norm are left out.

    Examples:
        >>> scaling_norms(nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.Linear(4, 2)), ["0", "2"])
        {'0': '1'}
    """
    norm_of = {layer: norm for norm, layer in safe_pairs(model, example_input, "fit").items() if layer in names}
    return {
        layer: norm for layer, norm in norm_of.items() if getattr(model.get_submodule(norm), "weight", None) is not None
    }


def move_into_norm_(norm: nn.Module, bias: Tensor | None, row_scale: Tensor | None, shift: Tensor | None) -> None:
    """Change a batch norm so that its output stays the same when its input changes from ``y`` to ``y / row_scale + shift``.

    The output stays the same in evaluation mode. The running mean and the running variance are scaled by the factors.
    If a factor is negative, the sign of the norm's weight changes. If the norm's mean and variance are measured again
    later, the output stays nearly the same, also in channels with a variance close to 0.

    Args:
        norm: Batch norm with running statistics and a weight; changed in place.
        bias: Bias of the layer before the norm, changed in place; None: the layer has no bias.
        row_scale: The weight of each output channel was divided by this factor, ``(channels,)``. None: all factors are
            1.
        shift: After the division, the mean of the layer's output changed by this much, ``(channels,)``. None: no
            change.
    """
    mean, var, weight = (getattr(norm, name) for name in ("running_mean", "running_var", "weight"))
    with torch.no_grad():
        if row_scale is not None:
            scale = row_scale.to(mean.dtype)
            weight.mul_(scale.sign() * (var / (var + norm.eps)).sqrt())
            mean.div_(scale)
            var.copy_((var / scale.square() - norm.eps).clamp_min(0))  # type: ignore[operator]
            if bias is not None:
                bias.div_(scale.to(bias.dtype))
        if shift is not None:
            mean.add_(shift.to(mean.dtype))
