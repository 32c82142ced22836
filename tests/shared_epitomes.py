"""Networks whose layers of different kinds and kernels share one flat epitome."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import nn

import nes_lab
from nes_lab.nn.free_starts import FreeStarts
from nes_lab.nn.layer import EpitomeLayer


def dense_net(seed: int = 0) -> nn.Module:
    """A 3x3 convolution of one channel, a 1x1 convolution, a batch norm and a linear layer."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(16, 12, 1, bias=False),
            nn.BatchNorm2d(12),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
            nn.Dropout(0.2),
            nn.Linear(48, 10),
        )


def shared_net(routing: str = "random", share: str = "network", params: Any = "60%", **options: Any) -> nn.Module:
    """The network with shared epitomes; learned starts lie between cells."""
    options = {"windows": 2, "initial_weights": "reset"} | options
    dense, x = dense_net(), torch.zeros(1, 1, 8, 8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        net = nes_lab.compress(dense, params=params, example_input=x, share=share, routing=routing, **options)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(1)
        for module in net.modules():
            if isinstance(module, FreeStarts):
                module.table(0).uniform_(-3, 3)
    return net


def owners(net: nn.Module) -> int:
    """How many different epitomes the layers of a network have."""
    return len({id(layer.epitome) for layer in net.modules() if isinstance(layer, EpitomeLayer)})
