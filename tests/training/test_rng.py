"""Global random generators."""

from __future__ import annotations

import random

import numpy as np
import torch

from nes_lab.training.rng import capture_rng, isolated_rng, restore_rng


def test_capture_and_restore_rng_make_a_round_trip() -> None:

    with isolated_rng(5):
        random.gauss(0, 1)
        np.random.normal()
        state = capture_rng()
        first = (random.gauss(0, 1), np.random.normal(), torch.rand(1).item())
        restore_rng(state)
        assert (random.gauss(0, 1), np.random.normal(), torch.rand(1).item()) == first
