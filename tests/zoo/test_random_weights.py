from __future__ import annotations

import pytest
import torch
from torch import nn

from nes_lab.zoo.random_weights import draw_constants_, outputs, set_norms_, spread


def test_set_norms_keeps_modes_and_momentum():
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8, momentum=0.2), nn.BatchNorm2d(8)).eval()
    model[2].train()
    x = torch.randn(4, 3, 8, 8) * 100
    set_norms_(model, x)
    assert [m.training for m in model] == [False, False, True] and model[1].momentum == 0.2
    assert float(outputs(model.eval(), x)[0].std()) == pytest.approx(1, abs=0.1)


def test_draw_constants_changes_only_small_constants():
    model = nn.Sequential(nn.Linear(8, 8), nn.LayerNorm(8), nn.Linear(8, 8))
    nn.init.zeros_(model[2].weight)
    before = model[0].weight.clone(), model[1].weight.clone()
    draw_constants_(model, torch.Generator().manual_seed(0))
    assert torch.equal(before[0], model[0].weight) and torch.equal(before[1], model[1].weight)
    assert model[2].weight.any() and spread(outputs(model, torch.randn(2, 8))) > 0
