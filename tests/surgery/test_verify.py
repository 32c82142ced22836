"""One run of a compressed network, compared with its plan: faults are errors, honest differences are said."""

from __future__ import annotations

import copy
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import nes_lab
from nes_lab import Budget, CompressionPlan
from nes_lab.errors import CheckpointError, OptionError, PlanError
from nes_lab.surgery.verify import why_not_verified

X = torch.randn(2, 3, 8, 8)


class Net(nn.Module):
    """Two convolutions and a classifier; subclasses change how they are called."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.c, self.last = (
            nn.Conv2d(3, 32, 3, padding=1),
            nn.Conv2d(32, 32, 3, padding=1),
            nn.Linear(32, 10),
        )

    def middle(self, x):
        return self.c(x)

    def forward(self, x):
        return self.last(self.middle(self.stem(x).relu()).mean((2, 3)))


class AsksTheClass(Net):
    def middle(self, x):
        return self.c(x) if isinstance(self.c, nn.Conv2d) else x


class AsksForTheSize(Net):
    def middle(self, x):
        return self.c(x if isinstance(self.c, nn.Conv2d) else F.avg_pool2d(x, 2))


class OtherDensePart(Net):
    def __init__(self) -> None:
        super().__init__()
        self.extra = nn.ConvTranspose2d(32, 32, 1)

    def middle(self, x):
        return self.c(self.extra(x) if isinstance(self.c, nn.Conv2d) else x)


class Cached:
    """Stays one object when it is copied, as caches of users' own do, and so keeps the dense layer."""

    def __init__(self, layer: nn.Module) -> None:
        self.layer = layer

    def __call__(self, x):
        return self.layer(x)

    def __deepcopy__(self, memo):
        return self


class HoldsALayer(Net):
    def __init__(self) -> None:
        super().__init__()
        self.function = Cached(self.c)

    def middle(self, x):
        return self.function(x)


class Twice(Net):
    def middle(self, x):
        return self.c(self.c(x) if type(self.c).__name__ == "Conv2d" else x)


class Insists(Net):
    def middle(self, x):
        assert isinstance(self.c, nn.Conv2d), "no convolution"
        return self.c(x)


FAULTS = {
    AsksTheClass: r"layer 'c' is called 0 times, where the plan says once.* something else with c than",
    AsksForTheSize: r"layer 'c' gets inputs of shape \(2, 32, 4, 4\), where the plan says \(2, 32, 8, 8\)",
    OtherDensePart: r"the network takes [0-9,]+ madds, where the plan says [0-9,]+; look at extra",
    HoldsALayer: r"layer 'c' is called 0 times",
    Twice: r"layer 'c' is called once, where the plan says 2 times",
    Insists: r"fails where the dense one runs: .*no convolution",
}


def _plan(model: nn.Module, x=X, **options) -> CompressionPlan:
    return nes_lab.plan_for_budget(model, Budget(params="60%"), x, **options)


def _old(plan: CompressionPlan) -> CompressionPlan:
    """Return the plan as an older version wrote it, without calls and input."""
    layers = {name: replace(layer, calls=None) for name, layer in plan.layers.items()}
    return replace(plan, layers=layers, example_input=None)


@pytest.mark.parametrize("kind", FAULTS)
@pytest.mark.parametrize("example", [None, X])
def test_a_network_that_does_not_do_what_its_plan_says_is_refused(kind, example):
    model = kind().eval()
    plan = _plan(model)
    assert "c" in plan.layers
    for call in (nes_lab.compress, nes_lab.fit):
        with pytest.raises(PlanError, match=FAULTS[kind]):
            call(model, plan, example_input=example)
        call(model, plan, verify=False)
    with pytest.raises(PlanError, match=FAULTS[kind]):
        nes_lab.compress(model, params="60%", example_input=X)


@pytest.mark.parametrize("kind", [AsksTheClass, AsksForTheSize, Twice, Insists])
def test_save_pretrained_refuses_it_too_and_writes_nothing(kind, tmp_path):
    model = kind().eval()
    small = nes_lab.compress(model, _plan(model), verify=False)
    with pytest.raises(CheckpointError, match=FAULTS[kind].partition(".*")[0]):
        nes_lab.save_pretrained(small, tmp_path / "saved")
    assert not list(tmp_path.iterdir())
    nes_lab.save_pretrained(small, tmp_path / "saved", verify=False)


