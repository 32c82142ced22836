"""A network in memory is trained itself, also if its class or name would make another network with the same layers."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

import nes_lab
from nes_lab.errors import CheckpointError, OptionError
from nes_lab.experiment.same_network import network_difference
from nes_lab.experiment.train import StartWarning

CONFIG = {"data": {"limit": 64, "batch_size": 32}, "training": {"epochs": 1, "threads": 1, "warmup_epochs": 0}}


def test_network_that_its_class_makes_differently_is_trained_itself(tmp_path, monkeypatch) -> None:
    (tmp_path / "scaled_net.py").write_text(
        "from torch import nn\n"
        "class Scaled(nn.Module):\n"
        "    def __init__(self, scale=1.0):\n"
        "        super().__init__()\n"
        "        self.scale, self.out = scale, nn.Linear(64, 10)\n"
        "    def forward(self, x):\n"
        "        return self.scale * self.out(x.flatten(1))\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    from scaled_net import Scaled  # pyright: ignore[reportMissingImports]

    root = tmp_path / "runs"
    with pytest.warns(StartWarning, match=r"Scaled has scale=0.0, not 1.0, as scaled_net:Scaled makes it; so the run"):
        run = nes_lab.train(CONFIG, network=Scaled(0.0), root=root, progress=False)
    assert run.metrics().rows[-1]["loss"] == pytest.approx(math.log(10), abs=1e-6)  # rounding; all outputs are 0
    assert run.network().scale == 0.0 and run.info.given == {"network": "Scaled"}
    with pytest.raises(OptionError, match=r"network=Scaled \(Scaled has scale=0.0, not 1.0.*only in the memory"):
        nes_lab.train(CONFIG, network=Scaled(0.0), detach=True, root=root)
    opened = nes_lab.open_run(run.id, root=root)
    with pytest.raises(CheckpointError, match=r"network=Scaled: the network has scale=1.0, not 0.0.*unchanged"):
        opened.extend(2, network=Scaled(1.0))
    assert opened.state == "finished"
    assert nes_lab.train(CONFIG, network=Scaled(1.0), root=root, progress=False).info.given == {}


def test_network_difference_compares_dropout_functions_and_outputs() -> None:
    image = torch.ones(1, 2)
    plain = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.1)).eval()
    other = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.2)).eval()
    other.load_state_dict(plain.state_dict())
    assert network_difference(plain, other, image) == "1.p=0.1, not 0.2"
    other[1].p = 0.1  # type: ignore[assignment]
    assert network_difference(plain, other, image) == ""
    other[0].register_forward_hook(lambda module, inputs, output: 2 * output)
    assert network_difference(plain, other, image) == "other outputs"
    own = nn.Linear(2, 2).eval()
    own.forward = torch.relu  # type: ignore[assignment]
    assert network_difference(own, nn.Linear(2, 2).eval(), None).startswith("forward=")
