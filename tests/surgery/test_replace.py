"""Surgery: there and back, nothing else touched."""

from __future__ import annotations

import copy
import inspect

import pytest
import torch
from torch import nn

import nes_lab
from nes_lab import Budget
from nes_lab.errors import OptionError, PlanError
from nes_lab.nn.conv import EpitomeConv2d
from nes_lab.nn.layer import EpitomeLayer
from nes_lab.nn.linear import EpitomeLinear

X = torch.randn(2, 3, 64, 64)


def _nets() -> list[tuple[str, int]]:
    return [("mobilenetv2_100", 64), ("resnet18", 64), ("efficientnet_b0", 64), ("vit_tiny_patch16_224", 224)]


@pytest.mark.parametrize(("name", "size"), _nets())
@pytest.mark.parametrize("routing", ["tiled", "free"])
def test_compressed_and_materialized_agree(name, size, routing):
    torch.manual_seed(0)
    model, x = nes_lab.create_backbone(name).eval(), torch.randn(1, 3, size, size)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    plan = nes_lab.plan_for_budget(model, Budget(params="60%"), x, routing=routing)
    small = nes_lab.compress(model, plan)
    plain = nes_lab.materialize(small)
    with torch.no_grad():
        a, b = small(x), plain(x)
    assert (scale := float(a.abs().max())) > 0
    assert (a - b).abs().max() <= 1e-4 * scale
    assert not any("nes_lab" in type(m).__module__ for m in plain.modules())
    assert plain.state_dict().keys() == model.state_dict().keys()
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert any(isinstance(m, EpitomeLayer) for m in small.modules())  # materialize left its input alone


def test_modes_dtypes_and_gradients_are_kept():
    model = nn.Sequential(nn.Conv2d(16, 32, 1), nn.BatchNorm2d(32), nn.Conv2d(32, 16, 1)).double().train()
    model[1].eval()
    model[2].weight.requires_grad_(False)
    plan = nes_lab.plan_for_budget(model, Budget(params="60%"), torch.randn(1, 16, 4, 4, dtype=torch.float64))
    small = nes_lab.compress(model, plan)
    assert [m.training for m in small] == [True, False, True] and small[0].epitome.dtype == torch.float64
    assert small[0].epitome.requires_grad and not small[2].epitome.requires_grad
    plain = nes_lab.materialize(small)
    assert [m.training for m in plain] == [True, False, True]
    assert plain[0].weight.requires_grad and not plain[2].weight.requires_grad


def test_a_module_registered_twice_stays_one_module():
    shared = nn.Linear(32, 32)
    model = nn.ModuleDict({"a": shared, "b": nn.Sequential(shared)})
    model.forward = None
    holder = nn.Sequential(shared, nn.ReLU(), shared)
    plan = nes_lab.plan_for_budget(holder, Budget(params="50%"), torch.randn(1, 32))
    small = nes_lab.compress(holder, plan)
    assert small[0] is small[2] and isinstance(small[0], EpitomeLayer)
    plain = nes_lab.materialize(small)
    assert plain[0] is plain[2]


def test_the_root_itself_may_be_replaced():
    model, x = nn.Linear(32, 32), torch.randn(1, 32)
    small = nes_lab.compress(model, nes_lab.plan_for_budget(model, Budget(params="50%"), x))
    assert isinstance(small, EpitomeLayer) and type(nes_lab.materialize(small)) is nn.Linear


def test_a_plan_for_another_model_is_refused_before_anything_is_copied():
    model, x = nn.Sequential(nn.Linear(32, 32)), torch.randn(1, 32)
    plan = nes_lab.plan_for_budget(model, Budget(params="50%"), x)
    for other, says in [
        (nn.Sequential(nn.Linear(32, 64)), r"weight of shape \(64, 32\)"),
        (nn.Sequential(nn.Conv1d(32, 32, 1)), "made for a linear layer"),
        (nn.ModuleDict({"first": nn.Linear(32, 32)}), "which the model does not have"),
    ]:
        with pytest.raises(PlanError, match=says):
            nes_lab.compress(other, plan)
    with pytest.raises(OptionError, match="initial_weights='random'"):
        nes_lab.compress(model, plan, initial_weights="random")


def test_compressing_moves_no_global_state_and_follows_its_generator():
    model, x = nn.Sequential(nn.Linear(64, 64)), torch.randn(1, 64)
    plan = nes_lab.plan_for_budget(model, Budget(params="50%"), x, routing="learner")
    before = torch.get_rng_state()
    a = nes_lab.compress(model, plan, generator=torch.Generator().manual_seed(5))
    b = nes_lab.compress(model, plan, generator=torch.Generator().manual_seed(5))
    c = nes_lab.compress(model, plan, generator=torch.Generator().manual_seed(6))
    assert torch.equal(torch.get_rng_state(), before)
    first = "0.routing.learner.body.0.weight"
    assert torch.equal(a.state_dict()[first], b.state_dict()[first])
    assert not torch.equal(a.state_dict()[first], c.state_dict()[first])


