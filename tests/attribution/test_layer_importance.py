"""Importance of layers, and plans weighed by it."""

import pytest
import torch
from torch import nn

import nes_lab
from nes_lab.attribution import attribute, layer_importance


def test_layer_importance_is_the_mean_absolute_conductance_with_mean_one():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))
    inputs = torch.randn(5, 4)
    found = layer_importance(network, inputs, steps=16)
    raw = [
        abs(attribute(network, inputs, "layer_conductance", layer=name, steps=16).values).sum() / 5
        for name in ("0", "2")
    ]
    assert found == pytest.approx({"0": 2 * raw[0] / sum(raw), "2": 2 * raw[1] / sum(raw)}, rel=1e-4)  # float32


def test_layer_importance_counts_epitome_layers_by_their_dense_names():
    network = nes_lab.create_backbone("small_mobilenetv2").eval()
    inputs = torch.randn(2, 3, 8, 8)
    small = nes_lab.compress(network, params="60%", example_input=inputs[:1]).eval()
    assert list(layer_importance(network, inputs, steps=2)) == list(layer_importance(small, inputs, steps=2))


def test_layer_importance_changes_which_layers_a_plan_spares():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64))
    inputs = torch.randn(4, 64)
    report = nes_lab.measure_sensitivity(network, inputs)

    def params_of(first, second):
        weighed = report.weighed({"0": first, "2": second})
        assert nes_lab.SensitivityReport.from_json(weighed.to_json()) == weighed
        budget = nes_lab.Budget(params="60%")
        plan = nes_lab.plan_for_budget(network, budget, inputs, strategy="sensitivity", sensitivity=weighed)
        small = nes_lab.compress(network, plan)
        return [sum(p.numel() for p in layer.parameters()) for layer in (small[0], small[2])]

    assert params_of(10, 1)[0] > params_of(10, 1)[1] and params_of(1, 10)[0] < params_of(1, 10)[1]


@pytest.mark.parametrize(
    ("importance", "message"),
    [
        ({"0": 1.0}, "lacks layer '2'"),
        ({"0": 1.0, "2": -1.0}, "finite number"),
        ({"0": 1.0, "2": float("nan")}, "finite"),
    ],
)
def test_weighed_names_what_is_wrong(importance, message):
    report = nes_lab.measure_sensitivity(
        nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64)), torch.zeros(1, 64)
    )
    with pytest.raises(nes_lab.OptionError, match=message):
        report.weighed(importance)


def test_layer_importance_needs_a_layer():
    with pytest.raises(nes_lab.OptionError, match="no Linear"):
        layer_importance(nn.ReLU(), torch.ones(1, 3))
