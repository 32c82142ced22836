"""The way back: plain torch layers with the sampled weight, of the class the epitome layer was made from."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from nes_lab.nn.layer import EpitomeLayer

__all__ = ["fill_dense", "hollow", "refilled"]


def hollow(module: nn.Module) -> nn.Module:
    """A copy of a layer without its numbers and hooks: class and settings alone.

    Examples:
        >>> hollow(nn.Linear(2, 3)).weight is None
        True
    """
    shell = module.__new__(type(module))
    bare = nn.Module().__dict__
    shell.__dict__.update({name: value for name, value in vars(module).items() if name not in bare}, **bare)
    shell.__dict__["_parameters"] = dict.fromkeys(module._parameters)
    return shell


def refilled(shell: nn.Module, layer: EpitomeLayer) -> nn.Module:
    """A layer of the shell's class with the sampled weight and the other numbers of an epitome layer."""
    dense = copy.deepcopy(shell)
    with torch.no_grad():
        weight = layer.materialize().detach().clone()
    dense.weight = nn.Parameter(weight)
    for name, parameter in layer.named_parameters(recurse=False):
        if name != "epitome":
            setattr(dense, name, nn.Parameter(parameter.detach().clone()))
    return _like(dense, layer)


def fill_dense(module: nn.Module, layer: EpitomeLayer) -> nn.Module:
    """Copy the sampled weight, bias and mode of an epitome layer into a dense module."""
    with torch.no_grad():
        module.weight.copy_(layer.materialize())  # type: ignore[union-attr, operator]
        if layer.bias is not None:
            module.bias.copy_(layer.bias)  # type: ignore[union-attr, operator]
    return _like(module, layer)


def _like(dense: nn.Module, layer: EpitomeLayer) -> nn.Module:
    """Mode, and what learns, as in the epitome layer."""
    for name, parameter in dense.named_parameters(recurse=False):
        parameter.requires_grad_(getattr(layer, "epitome" if name == "weight" else name).requires_grad)
    return dense.train(layer.training)
