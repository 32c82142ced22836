from __future__ import annotations

import pytest
import torch

import nes_lab


@pytest.mark.parametrize(("size", "width"), [(8, 1.0), (32, 0.25)])
def test_small_mobilenetv2_takes_small_images(size, width):
    model = nes_lab.create_backbone("small_mobilenetv2", num_classes=7, in_channels=3, width=width)
    assert model(torch.randn(2, 3, size, size)).shape == (2, 7)
