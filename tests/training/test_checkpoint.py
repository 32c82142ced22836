"""Checkpoint files: what is in them, and which files are refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from nes_lab.errors import CheckpointError
from nes_lab.training.checkpoint import load_into, load_state, load_weights, save_weights
from tests.training.nets import trainer
from tests.training.resuming import save


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    """Files of one finished training of 8 steps."""
    folder = tmp_path_factory.mktemp("saved")
    tr = trainer(epochs=1, ema_decay=0.9)
    tr.fit()
    save(tr, folder)
    return folder


def test_save_training_writes_plain_values_only(saved: Path) -> None:
    assert load_state(saved / "s.pt")["step"] == 4
    weights, averaged = load_weights(saved / "w.safetensors"), load_weights(saved / "w.safetensors", ema=True)
    assert weights.keys() == averaged.keys() and not any(name.startswith("ema/") for name in weights)


def test_load_refuses_hostile_damaged_and_foreign_files(saved: Path, tmp_path: Path) -> None:
    torch.save({"step": Path("/")}, tmp_path / "code.pt")
    with pytest.raises(CheckpointError, match=r"code\.pt cannot be read"):
        load_state(tmp_path / "code.pt")
    (tmp_path / "cut.pt").write_bytes((saved / "s.pt").read_bytes()[:500])
    with pytest.raises(CheckpointError, match=r"cut\.pt cannot be read"):
        load_state(tmp_path / "cut.pt")
    (tmp_path / "cut.safetensors").write_bytes((saved / "w.safetensors").read_bytes()[:50])
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_weights(tmp_path / "cut.safetensors")
    save_weights(tmp_path / "plain.safetensors", nn.Linear(2, 2))
    with pytest.raises(CheckpointError, match="no averaged weights: the run was trained without ema_decay"):
        load_weights(tmp_path / "plain.safetensors", ema=True)
    with pytest.raises(CheckpointError, match="does not fit this network"):
        load_into(nn.Linear(2, 2), load_weights(saved / "w.safetensors"), saved)


def test_save_weights_writes_tied_weights_each_and_they_stay_tied(tmp_path: Path) -> None:
    def make() -> nn.Module:
        net = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))
        net[2].weight = net[0].weight
        return net

    source, target = make(), make()
    save_weights(tmp_path / "w.safetensors", source)
    load_into(target, load_weights(tmp_path / "w.safetensors"), tmp_path)
    assert target[2].weight is target[0].weight
    assert target[0].weight.equal(source[0].weight)
