"""Epitome layers as plain torch modules."""

from nes_lab.nn.conv import EpitomeConv1d, EpitomeConv2d, EpitomeConv3d
from nes_lab.nn.layer import EpitomeLayer, SnapReport
from nes_lab.nn.linear import EpitomeLinear
from nes_lab.nn.same import EpitomeConv2dSame
from nes_lab.nn.std_conv import EpitomeStdConv2d

__all__ = [
    "LAYERS",
    "EpitomeConv1d",
    "EpitomeConv2d",
    "EpitomeConv2dSame",
    "EpitomeConv3d",
    "EpitomeLayer",
    "EpitomeLinear",
    "EpitomeStdConv2d",
    "SnapReport",
]

LAYERS: dict[str, type[EpitomeLayer]] = {
    layer.kind: layer
    for layer in (EpitomeLinear, EpitomeConv1d, EpitomeConv2d, EpitomeConv3d, EpitomeConv2dSame, EpitomeStdConv2d)
}
"""Kind -> epitome layer; :mod:`nes_lab.nn.kinds` says which dense layer is of which kind."""
