from __future__ import annotations

import pytest
import torch

from nes_lab.tuning.layer_inputs import InputLayout


@pytest.mark.parametrize(
    "x",
    [
        torch.randn(2, 4, 6, 6).contiguous(memory_format=torch.channels_last),
        torch.randn(2, 4, 6, 12)[..., ::2],
        torch.randn(1, 4, 6, 6).expand(2, -1, -1, -1),
        torch.randn(2, 4, 6, 6, dtype=torch.float64),
    ],
)
def test_input_layout_makes_tensors_of_the_layout_it_was_given(x):
    made = InputLayout.of(x).make()
    assert made.shape == x.shape and made.dtype == x.dtype and made.std() > 0.5
    assert made.stride() == x.stride() or 0 in x.stride()
