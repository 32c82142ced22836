"""The zoo's check tells what passed from what did not, and where it stopped."""

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
from nes_lab.zoo.random_weights import outputs, set_norms_, spread, wake_
from nes_lab.zoo.result import STAGES, ZooRow

SIZE = (3, 16, 16)


class _Net(nn.Module):
    """Born quiet: its last layer is zero."""

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


def test_a_quiet_network_passes_once_awake(net):
    before = torch.get_rng_state()
    row = check_backbone(net, input_size=SIZE)
    assert row.passed and not row.stage and not row.reason
    assert (row.replaced, row.gradients, row.asked, row.least) == (3, 3, 0.6, None)
    assert row.reached_params <= 0.6 * row.params and row.reached_madds < row.madds
    assert tuple(row.seconds) == STAGES and row.agreement <= 1e-4
    assert torch.equal(before, torch.get_rng_state())
    assert ZooRow.from_dict(json.loads(json.dumps(row.to_dict()))) == row
    assert "passed" in str(row)


def test_a_budget_that_cannot_be_met_becomes_the_least_and_a_tenth(net):
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
def test_what_stops_a_network_stands_in_its_row(net, fault, status, stage, says):
    row = check_backbone(net, input_size=SIZE, fault=fault)
    assert (row.status, row.stage) == (status, stage) and says in row.reason
    assert stage in str(row) and not row.passed


@pytest.mark.parametrize(
    ("stage", "says"),
    [("materialize", "differ by"), ("count", "the plan predicts"), ("backward", "no gradient reaches")],
)
def test_a_promise_that_is_broken_is_found(net, stage, says, monkeypatch):
    def altered(model: nn.Module) -> nn.Module:
        plain = materialize(model)
        plain.head.weight.data[0] *= 1.01
        return plain

    def deaf(model, plan, **options):
        small = compress(model, plan, **options)
        small.head.epitome.requires_grad_(False)
        return small

    compress = check.compress
    if stage == "materialize":
        monkeypatch.setattr(check, "materialize", altered)
    elif stage == "backward":
        monkeypatch.setattr(check, "compress", deaf)
    else:
        monkeypatch.setattr(check, "count", lambda model, x: check_count(nn.Sequential(model, nn.Linear(10, 10)), x))
        from nes_lab.cost.count import count as check_count
    row = check_backbone(net, input_size=SIZE)
    assert (row.status, row.stage) == ("failed", stage) and says in row.reason


def test_an_unknown_backbone_is_an_error():
    with pytest.raises(OptionError, match="Did you mean"):
        check_backbone("small_mobilenet_v2")


def test_norms_set_up_keep_modes_and_momentum():
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8, momentum=0.2), nn.BatchNorm2d(8)).eval()
    model[2].train()
    x = torch.randn(4, 3, 8, 8) * 100
    set_norms_(model, x)
    assert [m.training for m in model] == [False, False, True] and model[1].momentum == 0.2
    assert float(outputs(model.eval(), x)[0].std()) == pytest.approx(1, abs=0.1)


def test_waking_leaves_what_is_awake():
    model = nn.Sequential(nn.Linear(8, 8), nn.LayerNorm(8), nn.Linear(8, 8))
    nn.init.zeros_(model[2].weight)
    before = model[0].weight.clone(), model[1].weight.clone()
    wake_(model, torch.Generator().manual_seed(0))
    assert torch.equal(before[0], model[0].weight) and torch.equal(before[1], model[1].weight)
    assert model[2].weight.any() and spread(outputs(model, torch.randn(2, 8))) > 0
