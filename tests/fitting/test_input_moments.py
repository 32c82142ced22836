from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from nes_lab.fitting.input_moments import input_moments


def test_input_moments_are_those_of_unfolded_inputs():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(4, 6, (3, 2), stride=(1, 2), padding=1, groups=2), nn.Flatten(2), nn.Linear(15, 5))
    x = torch.randn(3, 4, 5, 4)
    moments, count = input_moments(net, ["0", "2"], [x], lambda event: None)
    windows = F.unfold(x, (3, 2), padding=1, stride=(1, 2)).unflatten(1, (2, 12)).movedim(1, 0).movedim(2, 3)
    windows = windows.reshape(-1, 12).double()
    assert count == 1 and moments["0"].count == len(windows)
    assert torch.allclose(moments["0"].square, windows.T @ windows, atol=1e-4)
    covariance = torch.cov(windows.T, correction=0)
    damped = moments["0"].second(centered=True)
    assert torch.allclose(damped, covariance + 0.01 * covariance.diagonal().mean() * torch.eye(12), atol=1e-5)
    inputs = net[1](net[0](x)).detach().reshape(-1, 15).double()
    assert torch.allclose(moments["2"].mean, inputs.mean(0), atol=1e-6)
