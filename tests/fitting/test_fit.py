"""Fitting whole networks: what is kept, what is gained, and what is refused."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import nes_lab
from nes_lab import Budget
from nes_lab.errors import OptionError, PlanError
from nes_lab.fitting.input_moments import input_moments
from nes_lab.fitting.norm_statistics import give_to_norm, scaling_norms
from nes_lab.nn.inspect import epitome_layers
from tests.shared_data import reader

ONES = {"routing": "free", "patch_channels": 1, "round_to": 1}


def _net(seed=0):
    """Convolutions with norms, one with a bias and none, and a linear layer; the norms have numbers of their own."""
    torch.manual_seed(seed)
    net = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Conv2d(16, 24, 3, stride=2, padding=1),
        nn.BatchNorm2d(24),
        nn.ReLU(),
        nn.Conv2d(24, 16, 1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(16 * 16, 10),
    )
    for norm in (net[1], net[4]):
        for tensor, low, high in ((norm.weight, -1.0, 1.5), (norm.bias, -0.5, 0.5), (norm.running_mean, -0.3, 0.3)):
            tensor.data.uniform_(low, high)
        norm.running_var.uniform_(0.2, 2.0)
    return net.eval()


def _batches(count=4, seed=1):
    draw = torch.Generator().manual_seed(seed)
    return [torch.randn(16, 3, 8, 8, generator=draw) for _ in range(count)]


def _plan(net, share="60%", **options):
    return nes_lab.plan_for_budget(
        net, Budget(params=share), torch.zeros(1, 3, 8, 8), round_to=options.pop("round_to", 2), **options
    )


def _error(net, student, x):
    with torch.no_grad():
        wanted = net(x)
        return float((student.eval()(x) - wanted).norm() / wanted.norm())


@pytest.mark.parametrize("calibrated", [False, True])
@pytest.mark.parametrize("routing", ["tiled", "free"])
def test_an_epitome_as_large_as_its_weight_changes_nothing(routing, calibrated):
    net, x = _net(), _batches()
    plan = _whole(net, routing)
    student, report = nes_lab.fit(net, plan, search_starts=True, calibration=x if calibrated else None)
    assert report.residual < 1e-6
    assert _error(net, student, x[0]) < 1e-5


def _whole(net, routing):
    """A plan whose epitomes are as large as the weights."""
    small = _plan(net, "70%", include=["0", "3", "6", "9"], routing=routing)
    data = small.to_dict()
    for name, layer in data["layers"].items():
        layer["epitome_shape"] = list(net.get_submodule(name).weight.shape)
    return nes_lab.CompressionPlan.from_dict(data)


@pytest.mark.parametrize("with_bias", [False, True])
def test_a_norm_takes_factors_and_shifts_exactly(with_bias):
    torch.manual_seed(0)
    y, scale, shift = torch.randn(5, 6, 4), torch.randn(6) + 0.1, torch.randn(6)
    norm = nn.BatchNorm1d(6).eval()
    norm.weight.data.normal_()
    norm.running_mean.normal_()
    norm.running_var.uniform_(0.5, 2.0)
    norm.running_var[0] = 0.0  # a channel that never varied: all of it lies in the bias
    y[:, 0] = norm.running_mean[0]
    wanted, bias = norm(y), torch.ones(6) if with_bias else None
    give_to_norm(norm, bias, scale, shift)
    found = norm(y / scale.view(1, 6, 1) + shift.view(1, 6, 1))
    assert torch.allclose(found, wanted, atol=2e-5)  # eps of the norm counts once more on small variances
    assert bias is None or torch.allclose(bias, 1 / scale)


def test_factors_measured_anew_give_the_dense_network_back():
    """Statistics after factors are those before, scaled: re-estimation cannot tell the two networks apart."""
    net, x = _net(), _batches()
    plan = _whole(net, "free")
    student, _ = nes_lab.fit(net, plan, norms=x)
    wanted = nes_lab.reestimate_norms(net, x)
    assert _error(wanted, student, x[0]) < 1e-4


def test_search_beats_the_plan_and_calibration_the_search():
    net, x = _net(), _batches(8)
    plan, fresh = _plan(net, **ONES), _batches(2, seed=9)
    assert "searched" not in {r.starts for r in nes_lab.fit(net, plan)[1].layers}
    reports = {}
    errors = {}
    for name, how in (
        ("plan", {}),
        ("unscaled", {"row_scales": False, "search_starts": True}),
        ("search", {"search_starts": True}),
        ("calibrated", {"search_starts": True, "calibration": x}),
    ):
        student, reports[name] = nes_lab.fit(net, plan, **how)
        errors[name] = _error(net, student, torch.cat(fresh))
    assert reports["search"].residual < reports["unscaled"].residual < reports["plan"].residual_before
    assert errors["calibrated"] < errors["search"] < errors["plan"]
    assert reports["calibrated"].calibration_batches == 8
    for layer in reports["calibrated"].layers:
        assert layer.error_after <= layer.error_before + 1e-9
    assert {r.name: r.norm for r in reports["search"].layers}["3"] == "4"


def test_reported_residuals_are_those_of_the_network_made():
    net = _net()
    plan = _plan(net, **ONES)
    student, report = nes_lab.fit(net, plan, search_starts=True)
    for row in report.layers:
        dense, made = net.get_submodule(row.name).weight.detach(), student.get_submodule(row.name).weight.detach()
        if row.norm:  # undo the factors: the best multiple of each row
            flat, wanted = made.flatten(1), dense.flatten(1)
            made = ((flat * wanted).sum(1) / flat.square().sum(1)).view(-1, 1, 1, 1)[: len(made)] * made
        assert float((dense - made).norm() / dense.norm()) == pytest.approx(row.residual_after, abs=2e-3)


def test_snapped_starts_are_integers_that_cost_nothing():
    net, x = _net(), torch.zeros(1, 3, 8, 8)
    plan = _plan(net, **ONES)
    student, report = nes_lab.fit(net, plan, search_starts=True, snap=True)
    loose, _ = nes_lab.fit(net, plan, search_starts=True)
    assert report.snapped and all("fractional" not in layer.axis_states() for _, layer in epitome_layers(student))
    assert any("fractional" in layer.axis_states() for _, layer in epitome_layers(loose))
    a, b = nes_lab.count(student, x), nes_lab.count(loose, x)
    assert a.params == b.params == plan.predicted.params and a.madds < b.madds == plan.predicted.madds
    assert any(p.requires_grad for n, p in loose.named_parameters() if "starts" in n)


def test_rules_and_learners_are_fitted_where_they_stand():
    net = _net()
    for routing, says in (("tiled", "stores no starts"), ("random", "stores no starts"), ("learner", "index learner")):
        _, report = nes_lab.fit(net, _plan(net, routing=routing), search_starts=True)
        assert all(says in row.starts or "room" in row.starts for row in report.layers)
        assert report.residual <= report.residual_before


def test_a_seed_gives_one_network_and_nothing_else_is_touched():
    net, x = _net(), _batches()
    before, state = copy.deepcopy(net.state_dict()), torch.get_rng_state()
    plan = _plan(net, **ONES)
    made = [
        nes_lab.fit(net, plan, search_starts=True, calibration=x, norms=x, seed=3)[0].state_dict() for _ in range(2)
    ]
    assert all(torch.equal(made[0][key], made[1][key]) for key in made[0])
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    assert not any(m._forward_pre_hooks for m in net.modules())


def test_loaders_iterators_and_dicts():
    net, x = _net(), _batches()
    plan = _plan(net)
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.cat(x), torch.zeros(64)), batch_size=16)
    wanted = nes_lab.fit(net, plan, calibration=x, norms=x)[0].state_dict()
    for batches in (loader, [(b, "labels") for b in x], [{"input": b} for b in x]):
        found = nes_lab.fit(net, plan, calibration=batches, norms=batches)[0].state_dict()
        assert all(torch.equal(wanted[key], found[key]) for key in wanted)
    once = iter(x)
    found = nes_lab.fit(net, plan, calibration=once, norms=once)[0].state_dict()
    assert all(torch.equal(wanted[key], found[key]) for key in wanted)


def test_moments_are_those_of_unfolded_inputs():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(4, 6, (3, 2), stride=(1, 2), padding=1, groups=2), nn.Flatten(2), nn.Linear(15, 5))
    x = torch.randn(3, 4, 5, 4)
    found, count = input_moments(net, ["0", "2"], [x], lambda news: None)
    windows = F.unfold(x, (3, 2), padding=1, stride=(1, 2)).unflatten(1, (2, 12)).movedim(1, 0).movedim(2, 3)
    windows = windows.reshape(-1, 12).double()
    assert count == 1 and found["0"].count == len(windows)
    assert torch.allclose(found["0"].square, windows.T @ windows, atol=1e-4)
    covariance = torch.cov(windows.T, correction=0)
    damped = found["0"].second(centered=True)
    assert torch.allclose(damped, covariance + 0.01 * covariance.diagonal().mean() * torch.eye(12), atol=1e-5)
    rows = net[1](net[0](x)).detach().reshape(-1, 15).double()
    assert torch.allclose(found["2"].mean, rows.mean(0), atol=1e-6)


def test_norms_measured_anew_are_plain_averages():
    model = nn.Sequential(
        nn.BatchNorm1d(3, momentum=0.3), nn.Dropout(0.5), nn.BatchNorm1d(3, track_running_stats=False)
    )
    model[0].eval()
    batches = [torch.randn(8, 3) for _ in range(5)]
    fresh = nes_lab.reestimate_norms(model, batches)
    assert torch.allclose(fresh[0].running_mean, torch.stack([b.mean(0) for b in batches]).mean(0), atol=1e-6)
    assert torch.allclose(fresh[0].running_var, torch.stack([b.var(0) for b in batches]).mean(0), atol=1e-6)
    assert [m.training for m in fresh] == [m.training for m in model] == [False, True, True]
    assert fresh[0].momentum == 0.3 and torch.equal(model[0].running_mean, torch.zeros(3))


def test_factors_go_only_where_one_norm_alone_reads():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.norm, self.plain = nn.Conv2d(8, 8, 1), nn.BatchNorm2d(8), nn.BatchNorm2d(8, affine=False)
            self.other = nn.Conv2d(8, 8, 1)

        def forward(self, x):
            y = self.conv(x)
            return self.norm(y) + y + self.plain(self.other(x))

    net = Two().eval()
    assert scaling_norms(net, ["conv", "other"]) == {}
    plan = nes_lab.plan_for_budget(
        net, Budget(params="70%"), torch.zeros(1, 8, 4, 4), round_to=1, routing="free", patch_channels=1
    )
    student, report = nes_lab.fit(net, plan, search_starts=True, calibration=[torch.randn(4, 8, 4, 4)])
    assert {row.norm for row in report.layers} == {""}
    assert torch.equal(student.norm.weight, net.norm.weight)


def test_fit_takes_starts_of_older_versions_with_a_warning():
    net = _net()
    plan = _plan(net)
    for starts, searched in (("search", True), ("plan", False)):
        with pytest.warns(FutureWarning, match="starts=...*search_starts="):
            old = nes_lab.fit(net, plan, starts=starts)[1]
        assert old.layers[0].starts == nes_lab.fit(net, plan, search_starts=searched)[1].layers[0].starts
    with pytest.raises(OptionError, match="starts='serch'"):
        nes_lab.fit(net, plan, starts="serch")


def test_bad_input():
    net, x = _net(), _batches(1)
    plan = _plan(net)
    for how, says in (
        ({"search_starts": "yes"}, "search_starts='yes'"),
        ({"calibration": 3}, "calibration is a int"),
        ({"calibration": "images"}, "calibration is a str"),
        ({"calibration": []}, "calibration holds no batch"),
        ({"calibration": [3]}, "calibration: batch 0 is a int"),
        ({"norms": [("a", "b")]}, "norms: batch 0 is a tuple of str"),
        ({"norms": [torch.zeros(1, 5, 8, 8)]}, "cannot run it"),
        ({"norms": [torch.full((4, 3, 8, 8), float("nan"))]}, "not finite"),
        ({"calibration": [torch.full((4, 3, 8, 8), float("nan"))]}, "not finite"),
        ({"seed": -1}, "seed=-1"),
        ({"snap": 1}, "snap=1"),
        ({"progress": "yes"}, "progress='yes'"),
    ):
        with pytest.raises(OptionError, match=says):
            nes_lab.fit(net, plan, **how)
    with pytest.raises(PlanError, match="made for a conv2d layer"):
        nes_lab.fit(nn.Sequential(nn.Linear(4, 4)), plan)
    with pytest.raises(OptionError, match="meta device"):
        nes_lab.fit(copy.deepcopy(net).to("meta"), plan)
    broken = copy.deepcopy(net)
    broken[3].weight.data[0, 0, 0, 0] = float("nan")
    with pytest.raises(PlanError, match="layer '3': its weight holds NaN"):
        nes_lab.fit(broken, plan)
    with pytest.raises(OptionError, match="model is a NoneType"):
        nes_lab.reestimate_norms(None, x)


def test_progress_tells_every_layer():
    net, x, news = _net(), _batches(2), []
    plan = _plan(net)
    nes_lab.fit(net, plan, calibration=x, norms=x, on_progress=news.append)
    assert [n["label"] for n in news if n["phase"] == "fit"][:-1] == list(plan.layers)
    assert {n["phase"] for n in news} == {"fit", "calibration", "norms"}
    assert all(0 <= n["done"] <= n["total"] for n in news)


def test_reports_go_through_json_and_read_well():
    net = _net()
    report = nes_lab.fit(net, _plan(net), calibration=_batches(1), norms=_batches(2))[1]
    assert nes_lab.FitReport.from_json(report.to_json()) == report
    text = str(report)
    assert "output before" in text and "norms measured anew on 2 batches" in text and "<table>" in report._repr_html_()
    assert all(row["name"] in text for row in report.rows())
    for wrong, says in (("{}", "schema=None"), ("no", "no fit report in JSON"), ('{"schema": 1}', "lacks or misnames")):
        with pytest.raises(PlanError, match=says):
            nes_lab.FitReport.from_json(wrong)


@pytest.mark.slow
@pytest.mark.parametrize("how", [{"patch_channels": 1}, {"scope": "joint"}])
def test_all_of_mobilenet_is_fitted(how):
    torch.manual_seed(0)
    model, x = nes_lab.create_backbone("mobilenetv2_100").eval(), torch.zeros(1, 3, 224, 224)
    plan = nes_lab.plan_for_budget(model, Budget(params="50%"), x, routing="free", **how)
    student, report = nes_lab.fit(model, plan, search_starts=True)
    assert report.residual < report.residual_before < 1
    assert {row.starts for row in report.layers} == {"searched"}
    assert report.seconds < 600  # a record of speed is in benchmarks/fit_resnet56.py; this only tells a fit from a hang
    assert nes_lab.count(student, x).params <= plan.budget.absolute(plan.dense.params, plan.dense.madds)[0]


@pytest.mark.slow
def test_norms_measured_anew_bring_a_real_network_back():
    load = reader()
    net = nes_lab.create_backbone("cifar_resnet56").eval()
    net.load_state_dict({k: torch.from_numpy(v) for k, v in load.state_dict("cifar10_resnet56").items()})
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    images, labels, _ = load.cifar10("test", limit=500)
    unseen = (torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255 - mean) / std
    train = (torch.from_numpy(load.cifar10("train", limit=512)[0]).permute(0, 3, 1, 2).float() / 255 - mean) / std
    plan = nes_lab.plan_for_budget(net, Budget(params="50%"), unseen[:1], **ONES)
    student, report = nes_lab.fit(net, plan, search_starts=True, snap=True)

    def top1(model):
        plain = nes_lab.materialize(model)
        with torch.no_grad():
            return 100 * (plain(unseen).argmax(1) == torch.from_numpy(labels)).float().mean().item()

    alone, renewed = top1(student), top1(nes_lab.reestimate_norms(student, list(train.split(128))))
    assert report.residual < 0.6 < report.residual_before
    assert renewed > alone + 20  # measured: 30 and 80
