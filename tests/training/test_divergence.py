"""A training stops at the first number that is not finite, and does not save it."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from nes_lab.training.divergence import DivergedError
from nes_lab.training.hooks import Hooks
from nes_lab.training.loop import Trainer
from nes_lab.training.recipe import Recipe
from tests.training.nets import Poison, tiny_data, tiny_net, trainer


def test_divergence_watch_stops_before_a_nan_loss_reaches_the_weights() -> None:
    saved = []
    tr = trainer(nn.Sequential(tiny_net(), Poison(at=6)), hooks=Hooks(checkpoint=lambda t: saved.append(t.step)))
    with pytest.raises(DivergedError, match=r"training loss is nan at step 6 .*try a lower lr"):
        tr.fit()
    assert saved == [4]
    assert all(p.isfinite().all() for p in tr.model.parameters())


def test_divergence_watch_never_saves_spoiled_weights() -> None:
    saved = []
    tr = trainer(hooks=Hooks(checkpoint=lambda t: saved.append(t.step), should_stop=lambda: tr.step >= 2))
    with torch.no_grad():
        tr.model[1].running_var.fill_(math.inf)
    with pytest.raises(DivergedError, match=r"1\.running_var is nan at step 2"):
        tr.fit()
    assert saved == []


@pytest.mark.gpu
def test_divergence_watch_names_the_first_bad_step_on_a_gpu() -> None:
    bad = nn.Sequential(tiny_net(), Poison(at=5))
    with pytest.raises(DivergedError, match="at step 5"):
        Trainer(bad, tiny_data(), Recipe(epochs=3, batch_size=24, lr=0.1), device="cuda").fit()