def test_reset_keeps_the_initial_distribution_and_fit_is_nearer():
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(256, 256)), torch.randn(1, 256)
    plan = nes_lab.plan_for_budget(model, Budget(params="25%"), x)
    fit, reset = nes_lab.compress(model, plan)[0], nes_lab.compress(model, plan, initial_weights="reset")[0]
    weight = model[0].weight
    assert float(reset.weight.std()) == pytest.approx(float(weight.std()), rel=0.05)
    assert (fit.weight - weight).norm() < (reset.weight - weight).norm()
    assert torch.isin(reset.epitome, weight).all()


def test_a_materialized_model_behaves_like_one_that_never_had_epitomes(tmp_path):
    model, x = nn.Sequential(nn.Conv2d(16, 32, 3), nn.BatchNorm2d(32)).eval(), torch.randn(1, 16, 6, 6)
    small = nes_lab.compress(model, nes_lab.plan_for_budget(model, Budget(params="50%"), x, routing="free"))
    plain = nes_lab.materialize(small)
    with torch.no_grad():
        again = copy.deepcopy(plain)
        again[0].weight.zero_()
        assert not torch.equal(again(x), plain(x))  # the copy is its own
        torch.save(plain.state_dict(), tmp_path / "w.pt")
        fresh = nn.Sequential(nn.Conv2d(16, 32, 3), nn.BatchNorm2d(32)).eval()
        fresh.load_state_dict(torch.load(tmp_path / "w.pt", weights_only=True))
        assert torch.equal(fresh(x), plain(x))
        assert torch.allclose(torch.fx.symbolic_trace(plain)(x), plain(x))


def test_weights_that_are_no_numbers_and_wrong_arguments():
    model, x = nn.Sequential(nn.Linear(32, 32)), torch.randn(1, 32)
    plan = nes_lab.plan_for_budget(model, Budget(params="50%"), x)
    for wrong, says in (((None, plan), "model is a NoneType"), ((model, None), "plan is None")):
        with pytest.raises(PlanError, match=says):
            nes_lab.compress(*wrong)
    with torch.inference_mode():
        inside = nes_lab.compress(model, plan)
    inside(x).sum().backward()
    with torch.device("meta"):
        empty = nes_lab.compress(nn.Sequential(nn.Linear(32, 32)), plan)
    empty.load_state_dict(inside.state_dict(), assign=True)
    assert torch.equal(empty(x), inside(x))
    with torch.no_grad():
        model[0].weight[0, 0] = float("nan")
    with pytest.raises(PlanError, match="layer '0': its weight holds NaN"):
        nes_lab.compress(model, plan)


def test_a_model_made_in_inference_mode_is_compressed_and_fitted_as_elsewhere():
    options = {"example_input": torch.randn(4, 32), "strategy": "sensitivity"}
    with torch.inference_mode():
        model = nn.Sequential(nn.Linear(32, 32), nn.BatchNorm1d(32))
        small = nes_lab.compress(model, params="60%", **options)
        fitted, _ = nes_lab.fit(model, small.nes_lab_plan, calibration=[options["example_input"]])
        nes_lab.fuse(model, options["example_input"])
    elsewhere = nes_lab.compress(copy.deepcopy(model), params="60%", **options)
    assert torch.equal(small[0].epitome, elsewhere[0].epitome)
    for network in (small, fitted):  # they can be trained
        network(options["example_input"]).sum().backward()
        assert network[0].epitome.grad is not None


def test_materialize_leaves_the_random_state_alone():
    model = nn.Sequential(EpitomeConv2d(4, 8, 3, epitome_shape=(4, 4, 3, 3)), EpitomeLinear(4, 8, epitome_shape=(4, 4)))
    before = torch.get_rng_state()
    nes_lab.materialize(model)
    assert torch.equal(before, torch.get_rng_state())


def test_compress_is_a_plain_function_and_takes_weights_by_its_old_name():
    assert inspect.isfunction(nes_lab.compress) and "initial_weights" in inspect.signature(nes_lab.compress).parameters
    model, x = nn.Sequential(nn.Linear(32, 32)), torch.randn(1, 32)
    plan = nes_lab.plan_for_budget(model, Budget(params="50%"), x)
    with pytest.warns(FutureWarning, match=r"compress\(weights=...\) is now called initial_weights="):
        old = nes_lab.compress(model, plan, weights="reset")
    new = nes_lab.compress(model, plan, "reset")
    assert all(torch.equal(a, b) for a, b in zip(old.parameters(), new.parameters(), strict=True))
    fresh = nes_lab.compress(model, plan, initial_weights="none")
    assert type(fresh) is type(model) and any(
        not torch.equal(a, b) for a, b in zip(fresh.parameters(), new.parameters(), strict=True)
    )