def test_save_pretrained_sees_a_forward_that_was_replaced_after_compress(tmp_path):
    model = Net().eval()
    small = nes_lab.compress(model, _plan(model))
    small.forward = lambda x: model(x)
    with pytest.raises(
        CheckpointError, match=r"layer 'stem' is called 0 times, .* modules that are not in it: Conv2d, Linear, Net"
    ):
        nes_lab.save_pretrained(small, tmp_path / "saved")
    small.forward = torch.compile(type(small).forward.__get__(small), backend="eager")  # this one calls the layers
    nes_lab.save_pretrained(small, tmp_path / "saved")


class EarlyExit(Net):
    """Leaves out its middle where its numbers are large: an honest reason to call a layer less often."""

    def middle(self, x):
        return x if self.calm and x.abs().mean() < 0.1 else self.c(x)

    def __init__(self, calm: bool = True) -> None:
        super().__init__()
        self.calm = calm
        with torch.no_grad():
            self.stem.bias.zero_()


class Routed(Net):
    """Sends some of the inputs through a layer, as a mixture of experts does."""

    def middle(self, x):
        chosen = x.mean((1, 2, 3)) > x.mean()
        return x.index_add(0, chosen.nonzero()[:, 0], self.c(x[chosen]))


@pytest.mark.parametrize(("kind", "x"), [(EarlyExit, 0.001 * X), (Routed, torch.cat([X, X[:1], X[:1]]))])
def test_layers_that_run_or_not_by_the_numbers_are_no_fault_but_said(kind, x, tmp_path):
    model = kind().eval()
    plan = _plan(model, x)
    if kind is Routed:
        plan = _plan(model, torch.stack([X[0] * 0, X[1], X[1], X[1]]))
    with pytest.warns(
        UserWarning, match=r"compress: the result is not verified: layer .*depends on the numbers"
    ) as seen:
        small = nes_lab.compress(model, plan)
    assert seen[0].filename == __file__
    _, report = nes_lab.fit(model, plan)
    assert not report.verified and "depends on the numbers" in report.not_verified and "not verified" in repr(report)
    with pytest.warns(UserWarning, match="the model is saved, but not verified"):
        nes_lab.save_pretrained(small, tmp_path / "saved")


def test_plans_of_older_versions_are_checked_for_what_they_hold():
    model = OtherDensePart().eval()
    plan = _old(_plan(model))
    assert CompressionPlan.from_json(plan.to_json()) == plan
    for example in (None, X):
        with pytest.raises(PlanError, match="madds, where the plan says"):
            nes_lab.compress(model, plan, example_input=example)
    model = Net().eval()
    plan = _old(_plan(model, routing="free"))
    assert nes_lab.fit(model, plan, snap=True, example_input=X)[1].verified
    assert nes_lab.fit(model, plan)[1].verified
    broken = plan.with_layers({"c": replace(plan.layers["c"], predicted=plan.layers["c"].dense)})
    with pytest.raises(PlanError, match=r"params, where the plan says .* look at c$"):
        nes_lab.compress(model, broken)  # needs no run


def test_an_older_plan_of_a_network_that_takes_token_ids_says_why_nothing_ran():
    model, ids = nn.Sequential(nn.Embedding(9, 32), nn.Linear(32, 32)), torch.randint(0, 9, (2, 7))
    with pytest.warns(UserWarning, match=r"older version and gives only the shape .*cannot be run: .*2, 7.*Float"):
        nes_lab.compress(model, _old(_plan(model, ids)))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_a_network_in_another_number_type_than_its_plan_is_verified(dtype, tmp_path):
    model, plan = Net().eval().to(dtype), _plan(Net().eval())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        nes_lab.save_pretrained(nes_lab.compress(model, plan), tmp_path / "saved")
    with pytest.raises(PlanError, match="is called 0 times"):
        nes_lab.compress(AsksTheClass().eval().to(dtype), plan)


class Batch:
    """An input that no description covers."""

    def __init__(self, x) -> None:
        self.x = x


class TakesABatch(Net):
    def forward(self, batch):
        return super().forward(batch.x)


