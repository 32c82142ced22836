"""Move the factors of a layer's output channels into the batch norm that reads the layer."""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor, nn

from nes_lab.surgery.foldable_norms import fusable

__all__ = ["move_into_norm_", "scaling_norms"]


def scaling_norms(model: nn.Module, names: Collection[str]) -> dict[str, str]:
    """Return the layers whose output channels may have factors, and the batch norm that takes the factors.

    The norm must have a weight and be the only reader of the layer's output.

    Args:
        model: The dense model.
        names: Module names of the layers to look at.

    Returns:
        Name of the norm by name of the layer; layers without such a norm are left out.

    Examples:
        >>> scaling_norms(nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.Linear(4, 2)), ["0", "2"])
        {'0': '1'}
    """
    norm_of = {layer: norm for norm, layer in fusable(model).items() if layer in names}
    return {
        layer: norm for layer, norm in norm_of.items() if getattr(model.get_submodule(norm), "weight", None) is not None
    }


def move_into_norm_(norm: nn.Module, bias: Tensor | None, row_scale: Tensor | None, shift: Tensor | None) -> None:
    """Change a batch norm so that in evaluation it gives for ``y / row_scale + shift`` what it gave for ``y``.

    The norm's variance takes the size of each factor and its weight takes the sign: statistics that are measured again then
    divide the factor out once more. A channel with a variance close to 0 (where ``eps`` matters) keeps its small weight.

    Args:
        norm: Batch norm with running statistics and a weight; changed.
        bias: Bias of the layer that the norm reads, or None; changed.
        row_scale: ``(channels,)`` factors by which the weight of each output channel was divided; None: all are 1.
        shift: ``(channels,)`` change of the mean of the layer's output, after the division; None: no change.
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
