"""Sensitivities: what is measured, kept and continued, and the budgets that are met by them."""

from __future__ import annotations

import copy
import json
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import nes_lab
from nes_lab import Budget
from nes_lab.errors import OptionError, PlanError
from nes_lab.planning.sensitivity.order import hull_slopes
from nes_lab.records.sensitivity_report import LayerSensitivity, SensitivityPoint, SensitivityReport

X8 = torch.randn(1, 1, 8, 8)
SMALL = nes_lab.create_backbone("small_mobilenetv2", num_classes=10, in_channels=1)
REPORT = nes_lab.measure_sensitivity(SMALL, X8, round_to=2)


def _three(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 8)).eval()


def _batches(model: nn.Module, count: int = 3) -> list[tuple[torch.Tensor, torch.Tensor]]:
    draw = torch.Generator().manual_seed(1)
    inputs = [torch.randn(16, 32, generator=draw) for _ in range(count)]
    with torch.no_grad():
        return [(x, model(x).argmax(1)) for x in inputs]


THREE, X32 = _three(), torch.randn(1, 32)
THREE_REPORT = nes_lab.measure_sensitivity(THREE, X32)


# ---- what is measured ---------------------------------------------------------------------------------------------------


def test_residuals_are_those_of_the_compressed_layers():
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


def test_where_starts_will_be_searched_their_search_is_measured():
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


def test_loss_increases_are_those_of_a_network_with_one_layer_compressed():
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


def test_a_layer_that_an_epitome_fits_exactly_gives_first():
    """Two equal halves cost nothing, so that half of the cells go there before any go elsewhere."""
    model, x = nn.Sequential(nn.Linear(64, 64, bias=False), nn.Linear(64, 64, bias=False)), torch.randn(1, 64)
    with torch.no_grad():
        model[1].weight[32:] = model[1].weight[:32]
    ways = {"strategy": "sensitivity", "wiring": "output_axis"}
    plan = nes_lab.plan_for_budget(model, Budget(params=0.75), x, **ways)
    assert list(plan.layers) == ["1"] and plan.layers["1"].epitome_shape == (32, 64)
    assert nes_lab.plan_for_budget(model, Budget(params=0.75), x, wiring="output_axis").layers.keys() == {"0", "1"}


def test_costs_never_fall_and_are_read_off_between():
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


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 5)), min_size=1, max_size=12))
def test_slopes_of_a_hull_rise(steps):
    xs, ys = [0.0], [0.0]
    for dx, y in steps:
        xs.append(xs[-1] + dx)
        ys.append(y)
    slopes = hull_slopes(xs, ys)
    assert len(slopes) == len(steps)
    # rounding: slopes of tiny steps are differences of nearly equal numbers
    assert all(b >= a or b > a - 1e-6 * max(1, abs(a)) for a, b in pairwise(slopes))


# ---- budgets ------------------------------------------------------------------------------------------------------------


@settings(max_examples=12, deadline=None)
@given(
    params=st.none() | st.floats(0.35, 1.0),
    madds=st.none() | st.floats(0.5, 1.0),
    round_to=st.sampled_from([2, 4]),
    strategy=st.sampled_from(["uniform", "sensitivity"]),
)
def test_never_over_budget_and_always_the_same(params, madds, round_to, strategy):
    if params is None and madds is None:
        params = 0.5
    ways = {"round_to": round_to, "strategy": strategy}
    ways |= {"sensitivity": REPORT} if strategy == "sensitivity" else {}
    plan = nes_lab.plan_for_budget(SMALL, Budget(params, madds), X8, **ways)
    assert params is None or plan.predicted.params <= params * plan.dense.params
    assert madds is None or plan.predicted.madds <= madds * plan.dense.madds
    assert plan == nes_lab.plan_for_budget(SMALL, Budget(params, madds), X8, **ways)
    report = nes_lab.count(nes_lab.compress(SMALL, plan, initial_weights="reset"), X8)
    assert (report.params, report.madds) == (plan.predicted.params, plan.predicted.madds)


