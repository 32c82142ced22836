"""A setting that data or a loss in memory makes void is refused, or the run says that it does not apply."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import nes_lab
from nes_lab.errors import OptionError
from nes_lab.experiment.train import StartWarning

QUICK = {"training": {"epochs": 1, "threads": 1, "warmup_epochs": 0}}


def _images(largest: int = 9) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.zeros(8, 1, 8, 8), torch.tensor([0, largest] * 4)


def test_notes_on_data_name_the_fields_that_data_in_memory_makes_void(tmp_path) -> None:
    loader = DataLoader(TensorDataset(*_images()), batch_size=4)
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    config = {**QUICK, "data": {"name": "cifar10", "limit": 4, "batch_size": 7, "augment": "standard"}}
    about = {"network": network, "root": tmp_path, "progress": False}
    with pytest.warns(StartWarning, match=r"data.name='cifar10', data.limit=4, data.batch_size=7 do not apply"):
        run = nes_lab.train(config, data=(loader, loader), **about)
    assert any("data.limit=4" in note for note in run.info.notes)


def test_notes_on_data_say_that_targets_use_few_classes(tmp_path) -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 1001))
    with pytest.warns(StartWarning, match="the targets use 2 of 1,001 classes"):
        nes_lab.train(QUICK, network=network, data=(_images(1000), _images(0)), root=tmp_path, progress=False)


def test_without_label_smoothing_refuses_what_the_user_wrote(tmp_path) -> None:
    config = {**QUICK, "training": {**QUICK["training"], "label_smoothing": 0.1}}
    with pytest.raises(OptionError, match=r"training\.label_smoothing=0\.1"):
        nes_lab.train(config, loss=nn.functional.cross_entropy, root=tmp_path, progress=False)
    assert nes_lab.list_runs(root=tmp_path) == []
    run = nes_lab.train(
        QUICK, loss=nn.functional.cross_entropy, root=tmp_path, progress=False, overrides={"data.limit": 64}
    )
    assert run.config.training.label_smoothing == 0


def test_run_without_a_finite_validation_says_so(tmp_path) -> None:
    metrics = {"odd": lambda outputs, targets: float("nan")}
    about = {"overrides": {"data.limit": 64}, "root": tmp_path, "progress": False}
    run = nes_lab.train(QUICK, metrics=metrics, **about)
    assert run.info.reason == "no validation gave a finite number for odd" and run.info.reason in repr(run)
