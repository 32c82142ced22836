"""Decide which dense layers an epitome layer can replace, and say why it cannot replace others.

Classes of other packages are recognized by package and class name. These packages need not be installed. A subclass counts as
its base class if it has the same forward method and no further parameters.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn.modules.lazy import LazyModuleMixin
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

from nes_lab.execution.base import SAME_TF, LayerOp
from nes_lab.geometry.epitome_geometry import EpitomeGeometry

__all__ = ["ALREADY_EPITOME", "BASES", "class_kind", "kind_of", "known_by_name", "layer_op", "why_not"]

BASES: dict[type[nn.Module], str] = {
    nn.Linear: "linear",
    nn.Conv1d: "conv1d",
    nn.Conv2d: "conv2d",
    nn.Conv3d: "conv3d",
}
"""Torch's own layer classes that an epitome layer can replace, each with its kind."""

ALREADY_EPITOME = "it is an epitome already; materialize the network, or start from the dense network"
"""Why a layer of a compressed network is not replaced again."""

_BY_NAME: dict[tuple[str, str], str] = {
    ("timm", "Linear"): "linear",  # like torch's, except that it casts under scripting
    ("timm", "Conv2dSame"): "conv2d_same",
    ("nes_lab", "Conv2dSame"): "conv2d_same",
    ("timm", "StdConv2d"): "conv2d_std",
    ("timm", "StdConv2dSame"): "conv2d_std",
    ("timm", "ScaledStdConv2d"): "conv2d_std",
    ("timm", "ScaledStdConv2dSame"): "conv2d_std",
}
"""Kind of each class that has a forward method of its own, by package and class name."""

_OWN_NUMBERS = {"conv2d_std": ("gain",)}
"""Parameters besides weight and bias that a dense layer of a kind may have, because its epitome layer has them too."""


def class_kind(kind: type[nn.Module]) -> str | None:
    """Return the kind of epitome layer (such as ``conv2d``) that can replace layers of a class; None if no kind can.

    Examples:
        >>> class_kind(nn.Conv2d), class_kind(nn.LazyConv2d), class_kind(nn.ConvTranspose2d)
        ('conv2d', None, None)
    """
    known = known_by_name(kind)
    base = next((b for b in BASES if issubclass(kind, b)), None)
    if base is None or issubclass(kind, LazyModuleMixin):
        return None
    if known is not None:
        return known
    methods = ("forward", "_conv_forward", "__call__", "__getattr__")
    plain = all(getattr(kind, name, None) is getattr(base, name, None) for name in methods)
    return BASES[base] if plain else None


def known_by_name(kind: type[nn.Module]) -> str | None:
    """Return the kind of epitome layer for a class with a forward method of its own; None if the class is not known.

    Examples:
        >>> known_by_name(nn.Conv2d) is None
        True
    """
    return _BY_NAME.get((kind.__module__.partition(".")[0], kind.__name__))


def kind_of(module: nn.Module) -> str | None:
    """Return the kind of epitome layer (such as ``conv2d``) that can replace a module; None if no kind can.

    :func:`why_not` returns the reason.

    Examples:
        >>> kind_of(nn.Linear(2, 3)), kind_of(nn.ReLU()), kind_of(nn.Conv2d(2, 3, 3, padding_mode="circular"))
        ('linear', None, None)
    """
    return None if why_not(module) else class_kind(type(module))


def why_not(module: nn.Module) -> str:
    """Return the reason why no epitome layer can replace a module; empty if one can.

    Examples:
        >>> why_not(nn.Conv2d(2, 3, 3, padding_mode="circular"))
        "padding_mode='circular'; epitome layers pad with zeros only"
        >>> why_not(nn.Linear(2, 3))
        ''
    """
    if isinstance(getattr(module, "geometry", None), EpitomeGeometry):  # nes_lab.nn.layer imports this file
        return ALREADY_EPITOME
    weight = module._parameters.get("weight")
    if isinstance(module, tuple(BASES)) and weight is None:
        return "its weight is computed by a hook or parametrization (weight_norm and the like), not stored"
    kind = class_kind(type(module))
    if kind is None:
        return _no_kind(module)
    if getattr(module, "padding_mode", "zeros") != "zeros":
        return f"padding_mode={module.padding_mode!r}; epitome layers pad with zeros only"
    if "forward" in vars(module):
        return "its forward was replaced, so what it computes is not known"
    known = {"weight", "bias", *_OWN_NUMBERS.get(kind, ())}
    if missing := sorted(known & vars(module).keys()):
        return f"its {missing[0]} is computed by a hook (pruning, weight_norm and the like), not stored"
    others = [*(n for n in module._parameters if n not in known), *module._buffers, *module._modules]
    if others and type(module) not in BASES and not known_by_name(type(module)):  # torch's own forward reads no others
        return f"{type(module).__name__} holds {others[0]!r} besides weight and bias, so what it computes is not known"
    assert weight is not None  # checked above
    return _no_plain_weight(weight)


def _no_plain_weight(weight: Tensor) -> str:
    """Return why a weight is not a plain tensor of floating-point numbers; empty if it is one."""
    if is_traceable_wrapper_subclass(weight):
        kind = type(weight).__name__
        return f"its weight is of class {kind}, not a plain tensor; compress before quantizing, materialize, and quantize the result"
    if weight.layout != torch.strided:
        return f"its weight is stored as {weight.layout}, not as a dense tensor; call to_dense() on it"
    return "" if weight.is_floating_point() else f"its weight is {weight.dtype}, not floating point"


def _no_kind(module: nn.Module) -> str:
    name = type(module).__name__
    if isinstance(module, nn.modules.conv._ConvTransposeNd):
        return f"{name} is a transposed convolution, whose weight has its channel axes swapped; no epitome layer samples such a weight"
    base = next((b.__name__ for b in BASES if isinstance(module, b)), None)
    if base is not None:
        return f"{name} is a subclass of {base} with a forward of its own; only those known by name are replaced"
    return f"no epitome layer replaces a {name}; Linear, Conv1d, Conv2d and Conv3d are replaced"


def layer_op(module: nn.Module) -> LayerOp:
    """Return the operation (convolution or matrix product) of a dense layer that an epitome layer can replace.

    Examples:
        >>> layer_op(nn.Conv1d(4, 8, 3, padding=1))
        LayerOp(kernel_size=(3,), stride=(1,), padding=(1,), dilation=(1,), groups=1)
    """
    if not isinstance(module, nn.modules.conv._ConvNd):
        return LayerOp()
    op = LayerOp(module.kernel_size, module.stride, module.padding, module.dilation, module.groups)
    kind = class_kind(type(module))
    same = kind == "conv2d_same" or getattr(module, "same_pad", False) is True
    op = replace(op, padding=SAME_TF) if same else op
    return replace(op, standardized=True) if kind == "conv2d_std" else op