@settings(max_examples=25, deadline=None)
@given(
    strategy=st.sampled_from(["uniform", "sensitivity"]),
    limits=st.sampled_from([("params",), ("madds",), ("params", "madds")]),
    low=st.tuples(st.floats(0.45, 0.98), st.floats(0.5, 0.98)),
    more=st.tuples(st.floats(0.0, 0.4), st.floats(0.0, 0.4)),
)
def test_more_budget_never_means_fewer_params(strategy, limits, low, more):
    ways = {"round_to": 1, "strategy": strategy}
    ways |= {"sensitivity": THREE_REPORT} if strategy == "sensitivity" else {}

    def params(extra: tuple[float, float]) -> int:
        shares = zip(("params", "madds"), low, extra, strict=True)
        budget = Budget(**{name: min(share + e, 0.99) for name, share, e in shares if name in limits})
        return nes_lab.plan_for_budget(THREE, budget, X32, **ways).predicted.params

    assert params(more) >= params((0.0, 0.0))


@pytest.mark.parametrize(("budget", "spared"), [(Budget(params=0.6), "params"), (Budget(madds=0.6), "madds")])
def test_what_binds_is_what_is_saved(budget, spared):
    """Where only params are limited, less of the multiply-adds goes than where these are, and the other way round."""
    other = Budget(madds=0.6) if spared == "params" else Budget(params=0.6)
    ways = {"round_to": 1, "strategy": "sensitivity", "sensitivity": REPORT}
    mine, its = (nes_lab.plan_for_budget(SMALL, b, X8, **ways) for b in (budget, other))
    cost = [sum(REPORT.by_name[n].cost(p.ratio) for n, p in plan.layers.items()) for plan in (mine, its)]
    assert getattr(mine.predicted, spared) <= 0.6 * getattr(mine.dense, spared)
    assert getattr(its.predicted, spared) > 0.6 * getattr(its.dense, spared) or cost[0] <= cost[1]


def test_a_budget_is_met_as_closely_as_by_uniform():
    for share in (0.5, 0.6, 0.75):
        plan = nes_lab.plan_for_budget(SMALL, Budget(madds=share), X8, round_to=1, strategy="sensitivity")
        assert 0.98 <= plan.predicted.madds / (share * plan.dense.madds) <= 1 or "prevents more" in plan.notes[0]


def test_a_report_of_another_model_or_other_epitomes_is_refused():
    model, x = _three(), torch.randn(1, 32)
    report = nes_lab.measure_sensitivity(model, x)
    ways = {"strategy": "sensitivity", "sensitivity": report}
    with pytest.raises(OptionError, match="scope='joint'; the sensitivities were measured with scope='separable'"):
        nes_lab.plan_for_budget(model, Budget(params=0.5), x, scope="joint", **ways)
    with pytest.raises(PlanError, match="do not tell of layer"):
        nes_lab.plan_for_budget(SMALL, Budget(params=0.5), X8, **ways)
    wider = nn.Sequential(nn.Linear(32, 128), nn.ReLU(), nn.Linear(128, 32), nn.ReLU(), nn.Linear(32, 8))
    with pytest.raises(PlanError, match=r"layer '0' with a weight of \(64, 32\); here it is \(128, 32\)"):
        nes_lab.plan_for_budget(wider, Budget(params=0.5), x, **ways)
    with pytest.raises(OptionError, match="goes with strategy='sensitivity'"):
        nes_lab.plan_for_budget(model, Budget(params=0.5), x, sensitivity=report)
    with pytest.raises(OptionError, match="sensitivity is a dict"):
        nes_lab.plan_for_budget(model, Budget(params=0.5), x, strategy="sensitivity", sensitivity={})


# ---- the file -----------------------------------------------------------------------------------------------------------


