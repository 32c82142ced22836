"""Fitting complete networks: what is kept, what is gained, and what is refused."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

import nes_lab
from nes_lab import Budget
from nes_lab.errors import OptionError, PlanError
from nes_lab.nn.inspect import epitome_layers
from tests.fitting.networks import ONE_CHANNEL, batches, full_size_plan, network, output_error, plan


@pytest.mark.parametrize("calibrated", [False, True])
@pytest.mark.parametrize("routing", ["tiled", "free"])
def test_fit_changes_nothing_if_epitomes_are_as_large_as_weights(routing, calibrated):
    net, x = network(), batches()
    calibration = x if calibrated else None
    options = {"calibration": calibration, "verify": False}  # the plan's counts are those of smaller epitomes
    student, report = nes_lab.fit(net, full_size_plan(routing), search_starts=True, **options)
    assert type(student) is type(net)
    assert report.residual < 1e-6
    assert output_error(net, student, x[0]) < 1e-5


def test_fit_measures_norms_so_that_channel_factors_do_not_show():
    """Statistics measured with factors are those without, scaled: re-estimation cannot tell the two networks apart."""
    net, x = network(), batches()
    student, _ = nes_lab.fit(net, full_size_plan("free"), norms=x, verify=False)
    assert output_error(nes_lab.reestimate_norms(net, x), student, x[0]) < 1e-4


def test_fit_gains_by_searching_scaling_and_calibrating():
    net, x, unseen = network(), batches(8), torch.cat(batches(2, seed=9))
    reports, errors = {}, {}
    for name, options in (
        ("plan", {}),
        ("unscaled", {"row_scales": False, "search_starts": True}),
        ("search", {"search_starts": True}),
        ("calibrated", {"search_starts": True, "calibration": x}),
    ):
        student, reports[name] = nes_lab.fit(net, plan(**ONE_CHANNEL), **options)
        errors[name] = output_error(net, student, unseen)
    assert "searched" not in {layer.starts for layer in reports["plan"].layers}
    assert reports["search"].residual < reports["unscaled"].residual < reports["plan"].residual_before
    assert errors["calibrated"] < errors["search"] < errors["plan"]
    assert reports["calibrated"].calibration_batches == 8
    for layer in reports["calibrated"].layers:
        assert layer.error_after <= layer.error_before + 1e-9
    assert {layer.name: layer.norm for layer in reports["search"].layers}["3"] == "4"


def test_fit_snaps_starts_that_then_cost_nothing_and_reports_true_residuals():
    net, x = network(), torch.zeros(1, 3, 8, 8)
    planned = plan(**ONE_CHANNEL)
    snapped, report = nes_lab.fit(net, planned, search_starts=True, snap=True)
    free, free_report = nes_lab.fit(net, planned, search_starts=True)
    assert report.snapped and all("fractional" not in layer.axis_states() for _, layer in epitome_layers(snapped))
    assert any("fractional" in layer.axis_states() for _, layer in epitome_layers(free))
    a, b = nes_lab.count(snapped, x), nes_lab.count(free, x)
    assert a.params == b.params == planned.predicted.params and a.madds < b.madds == planned.predicted.madds
    assert any(p.requires_grad for n, p in free.named_parameters() if "start_offsets" in n)
    for layer in free_report.layers:
        dense, made = net.get_submodule(layer.name).weight.detach(), free.get_submodule(layer.name).weight.detach()
        if layer.norm:  # undo the factors: the best multiple of each channel
            flat, target = made.flatten(1), dense.flatten(1)
            made = ((flat * target).sum(1) / flat.square().sum(1)).view(-1, 1, 1, 1)[: len(made)] * made
        assert float((dense - made).norm() / dense.norm()) == pytest.approx(layer.residual_after, abs=2e-3)


def test_fit_leaves_starts_of_rules_and_learners_and_says_why():
    for routing, says in (("tiled", "stores no starts"), ("random", "stores no starts"), ("learner", "index learner")):
        _, report = nes_lab.fit(network(), plan(routing=routing), search_starts=True)
        assert all(says in layer.starts or "room" in layer.starts for layer in report.layers)
        assert report.residual <= report.residual_before


def test_fit_repeats_itself_and_touches_nothing_else():
    net, x = network(), batches()
    before, random_state = copy.deepcopy(net.state_dict()), torch.get_rng_state()
    options = {"search_starts": True, "calibration": x, "norms": x, "seed": 3}
    first, again = (nes_lab.fit(net, plan(**ONE_CHANNEL), **options)[0].state_dict() for _ in range(2))
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert torch.equal(random_state, torch.get_rng_state())
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    assert not any(module._forward_pre_hooks for module in net.modules())


def test_fit_takes_batches_in_every_form():
    net, x = network(), batches()
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.cat(x), torch.zeros(64)), batch_size=16)
    expected = nes_lab.fit(net, plan(), calibration=x, norms=x)[0].state_dict()
    for same in (loader, [(b, "labels") for b in x], [{"input": b} for b in x], iter(x)):
        state = nes_lab.fit(net, plan(), calibration=same, norms=same)[0].state_dict()
        assert all(torch.equal(expected[key], state[key]) for key in expected)


def test_fit_scales_channels_only_if_one_norm_alone_reads_them():
    class TwoReaders(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.norm, self.plain = nn.Conv2d(8, 8, 1), nn.BatchNorm2d(8), nn.BatchNorm2d(8, affine=False)
            self.other = nn.Conv2d(8, 8, 1)

        def forward(self, x):
            y = self.conv(x)
            return self.norm(y) + y + self.plain(self.other(x))

    net = TwoReaders().eval()
    planned = nes_lab.plan_for_budget(net, Budget(params="70%"), torch.zeros(1, 8, 4, 4), **ONE_CHANNEL)
    student, report = nes_lab.fit(net, planned, search_starts=True, calibration=[torch.randn(4, 8, 4, 4)])
    assert {layer.norm for layer in report.layers} == {""}
    assert torch.equal(student.norm.weight, net.norm.weight)


def test_fit_takes_starts_of_older_versions_with_a_warning():
    for starts in ("search", "plan"):
        with pytest.warns(FutureWarning, match=r"starts=.*search_starts="):
            assert nes_lab.fit(network(), plan(), starts=starts)[1].starts == starts
    with pytest.raises(OptionError, match="starts='serch'"):
        nes_lab.fit(network(), plan(), starts="serch")


def test_fit_refuses_wrong_options_batches_and_models():
    net = network()
    nan = torch.full((4, 3, 8, 8), float("nan"))
    for options, says in (
        ({"search_starts": "yes"}, "search_starts='yes'"),
        ({"calibration": 3}, "calibration is a int"),
        ({"calibration": "images"}, "calibration is a str"),
        ({"calibration": []}, "calibration holds no batch"),
        ({"calibration": [3]}, "calibration: batch 0 is a int"),
        ({"norms": [("a", "b")]}, "norms: batch 0 is a tuple of str"),
        ({"norms": [torch.zeros(1, 5, 8, 8)]}, "cannot run it"),
        ({"norms": [nan]}, "not finite"),
        ({"calibration": [nan]}, "not finite"),
        ({"seed": -1}, "seed=-1"),
        ({"snap": 1}, "snap=1"),
        ({"progress": "yes"}, "progress='yes'"),
    ):
        with pytest.raises(OptionError, match=says):
            nes_lab.fit(net, plan(), **options)
    with pytest.raises(PlanError, match="made for a conv2d layer"):
        nes_lab.fit(nn.Sequential(nn.Linear(4, 4)), plan())
    with pytest.raises(OptionError, match="meta device"):
        nes_lab.fit(copy.deepcopy(net).to("meta"), plan())
    broken = copy.deepcopy(net)
    broken[3].weight.data[0, 0, 0, 0] = float("nan")
    with pytest.raises(PlanError, match="layer '3': its weight holds NaN"):
        nes_lab.fit(broken, plan())
    with pytest.raises(OptionError, match="model is a NoneType"):
        nes_lab.reestimate_norms(None, batches(1))


def test_fit_tells_its_progress_and_its_report_reads_well():
    x, events = batches(2), []
    report = nes_lab.fit(network(), plan(), calibration=x[:1], norms=x, on_progress=events.append)[1]
    assert [event["label"] for event in events if event["phase"] == "fit"][:-1] == list(plan().layers)
    assert {event["phase"] for event in events} == {"fit", "calibration", "norms", "comparison"}
    assert all(0 <= event["done"] <= event["total"] for event in events)
    assert nes_lab.FitReport.from_json(report.to_json()) == report
    text = str(report)
    assert (
        "output error before" in text
        and "norms measured again on 2 batches" in text
        and "<table" in report._repr_html_()
    )
    assert all(layer.name in text for layer in report.layers)
    for wrong, says in (
        ("{}", "schema=None"),
        ("no", "not a fit report in JSON"),
        ('{"schema": 1}', "lacks or misnames"),
    ):
        with pytest.raises(PlanError, match=says):
            nes_lab.FitReport.from_json(wrong)


@pytest.mark.slow
@pytest.mark.parametrize("options", [{"patch_channels": 1}, {"scope": "joint"}])
def test_fit_searches_every_layer_of_mobilenet(options):
    torch.manual_seed(0)
    model, x = nes_lab.create_backbone("mobilenetv2_100").eval(), torch.zeros(1, 3, 224, 224)
    planned = nes_lab.plan_for_budget(model, Budget(params="50%"), x, routing="free", **options)
    student, report = nes_lab.fit(model, planned, search_starts=True)
    assert report.residual < report.residual_before < 1
    assert {layer.starts for layer in report.layers} == {"searched"}
    assert report.seconds < 600  # a record of speed is in benchmarks/fit_resnet56.py; this only tells a fit from a hang
    assert nes_lab.count(student, x).params <= 0.5 * planned.dense.params
