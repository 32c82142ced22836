"""The check of the zoo tells what passed from what did not, and where it stopped."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from nes_lab.backbones import registry
from nes_lab.errors import OptionError
from nes_lab.surgery.replace import materialize
from nes_lab.zoo import check
from nes_lab.zoo.check import check_backbone
from nes_lab.zoo.result import STAGES, ZooRow

SIZE = (3, 16, 16)


class _Net(nn.Module):
    """A network whose last layer begins at zero."""

    def __init__(self, num_classes: int, in_channels: int, width: float, fault: str = "") -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(in_channels, 32, 3), nn.BatchNorm2d(32), nn.ReLU(), nn.Conv2d(32, 64, 3))
        self.head = nn.Linear(64, num_classes)
        nn.init.zeros_(self.head.weight)
        self.fault = fault
        if fault == "nan":
            self.body[3].weight.data[0, 0, 0, 0] = float("nan")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.fault == "training" and self.training:
            raise KeyError("no training here")
        y = self.head(self.body(x).mean((2, 3)))
        return y * 0 if self.fault == "constant" else y


@pytest.fixture
def net(monkeypatch):
    monkeypatch.setitem(registry._OURS, "zoo_net", _Net)
    return "zoo_net"


def test_check_backbone_passes_a_network_whose_last_layer_is_zero(net):
    before = torch.get_rng_state()
    row = check_backbone(net, input_size=SIZE)
    assert row.passed and not row.stage and not row.reason
    assert (row.replaced, row.gradients, row.asked, row.least) == (3, 3, 0.6, None)
    assert row.reached_params <= 0.6 * row.params and row.reached_madds < row.madds
    assert tuple(row.seconds) == STAGES and row.agreement <= 1e-4
    assert torch.equal(before, torch.get_rng_state())
    assert ZooRow.from_dict(json.loads(json.dumps(row.to_dict()))) == row
    assert "passed" in str(row)


def test_check_backbone_relaxes_a_budget_that_cannot_be_met(net):
    row = check_backbone(net, input_size=SIZE, params=0.001)
    assert row.passed and row.least > 0.001
    assert row.asked == pytest.approx(1.1 * row.least) and row.reached_params <= row.asked * row.params


@pytest.mark.parametrize(
    ("fault", "status", "stage", "says"),
    [
        ("constant", "refused", "create", "does not depend on the input"),
        ("nan", "refused", "create", "body.3.weight"),
        ("training", "failed", "backward", "KeyError: 'no training here'"),
    ],
)
def test_check_backbone_reports_what_stopped_a_network(net, fault, status, stage, says):
    row = check_backbone(net, input_size=SIZE, fault=fault)
    assert (row.status, row.stage) == (status, stage) and says in row.reason
    assert stage in str(row) and not row.passed


@pytest.mark.parametrize(
    ("stage", "says"),
    [("materialize", "differ by"), ("count", "the plan predicts"), ("backward", "no gradient reaches")],
)
def test_check_backbone_detects_a_fault_of_the_library(net, stage, says, monkeypatch):
    def altered(model: nn.Module) -> nn.Module:
        plain = materialize(model)
        plain.head.weight.data[0] *= 1.01
        return plain

    def deaf(model, plan, **options):
        small = compress(model, plan, **options)
        small.head.epitome.requires_grad_(False)
        return small

    compress = check.replace_layers
    if stage == "materialize":
        monkeypatch.setattr(check, "materialize", altered)
    elif stage == "backward":
        monkeypatch.setattr(check, "replace_layers", deaf)
    else:
        monkeypatch.setattr(check, "count", lambda model, x: check_count(nn.Sequential(model, nn.Linear(10, 10)), x))
        from nes_lab.cost.count import count as check_count
    row = check_backbone(net, input_size=SIZE)
    assert (row.status, row.stage) == ("failed", stage) and says in row.reason


def test_check_backbone_refuses_an_unknown_name():
    with pytest.raises(OptionError, match="Did you mean"):
        check_backbone("small_mobilenet_v2")
