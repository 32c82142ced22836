from __future__ import annotations

import pytest
import torch
from torch import nn

from nes_lab.fitting.row_scales import move_into_norm_


@pytest.mark.parametrize("with_bias", [False, True])
def test_move_into_norm_takes_factors_and_shifts_exactly(with_bias):
    torch.manual_seed(0)
    y, scale, shift = torch.randn(5, 6, 4), torch.randn(6) + 0.1, torch.randn(6)
    norm = nn.BatchNorm1d(6).eval()
    norm.weight.data.normal_()
    norm.running_mean.normal_()
    norm.running_var.uniform_(0.5, 2.0)
    norm.running_var[0] = 0.0  # a channel that never varied: all of it lies in the bias
    y[:, 0] = norm.running_mean[0]
    expected, bias = norm(y), torch.ones(6) if with_bias else None
    move_into_norm_(norm, bias, scale, shift)
    output = norm(y / scale.view(1, 6, 1) + shift.view(1, 6, 1))
    assert torch.allclose(output, expected, atol=2e-5)  # eps of the norm counts once more on small variances
    assert bias is None or torch.allclose(bias, 1 / scale)
