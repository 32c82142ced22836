"""Epitome layers as plain torch modules."""

from nes_lab.nn.conv import EpitomeConv1d, EpitomeConv2d
from nes_lab.nn.layer import EpitomeLayer, SnapReport
from nes_lab.nn.linear import EpitomeLinear

__all__ = ["EpitomeConv1d", "EpitomeConv2d", "EpitomeLayer", "EpitomeLinear", "SnapReport"]
