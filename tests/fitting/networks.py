"""The network that most tests of this room fit, made once, with its plans and batches."""

from __future__ import annotations

from functools import cache

import torch
from torch import nn

import nes_lab

ONE_CHANNEL = {"routing": "free", "patch_channels": 1, "round_to": 1}
"""Options of a plan whose patches are one channel long."""


@cache
def network() -> nn.Sequential:
    """Convolutions with norms, with and without bias, and a linear layer; the norms have statistics of their own."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Conv2d(16, 24, 3, stride=2, padding=1),
        nn.BatchNorm2d(24),
        nn.ReLU(),
        nn.Conv2d(24, 16, 1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(16 * 16, 10),
    )
    for norm in (net[1], net[4]):
        for tensor, low, high in ((norm.weight, -1.0, 1.5), (norm.bias, -0.5, 0.5), (norm.running_mean, -0.3, 0.3)):
            tensor.data.uniform_(low, high)
        norm.running_var.uniform_(0.2, 2.0)
    return net.eval()


def batches(count=4, seed=1):
    draw = torch.Generator().manual_seed(seed)
    return [torch.randn(16, 3, 8, 8, generator=draw) for _ in range(count)]


@cache
def plan(share="60%", **options) -> nes_lab.CompressionPlan:
    """A plan for :func:`network`, of this share of its params."""
    example = torch.zeros(1, 3, 8, 8)
    return nes_lab.plan_for_budget(network(), nes_lab.Budget(params=share), example, **{"round_to": 2, **options})


def full_size_plan(routing) -> nes_lab.CompressionPlan:
    """A plan for :func:`network` whose epitomes are as large as the weights."""
    data = plan("70%", include=("0", "3", "6", "9"), routing=routing).to_dict()
    for name, layer in data["layers"].items():
        layer["epitome_shape"] = list(network().get_submodule(name).weight.shape)
    data["epitomes"] = {}  # each layer has its own, of its own shape
    return nes_lab.CompressionPlan.from_dict(data)


def output_error(net, student, x) -> float:
    """Relative distance between the outputs of two networks."""
    with torch.no_grad():
        expected = net(x)
        return float((student.eval()(x) - expected).norm() / expected.norm())