class WantsOnes(Net):
    def forward(self, x):
        if (x != 1).any():
            raise ValueError("only ones")
        return super().forward(x)


@pytest.mark.parametrize(
    ("kind", "x", "says"),
    [
        (TakesABatch, (Batch(X),), "no input can be made from the plan: the example input has a Batch"),
        (WantsOnes, torch.ones_like(X), "the input that was made from the plan cannot be run: .*only ones"),
    ],
)
def test_where_no_input_can_be_made_it_is_said(kind, x, says):
    model = kind().eval()
    plan = _plan(model, x)
    with pytest.warns(UserWarning, match=says):
        nes_lab.compress(model, plan)
    report = nes_lab.fit(model, plan)[1]
    assert not report.verified and report.not_verified
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        nes_lab.compress(model, plan, example_input=x)
    assert nes_lab.fit(model, plan, example_input=x)[1].verified


def test_an_example_that_the_network_cannot_run_is_the_users_mistake():
    model = Net().eval()
    with pytest.raises(OptionError, match=r"example_input of shape \(1, 5\): Net cannot run it"):
        nes_lab.compress(model, _plan(model), example_input=torch.zeros(1, 5))


def test_another_size_of_input_and_another_head_are_no_faults():
    model = Net().eval()
    plan = _plan(model)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        nes_lab.compress(model, plan, example_input=torch.randn(1, 3, 16, 16))
    model.last = nn.Linear(32, 4)
    others = [name for name in plan.layers if name != "last"]
    plan = _plan(Net(), exclude="last")
    with pytest.warns(UserWarning, match="the plan was made for another network"):
        small = nes_lab.compress(model, plan)
    assert others and nes_lab.count(small, X).params < nes_lab.count(model, X).params


class Drops(Net):
    """Drops blocks at random, even in evaluation mode."""

    def middle(self, x):
        return x + self.c(x) if torch.rand(()) < 0.5 else x


def test_chance_is_no_fault():
    model = Drops().eval()
    for seed in range(4):
        torch.manual_seed(seed)
        plan = _plan(model)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            small = nes_lab.compress(model, plan)
        assert why_not_verified(small, plan, dense=model) in ("",) or "depends on" in why_not_verified(small, plan)


CHANCE = np.random.default_rng(0)
COUNTED = [0]


class DrawsInSecret(Net):
    """Draws from a generator that is no part of the network."""

    def middle(self, x):
        return x + self.c(x) if CHANCE.random() < 0.5 else x


class CountsItsCalls(Net):
    def middle(self, x):
        COUNTED[0] += 1
        return self.c(x) if COUNTED[0] % 2 else x


class FailsAtTimes(Net):
    def middle(self, x):
        COUNTED[0] += 1
        if COUNTED[0] % 3 == 2:
            raise ValueError("not now")
        return self.c(x)


@pytest.mark.parametrize("kind", [DrawsInSecret, CountsItsCalls, FailsAtTimes])
def test_chance_that_no_seed_controls_is_no_fault_but_said(kind, tmp_path):
    said = set()
    for attempt in range(6):
        COUNTED[0] = 0
        model = kind().eval()
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            small = nes_lab.compress(model, _plan(model), example_input=(None, X)[attempt % 2])
            nes_lab.save_pretrained(small, tmp_path / str(attempt))
        said |= {str(warning.message) for warning in seen}
    assert any("from run to run" in text for text in said)


def _shared() -> nn.Module:
    layer = nn.Linear(32, 32)
    return nn.Sequential(nn.Linear(3, 32), layer, nn.ReLU(), layer)


def _quantized() -> nn.Module:
    quantized = torch.ao.quantization.quantize_dynamic(nn.Sequential(nn.Linear(32, 32)), {nn.Linear})
    return nn.Sequential(nn.Linear(3, 32), nn.Linear(32, 32), quantized)


