"""A ResNet with bottleneck blocks, of torch alone: the machine with the GPU may lack timm. With epitomes, by a budget of half."""

from __future__ import annotations

import torch
from torch import Tensor, nn

import nes_lab
from benchmarks.gpu_parts.sizes import Size
from nes_lab.records.options import Routing

__all__ = ["BUDGET", "VARIANTS", "resnet", "variant"]

BUDGET = 0.5
VARIANTS: tuple[Routing, ...] = ("tiled", "free", "learner")
"""Routings of the epitome networks that are measured."""


class _Bottleneck(nn.Module):
    def __init__(self, c_in: int, planes: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(c_in, planes, 1, bias=False),
            nn.BatchNorm2d(planes),
            nn.ReLU(),
            nn.Conv2d(planes, planes, 3, stride, 1, bias=False),
            nn.BatchNorm2d(planes),
            nn.ReLU(),
            nn.Conv2d(planes, 4 * planes, 1, bias=False),
            nn.BatchNorm2d(4 * planes),
        )
        changed = stride > 1 or c_in != 4 * planes
        self.skip = nn.Sequential(nn.Conv2d(c_in, 4 * planes, 1, stride, bias=False), nn.BatchNorm2d(4 * planes))
        self.skip = self.skip if changed else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.body(x) + self.skip(x))


def resnet(size: Size) -> nn.Module:
    """Return the dense network: with the full size, ResNet-50 (He et al., CVPR 2016)."""
    torch.manual_seed(size.settings.seed)
    stem = [nn.Conv2d(3, size.width, 7, 2, 3, bias=False), nn.BatchNorm2d(size.width), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    blocks: list[nn.Module] = []
    channels = size.width
    for stage, count in enumerate(size.blocks):
        for number in range(count):
            planes = size.width * 2**stage
            blocks.append(_Bottleneck(channels, planes, 2 if stage and not number else 1))
            channels = 4 * planes
    return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 1000))


def variant(size: Size, routing: Routing) -> nn.Module:
    """Return the network with epitomes at half of the multiply-adds; each layer that can runs ``factored``."""
    dense = resnet(size)
    x = torch.zeros(1, 3, size.pixels, size.pixels)
    plan = nes_lab.plan_for_budget(dense, nes_lab.Budget(madds=BUDGET), x, routing=routing, wiring="input_axis")
    return nes_lab.compress(dense, plan, initial_weights="reset", verify=False)
