"""What a measurement of sensitivity holds."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

import nes_lab
from nes_lab import Budget
from nes_lab.errors import OptionError
from nes_lab.records.sensitivity_report import LayerSensitivity, SensitivityPoint, SensitivityReport


def _three(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 8)).eval()


def _batches(model: nn.Module, count: int = 3) -> list[tuple[torch.Tensor, torch.Tensor]]:
    draw = torch.Generator().manual_seed(1)
    inputs = [torch.randn(16, 32, generator=draw) for _ in range(count)]
    with torch.no_grad():
        return [(x, model(x).argmax(1)) for x in inputs]


# ---- what is measured ---------------------------------------------------------------------------------------------------


def test_measure_sensitivity_residuals_are_those_of_compressed_layers():
    model, x = _three(), torch.randn(1, 32)
    report = nes_lab.measure_sensitivity(model, x, ratios=(0.5,))
    for layer in report.layers:
        for point in layer.points:
            shape = {layer.name: {"epitome_shape": point.epitome_shape}}
            plan = nes_lab.plan_for_budget(model, Budget(params=1.0), x, overrides=shape)
            small = nes_lab.compress(model, plan)
            dense, sampled = model.get_submodule(layer.name).weight, small.get_submodule(layer.name).weight
            assert point.residual == pytest.approx(((dense - sampled).norm() / dense.norm()).item(), rel=1e-5)
            assert point.ratio == sampled.new_empty(point.epitome_shape).numel() / dense.numel()


def _rows_in_pairs() -> nn.Sequential:
    """Each output row stands twice, at random places, once with another length and sign: a search finds them, a rule does not."""
    draw = torch.Generator().manual_seed(3)
    model = nn.Sequential(nn.Linear(16, 32, bias=False), nn.BatchNorm1d(32), nn.Linear(32, 8)).eval()
    half = torch.randn(16, 16, generator=draw)
    with torch.no_grad():
        model[0].weight.copy_(torch.cat((half, -2.0 * half))[torch.randperm(32, generator=draw)])
    return model


def test_measure_sensitivity_after_a_search_for_starts():
    model, x = _rows_in_pairs(), torch.randn(1, 16)
    chosen = {"routing": "free", "patch_channels": 1, "wiring": "output_axis", "ratios": (0.5,), "include": "0"}
    batches = [(torch.randn(64, 16), torch.randint(8, (64,)))]
    points = {}
    for search in (False, True):
        report = nes_lab.measure_sensitivity(model, x, search_starts=search, calibration=batches, **chosen)
        points[search] = next(p for p in report.by_name["0"].points if p.ratio == 0.5)
    assert points[False].residual > 0.5 and points[True].residual < 1e-4
    assert abs(points[True].loss_increase) < 1e-5 < abs(points[False].loss_increase)
    rule = nes_lab.measure_sensitivity(model, x, search_starts=True, ratios=(0.5,), include="0")
    assert (
        rule.layers == nes_lab.measure_sensitivity(model, x, ratios=(0.5,), include="0").layers
    )  # tiled stores no starts
    with pytest.warns(FutureWarning, match="search_starts="):
        assert nes_lab.measure_sensitivity(model, x, starts="search", ratios=(0.5,), include="0").layers == rule.layers
    with pytest.raises(OptionError, match="starts='serch'"):
        nes_lab.measure_sensitivity(model, x, starts="serch")


def test_measure_sensitivity_losses_are_those_of_one_compressed_layer():
    model, x = _three(), torch.randn(1, 32)
    before, batches = copy.deepcopy(model.state_dict()), _batches(_three())
    report = nes_lab.measure_sensitivity(model, x, calibration=batches, ratios=(0.25,))
    assert report.measured_by == "loss" and report.samples == 48
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())

    def loss(network: nn.Module) -> float:
        with torch.no_grad():
            return sum(float(nn.functional.cross_entropy(network(a), b)) for a, b in batches) / len(batches)

    assert report.dense_loss == pytest.approx(loss(model), rel=1e-6)
    layer = report.by_name["2"]
    plan = nes_lab.plan_for_budget(
        model, Budget(params=1.0), x, overrides={"2": {"epitome_shape": layer.points[0].epitome_shape}}
    )
    increase = loss(nes_lab.compress(model, plan)) - loss(model)
    assert layer.points[0].loss_increase == pytest.approx(increase, rel=1e-4, abs=1e-6)


def test_layer_sensitivity_cost_never_falls_and_is_interpolated():
    points = tuple(
        SensitivityPoint((1, 1), r, residual, loss)
        for r, residual, loss in ((0.8, 0.3, 0.1), (0.4, 0.2, -0.5), (0.1, 0.9, 0.7))
    )
    layer = LayerSensitivity("fc", (10, 1), points)
    for by in ("loss", "residual"):
        costs = [layer.cost(1 - 0.01 * i, by) for i in range(96)]
        assert costs == sorted(costs) and costs[0] == 0
    assert layer.cost(0.9, "loss") == pytest.approx(0.05) and layer.cost(0.6, "loss") == pytest.approx(0.1)
    assert layer.cost(0.05, "loss") > layer.cost(0.1, "loss") == pytest.approx(0.7)  # the last slope goes on


def test_sensitivity_report_survives_json():
    model, x = _three(), torch.randn(1, 32)
    report = nes_lab.measure_sensitivity(model, x, calibration=_batches(model))
    assert SensitivityReport.from_json(report.to_json()) == report
    assert "by the loss on 48 samples" in str(report) and len(report.rows()) == sum(
        len(r.points) for r in report.layers
    )


# ---- refusals -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"ratios": ()}, "ratios="),
        ({"ratios": (1.5,)}, "between 0 and 1"),
        ({"calibration": []}, "no batch"),
        ({"calibration": torch.ones(3)}, "calibration is a Tensor"),
        ({"calibration": [torch.ones(3)]}, "where a pair is expected"),
        ({"loss": nn.functional.mse_loss}, "without calibration"),
        ({"calibration": [(torch.ones(2, 5), torch.ones(2))]}, "cannot run it"),
        ({"calibration": [(torch.ones(2, 32), "label")]}, "cannot take the model's output"),
        (
            {"calibration": [(torch.full((2, 32), torch.nan), torch.zeros(2).long())]},
            "loss on the calibration data is nan",
        ),
        ({"routing": "tild"}, "tiled"),
    ],
)
def test_measure_sensitivity_refuses_wrong_options(options, says):
    with pytest.raises(OptionError, match=says):
        nes_lab.measure_sensitivity(_three(), torch.randn(1, 32), **options)


def test_measure_sensitivity_skips_modules_without_a_weight():
    model, x = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True).eval(), torch.randn(1, 3, 16)
    assert "linear1" in nes_lab.measure_sensitivity(model, x, ratios=(0.5,)).by_name  # attention is passed by


def test_measure_sensitivity_refuses_nan_and_the_meta_device():
    model = _three()
    with torch.no_grad():
        model[2].weight[0, 0] = torch.nan
    with pytest.raises(OptionError, match="layer '2': its weight holds NaN"):
        nes_lab.measure_sensitivity(model, torch.randn(1, 32))
    with pytest.raises(OptionError, match="meta device"):
        nes_lab.measure_sensitivity(_three().to("meta"), torch.randn(1, 32, device="meta"))
