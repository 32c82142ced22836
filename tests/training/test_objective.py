"""Inputs and loss of a step, with distillation."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from nes_lab.errors import OptionError
from nes_lab.training.hooks import Hooks
from nes_lab.training.loop import Trainer
from nes_lab.training.losses import kd_loss
from nes_lab.training.objective import Objective
from nes_lab.training.precision import Precision
from nes_lab.training.recipe import Recipe
from tests.training.nets import tiny_data, tiny_net, trainer

CPU = torch.device("cpu")


def recipe(**changes) -> Recipe:
    return Recipe(**({"epochs": 4, "batch_size": 4, "lr": 0.1} | changes))


def test_objective_distills_as_computed_by_hand() -> None:
    logits, teacher = torch.tensor([[1.0, -1.0]]), torch.tensor([[0.0, 2.0]])
    p, q = torch.softmax(teacher / 2, 1), torch.softmax(logits / 2, 1)
    expected = 4 * (p * (p.log() - q.log())).sum()
    assert float(kd_loss(logits, teacher, 2.0)) == pytest.approx(float(expected))
    objective = Objective(recipe(kd_weight=0.25, kd_temperature=2.0), 2, Precision(CPU, "off"), nn.Identity())
    labels = torch.tensor([1])
    loss = objective.loss(logits, teacher, labels)
    assert float(loss) == pytest.approx(float(0.75 * F.cross_entropy(logits, labels) + 0.25 * expected))


def test_objective_needs_a_teacher_to_distill() -> None:
    with pytest.raises(OptionError, match=r"kd_weight=0.5 needs a teacher"):
        Trainer(tiny_net(), tiny_data(), Recipe(epochs=1, batch_size=8, lr=0.1, kd_weight=0.5))


def test_objective_with_full_kd_weight_makes_a_network_like_its_teacher() -> None:
    net, teacher = tiny_net(dropout=0.0), tiny_net(seed=9)
    rows = []
    trainer(net, hooks=Hooks(metric=rows.append), teacher=teacher, kd_weight=1.0, kd_temperature=2.0, epochs=8).fit()
    losses = [row["loss"] for row in rows if row["split"] == "train"]
    assert losses[-1] < 0.5 * losses[0]


def test_objective_neither_changes_nor_saves_the_teacher(tmp_path: Path) -> None:
    teacher = tiny_net(seed=9)
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    tr = trainer(teacher=teacher, kd_weight=0.5)
    assert tr.fit()
    assert all(value.equal(before[name]) for name, value in teacher.state_dict().items())
    assert all(parameter.grad is None for parameter in teacher.parameters())
    assert not teacher.training
    assert set(tr.model.state_dict()) == set(tiny_net().state_dict())
    plain = trainer()
    plain.fit()
    assert not plain.model[0].weight.equal(tr.model[0].weight)


@pytest.mark.parametrize("channels_last", [False, True])
def test_a_network_gets_images_in_the_layout_of_the_recipe_whatever_the_data_set_delivers(channels_last: bool) -> None:
    objective = Objective(recipe(channels_last=channels_last), 2, Precision(CPU, "off"))
    wanted = torch.channels_last if channels_last else torch.contiguous_format
    for stored in (torch.channels_last, torch.contiguous_format):
        images, _ = objective.inputs(torch.rand(4, 3, 5, 5).to(memory_format=stored), torch.zeros(4, dtype=torch.long))
        assert images.is_contiguous(memory_format=wanted)