NETWORKS = {
    "plain": (Net, X),
    "training": (lambda: Net().train(), X),
    "meta": (lambda: Net().to("meta"), X.to("meta")),
    "data parallel": (lambda: nn.DataParallel(Net()), X),
    "compiled": (lambda: torch.compile(Net(), backend="eager"), X),
    "bfloat16": (lambda: Net().to(torch.bfloat16), X.to(torch.bfloat16)),
    "shared": (_shared, torch.randn(4, 3)),
    "attention": (lambda: nn.TransformerEncoderLayer(32, 4, 64, batch_first=True), torch.randn(2, 5, 32)),
    "quantized": (_quantized, torch.randn(4, 3)),
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:count")
@pytest.mark.parametrize("routing", ["tiled", "free", "learner"])
@pytest.mark.parametrize("name", NETWORKS)
def test_sound_networks_pass_and_are_left_as_they_were(name, routing, tmp_path):
    make, x = NETWORKS[name]
    torch.manual_seed(0)
    model = make()
    plan = (
        nes_lab.preset("both_axes", model, x) if name == "quantized" else _plan(model, x, routing=routing, round_to=4)
    )
    before = copy.deepcopy(model.state_dict()), [m.training for m in model.modules()], torch.random.get_rng_state()
    small = nes_lab.compress(model, plan, verify=False)
    assert plan.layers and why_not_verified(small, plan, dense=model) == ""
    after = model.state_dict(), [m.training for m in model.modules()], torch.random.get_rng_state()
    assert before[1] == after[1] and torch.equal(before[2], after[2])
    assert all(
        value.is_meta or torch.equal(value, after[0][key]) for key, value in before[0].items() if torch.is_tensor(value)
    )
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in [*model.modules(), *small.modules()])
    if name != "meta":
        assert [nes_lab.fit(model, plan, snap=snap)[1].not_verified for snap in (False, True)] == ["", ""]
    if name in ("plain", "shared", "attention"):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            folder = nes_lab.save_pretrained(small, tmp_path / "saved")
            again = nes_lab.from_pretrained(folder, model=model)
            nes_lab.save_pretrained(again, tmp_path / "again")
        assert again.nes_lab_plan == plan


def test_changes_after_compress_can_be_saved(tmp_path):
    """Folding, tuning, a new classifier and materialized layers change params and multiply-adds, and no call."""
    model = nn.Sequential(
        nn.Conv2d(3, 32, 3, bias=False), nn.BatchNorm2d(32), nn.Conv2d(32, 32, 3), nn.Flatten(), nn.Linear(512, 4)
    )
    small = nes_lab.compress(model.eval(), _plan(model))
    fused, headed = nes_lab.fuse(small), copy.deepcopy(small)
    headed[4] = nn.Linear(512, 7)
    slow = copy.deepcopy(small)
    slow[2].execution = "materialize"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for number, network in enumerate((fused, headed, slow, nes_lab.materialize(small))):
            nes_lab.save_pretrained(network, tmp_path / str(number))
    with pytest.raises(CheckpointError, match=r"layer '0' has .* an epitome of shape"):
        nes_lab.save_pretrained(small, tmp_path / "other", plan=nes_lab.preset("output_axis", model, X))


def test_madds_that_differ_on_the_same_calls_are_an_error():
    model = Net().eval()
    plan = _plan(model)
    layer = plan.layers["c"]
    wrong = plan.with_layers(
        {"c": replace(layer, predicted=replace(layer.predicted, madds=layer.predicted.madds - 64))}
    )
    for example in (None, X):
        with pytest.raises(
            PlanError, match=r"madds, where the plan says .* look at c\. The same layers run on the same shapes"
        ):
            nes_lab.compress(model, wrong, example_input=example)


@pytest.mark.parametrize("routing", ["tiled", "free"])
def test_saving_says_that_a_budget_for_madds_has_been_undone(routing, tmp_path):
    model = Net().eval()
    plan = nes_lab.plan_for_budget(model, Budget(madds="70%"), X, routing=routing)
    small = nes_lab.compress(model, plan)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for number, network in enumerate((small, nes_lab.for_inference(small), nes_lab.fuse(small))):
            nes_lab.save_pretrained(network, tmp_path / str(number))
    for layer in small.modules():
        if isinstance(layer, nes_lab.EpitomeLayer):
            layer.execution = "materialize"
    numbers = f"takes {nes_lab.count(small, X).madds:,} madds, where the plan, .* says {plan.predicted.madds:,};"
    with pytest.warns(UserWarning, match=numbers):
        nes_lab.save_pretrained(small, tmp_path / "slow")
