"""A recipe is checked when it is made."""

from __future__ import annotations

import math

import pytest

from nes_lab.errors import OptionError
from nes_lab.training.recipe import Recipe


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": 0}, "epochs=0 should be at least 1"),
        ({"epochs": 1.5}, "epochs=1.5 should be an integer"),
        ({"lr": None}, "lr=None should be a number"),
        ({"clip_grad": "x"}, "clip_grad='x' should be a number or None"),
        ({"compile": 1}, "compile=1 should be True or False"),
        ({"lr": -1.0}, "lr=-1.0 should be a finite number above 0"),
        ({"lr": math.nan}, "lr=nan"),
        ({"label_smoothing": 1.0}, "label_smoothing=1.0"),
        ({"ema_decay": 1.5}, "ema_decay=1.5"),
        ({"amp": "fp8"}, "amp='fp8'"),
    ],
)
def test_recipe_refuses_values_out_of_range(change: dict, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        Recipe(**({"epochs": 1, "batch_size": 8, "lr": 0.1} | change))
