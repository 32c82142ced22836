"""List all kinds of epitome layers by name, and make an epitome layer in place of a dense one.

To add a kind, write ``nn/NAME.py`` with a subclass of :class:`~nes_lab.nn.layer.EpitomeLayer` that sets ``kind`` (its name),
``dense`` (torch's class) and ``operation`` (how the weight is applied). Enter the subclass in :data:`LAYERS`, and say in
:mod:`nes_lab.nn.kinds` which dense layers it can replace.

Tests: tests/nn/test_kinds.py
"""

from __future__ import annotations

from typing import Unpack

from torch import nn

from nes_lab.errors import OptionError
from nes_lab.nn.conv import EpitomeConv1d, EpitomeConv2d, EpitomeConv3d
from nes_lab.nn.kinds import class_kind, why_not
from nes_lab.nn.larger_epitome import no_warning_of_larger_epitomes
from nes_lab.nn.layer import EpitomeLayer
from nes_lab.nn.linear import EpitomeLinear
from nes_lab.nn.same import EpitomeConv2dSame
from nes_lab.nn.std_conv import EpitomeStdConv2d
from nes_lab.records.keywords import EpitomeKeywords
from nes_lab.records.options import EpitomeInit

__all__ = ["LAYERS", "epitome_layer_for"]

LAYERS: dict[str, type[EpitomeLayer]] = {
    layer.kind: layer
    for layer in (EpitomeLinear, EpitomeConv1d, EpitomeConv2d, EpitomeConv3d, EpitomeConv2dSame, EpitomeStdConv2d)
}
"""Class of epitome layer for each kind of layer."""


def epitome_layer_for(
    module: nn.Module, initial_weights: EpitomeInit = "fit", **layer_arguments: Unpack[EpitomeKeywords]
) -> EpitomeLayer:
    """Make the epitome layer that replaces a dense layer.

    The new layer has the dtype, the device and the training mode of the dense layer. It has a bias if the dense layer
    has one.

    Args:
        module: The dense layer; it is not changed.
        initial_weights: ``"fit"``: the epitome is the one whose sampled weight is nearest to the dense weight; ``"reset"``:
            each cell takes the value of one weight that reads it; ``"none"``: epitome and bias are random.
        **layer_arguments: Keyword arguments of the new layer: ``epitome_shape``, and others such as ``patch_channels`` and
            ``routing``.

    Raises:
        OptionError: If no epitome layer can replace the module; the message says why.
        GeometryError: If a patch does not fit in the epitome.

    Examples:
        >>> epitome_layer_for(nn.Conv2d(4, 8, 3), epitome_shape=(4, 4, 3, 3)).kind
        'conv2d'
    """
    reason = why_not(module)
    if reason:
        raise OptionError(f"module: {reason}")
    kind = class_kind(type(module))
    assert kind is not None  # otherwise there is a reason
    layer = LAYERS[kind]
    make = layer.from_linear if kind == "linear" else layer.from_conv  # type: ignore[attr-defined]
    with no_warning_of_larger_epitomes():  # the caller knows which layers share an epitome
        return make(module, initial_weights, **layer_arguments)