def test_it_is_read_from_the_cache_until_weights_options_or_data_change(tmp_path):
    model, x, seen = _three(), torch.randn(1, 32), []
    ways = {"cache": tmp_path / "new" / "folder", "on_progress": seen.append}
    first = nes_lab.measure_sensitivity(model, x, calibration=_batches(model), **ways)
    assert seen and seen[-1]["done"] == seen[-1]["total"] == 3
    seen.clear()
    assert nes_lab.measure_sensitivity(model, x, calibration=_batches(model), **ways) == first and not seen
    for change in (
        {"calibration": _batches(model, 2)},
        {"calibration": _batches(model), "ratios": (0.5,)},
        {"calibration": _batches(model), "routing": "stride"},
        {"calibration": _batches(model), "loss": nn.functional.multi_margin_loss},
        {},
    ):
        seen.clear()
        assert nes_lab.measure_sensitivity(model, x, **ways, **change).key != first.key and seen
    seen.clear()
    with torch.no_grad():
        model[0].bias[0] += 1
    assert nes_lab.measure_sensitivity(model, x, calibration=_batches(_three()), **ways).key != first.key and seen


class Stop(Exception):
    """Stands for whatever interrupts."""


@pytest.mark.parametrize("kind", [Stop, KeyboardInterrupt])
def test_an_interrupted_measurement_continues(tmp_path, kind):
    model, x, calls = _three(), torch.randn(1, 32), []
    batches = _batches(model)

    def loss(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        if len(calls) == stop:
            raise kind
        return nn.functional.cross_entropy(output, target)

    ways = {"calibration": batches, "loss": loss, "cache": tmp_path, "ratios": (0.5,)}
    stop = 0
    whole = nes_lab.measure_sensitivity(model, x, **{**ways, "cache": None})
    total, stop = len(calls), len(calls) - 2
    calls.clear()
    with pytest.raises(kind):
        nes_lab.measure_sensitivity(model, x, **ways)
    (file,) = tmp_path.glob("*")
    data = json.loads(file.read_text())
    assert not data["complete"] and [layer["name"] for layer in data["layers"]] == ["0", "2"]
    stop = 0
    calls.clear()
    again = nes_lab.measure_sensitivity(model, x, **ways)
    assert again.complete and again.layers == whole.layers and again.dense_loss == whole.dense_loss
    assert 0 < len(calls) < total / 2  # only the rest was measured


def test_a_damaged_file_is_named(tmp_path):
    model, x = _three(), torch.randn(1, 32)
    nes_lab.measure_sensitivity(model, x, cache=tmp_path)
    (file,) = tmp_path.glob("*")
    whole = file.read_text()
    for text in (whole[:100], "[]", whole.replace('"points"', '"pints"')):
        file.write_text(text)
        with pytest.raises(PlanError, match=f"{file.name} is damaged.*remove it"):
            nes_lab.measure_sensitivity(model, x, cache=tmp_path)


def test_json_round_trip():
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
def test_wrong_options(options, says):
    with pytest.raises(OptionError, match=says):
        nes_lab.measure_sensitivity(_three(), torch.randn(1, 32), **options)


def test_measure_sensitivity_passes_by_modules_that_hold_no_weight_of_their_own():
    model, x = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True).eval(), torch.randn(1, 3, 16)
    assert "linear1" in nes_lab.measure_sensitivity(model, x, ratios=(0.5,)).by_name  # attention is passed by


def test_weights_without_numbers():
    model = _three()
    with torch.no_grad():
        model[2].weight[0, 0] = torch.nan
    with pytest.raises(OptionError, match="layer '2': its weight holds NaN"):
        nes_lab.measure_sensitivity(model, torch.randn(1, 32))
    with pytest.raises(OptionError, match="meta device"):
        nes_lab.measure_sensitivity(_three().to("meta"), torch.randn(1, 32, device="meta"))
