"""Which dense layers have an epitome layer, why others have none, and the making of one.

Classes of other packages are known by package and name, so that none need be installed. A subclass is plain when it leaves the
forward of its base alone and adds no numbers: what it is called does not change what it computes.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from torch import nn
from torch.nn.modules.lazy import LazyModuleMixin

from nes_lab.errors import OptionError
from nes_lab.execution.base import SAME_TF, LayerOp

if TYPE_CHECKING:
    from nes_lab.nn.layer import EpitomeLayer

__all__ = ["BASES", "build", "class_kind", "kind_of", "layer_op", "why_not"]

BASES: dict[type[nn.Module], str] = {
    nn.Linear: "linear",
    nn.Conv1d: "conv1d",
    nn.Conv2d: "conv2d",
    nn.Conv3d: "conv3d",
}
"""Torch's own layers that are replaced."""

_BY_NAME: dict[tuple[str, str], str] = {
    ("timm", "Linear"): "linear",  # casts under scripting, else torch's
    ("timm", "Conv2dSame"): "conv2d_same",
    ("nes_lab", "Conv2dSame"): "conv2d_same",
    ("timm", "StdConv2d"): "conv2d_std",
    ("timm", "StdConv2dSame"): "conv2d_std",
    ("timm", "ScaledStdConv2d"): "conv2d_std",
    ("timm", "ScaledStdConv2dSame"): "conv2d_std",
}
"""Package and class name -> kind, for subclasses with a forward of their own."""

_OWN_NUMBERS = {"conv2d_std": ("gain",)}
"""Parameters, beside weight and bias, that an epitome layer of the kind takes over."""


def class_kind(kind: type[nn.Module]) -> str | None:
    """Name of the kind of epitome layer a class would have, or None.

    Examples:
        >>> class_kind(nn.Conv2d), class_kind(nn.LazyConv2d), class_kind(nn.ConvTranspose2d)
        ('conv2d', None, None)
    """
    known = _BY_NAME.get((kind.__module__.partition(".")[0], kind.__name__))
    base = next((b for b in BASES if issubclass(kind, b)), None)
    if base is None or issubclass(kind, LazyModuleMixin):
        return None
    if known is not None:
        return known
    methods = ("forward", "_conv_forward", "__call__", "__getattr__")
    plain = all(getattr(kind, name, None) is getattr(base, name, None) for name in methods)
    return BASES[base] if plain else None


def kind_of(module: nn.Module) -> str | None:
    """Name of the epitome layer's kind that can stand in for a module; None where there is none (:func:`why_not`).

    Examples:
        >>> kind_of(nn.Linear(2, 3)), kind_of(nn.ReLU()), kind_of(nn.Conv2d(2, 3, 3, padding_mode="circular"))
        ('linear', None, None)
    """
    return None if why_not(module) else class_kind(type(module))


def why_not(module: nn.Module) -> str:
    """Why no epitome layer can stand in for a module; empty where one can.

    Examples:
        >>> why_not(nn.Conv2d(2, 3, 3, padding_mode="circular"))
        "padding_mode='circular'; epitome layers pad with zeros only"
        >>> why_not(nn.Linear(2, 3))
        ''
    """
    weight = module._parameters.get("weight")
    if isinstance(module, tuple(BASES)) and weight is None:
        return "its weight is computed by a hook or parametrization (weight_norm and the like), not stored"
    kind = class_kind(type(module))
    if kind is None:
        return _no_kind(module)
    if getattr(module, "padding_mode", "zeros") != "zeros":
        return f"padding_mode={module.padding_mode!r}; epitome layers pad with zeros only"
    if "forward" in vars(module):
        return "its forward was replaced on this very layer, so what it computes is not known"
    known = {"weight", "bias", *_OWN_NUMBERS.get(kind, ())}
    others = [*(n for n in module._parameters if n not in known), *module._buffers, *module._modules]
    if others:
        return f"{type(module).__name__} holds {others[0]!r} beside weight and bias, so what it computes is not known"
    assert weight is not None  # asked above
    return "" if weight.is_floating_point() else f"its weight is {weight.dtype}, not floating point"


def _no_kind(module: nn.Module) -> str:
    name = type(module).__name__
    if isinstance(module, nn.modules.conv._ConvTransposeNd):
        return f"{name}: a transposed convolution scatters its input; its weight's axes are swapped and no epitome layer samples them"
    base = next((b.__name__ for b in BASES if isinstance(module, b)), None)
    if base is not None:
        return f"{name} is a subclass of {base} with a forward of its own; only those known by rule are replaced"
    return f"{name} is of a kind without an epitome layer; Linear, Conv1d, Conv2d and Conv3d are replaced"


def layer_op(module: nn.Module) -> LayerOp:
    """The operation a replaceable layer performs.

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


def build(module: nn.Module, weights: str = "fit", **layer_arguments: Any) -> EpitomeLayer:
    """An epitome layer in place of a dense one.

    Args:
        module: The dense layer; it stays untouched.
        weights: ``"fit"``: the epitome nearest to its weight; ``"reset"``: each cell takes one of the weights that read it;
            ``"none"``: fresh numbers; whether there is a bias, dtype, device and mode are the layer's.
        **layer_arguments: ``epitome_shape`` and the other epitome arguments of the layer.

    Raises:
        OptionError: If there is no epitome layer for the module; says why.
        GeometryError: If a patch does not fit.

    Examples:
        >>> build(nn.Conv2d(4, 8, 3), epitome_shape=(4, 4, 3, 3)).kind
        'conv2d'
    """
    from nes_lab.nn import LAYERS  # they ask this module for kinds

    reason = why_not(module)
    if reason:
        raise OptionError(f"module: {reason}")
    kind = class_kind(type(module))
    assert kind is not None  # else there is a reason
    layer = LAYERS[kind]
    make = layer.from_linear if kind == "linear" else layer.from_conv  # type: ignore[attr-defined]
    return make(module, weights, **layer_arguments)
