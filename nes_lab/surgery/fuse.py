"""Fold batch norms into the layers before them. Inference is then faster.

In evaluation mode a batch norm maps each channel ``y`` of its input to ``s * y + t``. Each channel has its own numbers
``s`` and ``t``. The layer before the norm takes them over:

- In a dense layer, the weight and the bias are multiplied by ``s``. Then ``t`` is added to the bias.
- In an epitome layer, the epitome is multiplied by ``s`` if output channels that share a cell have the same ``s``.
  Otherwise the layer stores ``s`` in the buffer ``scale``, and multiplies its output by ``scale`` before it adds the
  bias. The bias changes as in a dense layer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from nes_lab.cost.probe import in_mode
from nes_lab.epitome.taps import axis_taps
from nes_lab.nn.bake import bake
from nes_lab.nn.copy_network import Model
from nes_lab.nn.layer import EpitomeLayer
from nes_lab.nn.linear import EpitomeLinear
from nes_lab.surgery.carry_over import copy_with_replacements
from nes_lab.surgery.fold_check import harmful_folds, warn_compared, warn_harmful, warn_unsure
from nes_lab.surgery.foldable_norms import norm_pairs

__all__ = ["FoldedBatchNorm1d", "folded_norm", "fuse", "safe_pairs"]


def fuse(model: Model, example_input: Any = None) -> Model:
    """Copy a model for inference, with batch norms folded into the layers before them.

    A norm is folded if nothing else reads the output of the convolution or linear layer before it, and if norm and layer are
    called only once. The forward method is traced to find this out. Norms without running statistics, and
    layers with tied weights or hooks, stay as they are, and so do dense layers with parametrizations. Pruning masks and
    parametrizations of epitome layers are baked into their tensors.

    In the copy, an identity takes the place of a folded norm. If the norm contains an activation function, as some of timm's
    norms do, the function stays. Multiply-adds stay the same. The copy is in evaluation mode, its starts are frozen, and it is
    not meant to be trained.

    Args:
        model: Any module; it is not changed. Its forward method is traced, with the default values of optional
            arguments. If tracing fails, as with an ``if`` that depends on the data, each submodule is traced on its own. A
            module whose forward method cannot be traced may call the layers inside it in other ways too. Norms inside such a
            module are folded only if ``example_input`` is given; otherwise a warning names the module.
        example_input: Input of one forward pass, on the model's device: a tensor, a tuple of arguments or a dict of keyword
            arguments. The outputs of the copy are compared with those of the model. Norms that would change them stay as they
            are, and a warning names them. None: nothing is compared. The comparison covers only what the example takes. Other
            branches of an ``if``, other flags and arguments, and other methods of the model, such as ``model.features(x)``, are
            not seen. A warning names the norms that are folded only because of the example.

    Returns:
        The copy, of the model's class.

    Raises:
        OptionError: If ``model`` is not a module, or cannot run ``example_input``, or if its outputs for ``example_input``
            differ from one run to the next.

    Examples:
        >>> import nes_lab
        >>> from torch import nn
        >>> model = nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU()).eval()
        >>> nes_lab.fuse(model)
        Sequential(
          (0): Conv2d(3, 8, kernel_size=(3, 3), stride=(1, 1))
          (1): Identity()
          (2): ReLU()
        )
    """
    model = bake(model) if isinstance(model, nn.Module) else model
    return _folded(model, safe_pairs(model, example_input, "fuse", compare_all=True))


def safe_pairs(model: nn.Module, example_input: Any, caller: str, compare_all: bool = False) -> dict[str, str]:
    """Return the norms that may be folded, each with its layer: those of a trace, and those that an example confirms.

    Warnings name the norms that stay although they seem to follow a layer.

    Args:
        model: Any module.
        example_input: Input of one forward pass. None: norms that the trace is not sure about stay as they are.
        caller: Name of the public function that asks, for the warnings.
        compare_all: True: compare the outputs for the example even if the trace is sure of all norms.
    """
    pairs = norm_pairs(model)
    if example_input is None or any(t.is_meta for t in (*model.parameters(), *model.buffers())):
        warn_unsure(pairs, caller)
        return pairs.sure
    if not pairs.unsure and not compare_all:
        return pairs.sure
    every = {**pairs.sure, **pairs.unsure}
    wrong = harmful_folds(model, every, example_input, _folded)
    warn_harmful({norm: every[norm] for norm in wrong}, caller)
    warn_compared(pairs, [norm for norm in pairs.unsure if norm not in wrong], caller)
    return {norm: layer for norm, layer in every.items() if norm not in wrong}


def _folded(model: Model, pairs: Mapping[str, str]) -> Model:
    """Copy a model in evaluation mode, with frozen starts, and fold norms into layers.

    Args:
        model: Any module.
        pairs: Name of each norm to fold -> name of its layer.
    """

    def remains(name: str, module: nn.Module) -> nn.Module | None:
        if name not in pairs:
            return None
        return folded_norm(module, isinstance(model.get_submodule(pairs[name]), nn.Linear | EpitomeLinear))

    with torch.inference_mode(False), torch.no_grad():
        fused = in_mode(copy_with_replacements(model, remains))
        for module in list(fused.modules()):
            if isinstance(module, EpitomeLayer):
                module.freeze()
        for norm, layer in pairs.items():
            _fold(fused.get_submodule(layer), model.get_submodule(norm))  # type: ignore[arg-type]
    return fused


class FoldedBatchNorm1d(nn.Identity):
    """Takes the place of a batch norm that was folded into a linear layer. It returns the input unchanged.

    The input must be ``(N, C)``. On an input ``(N, L, C)`` the batch norm would normalize the axis ``L``. A folded norm
    cannot do this.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Return the input unchanged, after checking that its shape is ``(N, C)``."""
        torch._assert(input.ndim == 2, "a batch norm folded into a linear layer takes inputs of shape (N, C)")
        return input


def folded_norm(norm: nn.Module, flat: bool) -> nn.Module:
    """Return the module that takes the place of a batch norm once the norm is folded into the layer before it.

    If the norm has a dropout and an activation function, the module has places for them, under their names. So state dict keys
    and ``norm.act`` stay valid. They are filled when the network is copied.

    Args:
        norm: The batch norm.
        flat: True if the layer before it is a linear layer.
    """
    parts = [name for name in ("drop", "act") if name in norm._modules]
    if all(isinstance(norm._modules[name], nn.Identity) for name in parts):
        return FoldedBatchNorm1d() if flat else nn.Identity()
    kept = nn.Sequential()
    for name in parts:
        kept.add_module(name, None)
    return kept


def _fold(layer: nn.Module, norm: _BatchNorm) -> None:
    name = "epitome" if isinstance(layer, EpitomeLayer) else "weight"
    weight: nn.Parameter = getattr(layer, name)
    factor, shift = _affine(norm, weight)
    if layer.bias is not None:
        shift = shift + factor * layer.bias.to(factor)  # type: ignore[operator]
    if layer.bias is None:
        layer.bias = _like(weight, shift)
    else:
        layer.bias.copy_(shift).requires_grad_(weight.requires_grad)  # type: ignore[operator]
    if isinstance(layer, EpitomeLayer):
        factor = factor if layer.scale is None else factor * layer.scale.to(factor)
        # cells of int8 would be rounded to other integers if they were multiplied
        cell_factors = None if layer.epitome_dtype == "int8" else _cell_factors(layer, factor)
        layer.scale = factor.to(weight.dtype) if cell_factors is None else None
        if cell_factors is None:
            return
        factor = cell_factors
    weight.copy_(weight.to(factor) * factor.view(-1, *[1] * (weight.ndim - 1)))


def _affine(norm: _BatchNorm, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Return the factor and the shift that a batch norm applies to each channel in evaluation mode.

    Both are float32 or float64, on the device of ``weight``.
    """
    mean, var = norm.running_mean, norm.running_var
    assert mean is not None and var is not None  # a norm without them is not folded
    wide = torch.promote_types(torch.promote_types(weight.dtype, var.dtype), torch.float32)
    mean, factor = mean.to(weight.device, wide), (var.to(weight.device, wide) + norm.eps).rsqrt()
    if norm.weight is not None:
        factor = factor * norm.weight.to(factor)
    shift = -mean * factor
    return factor, shift if norm.bias is None else shift + norm.bias.to(factor)


def _like(weight: nn.Parameter, value: Tensor) -> nn.Parameter:
    return nn.Parameter(value.to(weight.dtype), weight.requires_grad)


def _cell_factors(layer: EpitomeLayer, factor: Tensor) -> Tensor | None:
    """Turn factors that multiply a layer's output channels into factors that multiply the epitome's cells.

    The result is None if output channels with different factors share a cell, or if the positions of the patches are
    not known.
    """
    if 0 not in layer.routing.sampled:
        return factor
    starts = layer.routing.current()[0]
    if starts is None or factor.is_meta:
        return None
    low, high = (factor.new_full((layer.geometry.epitome_shape[0],), value) for value in (torch.inf, -torch.inf))
    for cells, share in axis_taps(starts, layer.geometry, 0, layer.routing.fractional).levels():
        read = torch.ones_like(cells, dtype=torch.bool) if share is None else share != 0
        asked = factor.view(-1, *[1] * (cells.ndim - 1)).expand(cells.shape)[read]
        low.scatter_reduce_(0, cells[read], asked, "amin")
        high.scatter_reduce_(0, cells[read], asked, "amax")
    unread = low > high
    return torch.where(unread, 1.0, low) if bool((unread | (low == high)).all()) else None
