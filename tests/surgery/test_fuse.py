"""Folding norms: the same outputs without the norms, and nothing folded that another could read."""

from __future__ import annotations

import copy
import itertools
import warnings

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

import nes_lab
from nes_lab import Budget, EpitomeConv1d, EpitomeConv2d, EpitomeLinear
from nes_lab.errors import OptionError
from nes_lab.execution.registry import EXECUTIONS
from nes_lab.nn.inspect import epitome_layers
from nes_lab.nn.layer import EpitomeLayer
from nes_lab.surgery.foldable_norms import fusable, norm_pairs
from nes_lab.surgery.fuse import fuse
from tests.geometries import random_case, scatter_starts

NORMS = {"mobilenetv2_100": 52, "efficientnet_b0": 49, "resnet18": 20, "resnet50": 53}
FORMS = {
    "tiled": {"budget": Budget(madds="50%")},
    "free": {"budget": Budget(madds="50%"), "routing": "free"},
    "joint": {"budget": Budget(params="50%"), "scope": "joint"},
}


def shaken(model: nn.Module, seed: int = 0) -> nn.Module:
    """Norms with random statistics and affine, so that a wrong fold shows; learned starts anywhere."""
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for norm in (m for m in model.modules() if isinstance(m, _BatchNorm) and m.running_mean is not None):
            for tensor, low in (
                (norm.running_mean, -0.5),
                (norm.running_var, 0.4),
                (norm.weight, -0.5),
                (norm.bias, -0.5),
            ):
                if tensor is not None:
                    tensor.copy_(torch.rand(tensor.shape, generator=draw) + low)
            if norm.weight is not None:
                norm.weight.add_(norm.weight.sign() * 0.7)
    for _, layer in epitome_layers(model):
        scatter_starts(layer, np.random.default_rng(seed))
    return model.eval()


def backbone(name: str, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nes_lab.create_backbone(name)


def compressed(name: str, form: str, size: int = 64) -> nn.Module:
    model, options = backbone(name), FORMS[form]
    plan = nes_lab.plan_for_budget(model, options["budget"], torch.randn(1, 3, size, size), **_rest(options))
    return nes_lab.compress(model, plan, initial_weights="reset")


def _rest(options: dict) -> dict:
    return {key: value for key, value in options.items() if key != "budget"}


def difference(a: torch.Tensor, b: torch.Tensor) -> float:
    """Largest difference relative to the largest output."""
    return float((a - b).abs().max() / b.abs().max())


def agree(model: nn.Module, x: torch.Tensor, fused: nn.Module | None = None, within: float = 1e-10) -> nn.Module:
    """The fused model, checked in float64, where what is left is rounding alone."""
    fused = fuse(model) if fused is None else fused
    with torch.no_grad():
        expected = copy.deepcopy(model).eval()(x)
        assert difference(fused(x), expected) <= within
    return fused


def norms(model: nn.Module) -> list[str]:
    return [name for name, module in model.named_modules() if isinstance(module, _BatchNorm)]


# ---- whole networks -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NORMS)
def test_dense_networks_lose_all_their_norms_for_free(name):
    model, x = shaken(backbone(name)).double(), torch.randn(2, 3, 64, 64, dtype=torch.float64)
    fused = agree(model, x)
    assert len(fusable(model)) == len(norms(model)) == NORMS[name] and norms(fused) == []
    count, before = nes_lab.count(fused, x), nes_lab.count(model, x)
    outputs = sum(m.num_features for m in model.modules() if isinstance(m, _BatchNorm))
    assert (count.madds, count.params) == (before.madds, before.params - outputs)


SLOW = [
    pytest.param(name, marks=[pytest.mark.slow] if name in ("efficientnet_b0", "resnet50") else []) for name in NORMS
]


@pytest.mark.parametrize("name", SLOW)
@pytest.mark.parametrize("form", FORMS)
def test_compressed_networks_agree_under_every_execution_plan(name, form):
    model, x = shaken(compressed(name, form)).double(), torch.randn(1, 3, 64, 64, dtype=torch.float64)
    fused = agree(model, x)
    assert norms(fused) == [] and all(layer.frozen for _, layer in epitome_layers(fused))
    assert nes_lab.count(fused, x).madds == nes_lab.count(model, x).madds
    agree(model, x, nes_lab.materialize(fused))
    for execution in EXECUTIONS:
        able = [layer for _, layer in epitome_layers(fused) if execution in layer.available_executions()]
        for layer in able:
            layer.execution = execution
        if able:
            agree(model, x, fused)


@pytest.mark.parametrize("name", SLOW)
def test_in_single_precision_only_the_network_s_own_rounding_is_left(name):
    model, x = shaken(compressed(name, "tiled")), torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        exact = copy.deepcopy(model).double()(x.double())
        own, folded = difference(model(x), exact), difference(fuse(model)(x), exact)
    assert folded <= max(1e-5, 4 * own)  # deep random networks amplify rounding, folded or not


def test_a_network_without_batch_norms_is_copied():
    model, x = shaken(backbone("vit_tiny_patch16_224")), torch.randn(1, 3, 224, 224)
    fused = fuse(model)
    with torch.no_grad():
        assert fusable(model) == {} and torch.equal(fused(x), model(x))
    assert fused.state_dict().keys() == model.state_dict().keys()


def test_timm_s_norms_with_activation_and_its_padded_convolutions():
    model = shaken(backbone("tf_efficientnet_b0")).double()
    assert {type(m).__name__ for m in model.modules()} >= {"Conv2dSame", "BatchNormAct2d"}
    fused = agree(model, torch.randn(1, 3, 64, 64, dtype=torch.float64))
    assert norms(fused) == [] and "Conv2dSame" in {type(m).__name__ for m in fused.modules()}
    assert type(fused.bn1.act) is type(model.bn1.act)


# ---- where the factor goes ------------------------------------------------------------------------------------------


def stack(layer: EpitomeLayer, **norm: bool) -> nn.Sequential:
    kind = (nn.BatchNorm1d, nn.BatchNorm1d, nn.BatchNorm2d)[layer.op.spatial]
    return shaken(nn.Sequential(layer, kind(layer.geometry.weight_shape[0], **norm).to(layer.epitome.dtype)))


@pytest.mark.parametrize("seed", range(80))
def test_random_layers_of_all_kinds(seed):
    case = random_case(seed)
    x = case.input(torch.float64)
    x = x.flatten(0, -2) if case.layer.op.spatial == 0 else x
    model = stack(case.layer)
    fused = agree(model, x)
    weight, factor = model[0].materialize(), model[1].weight / (model[1].running_var + model[1].eps).sqrt()
    torch.testing.assert_close(fused[0].materialize(), weight * factor.view(-1, *[1] * (weight.ndim - 1)))
    for execution in fused[0].available_executions():
        fused[0].execution = execution
        agree(model, x, fused)


@pytest.mark.parametrize("scope", ["separable", "joint"])
def test_rows_that_are_output_channels_take_the_factor(scope):
    layer = EpitomeConv2d(16, 12, 3, epitome_shape=(12, 8, 3, 3), scope=scope, bias=False, dtype=torch.float64)
    fused = agree(stack(layer), torch.randn(2, 16, 7, 7, dtype=torch.float64))
    assert fused[0].scale is None and fused[0].stored_params() == layer.epitome.numel() + 12


def constant(norm: _BatchNorm) -> None:
    with torch.no_grad():
        for tensor in (norm.running_var, norm.weight):
            tensor.fill_(float(tensor[0]))


@pytest.mark.parametrize("options", [{}, {"routing": "free"}, {"scope": "joint", "routing": "random"}])
def test_rows_whose_copies_share_a_factor_take_it(options):
    layer = EpitomeConv2d(16, 24, 1, epitome_shape=(8, 8, 1, 1), patch_channels=(4, 4), dtype=torch.float64, **options)
    model, x = stack(layer), torch.randn(2, 16, 5, 5, dtype=torch.float64)
    assert agree(model, x)[0].scale is not None
    constant(model[1])
    fused = agree(model, x)
    assert fused[0].scale is None and not torch.equal(fused[0].epitome, layer.epitome)


def test_a_factor_is_shared_by_the_readers_of_a_row_not_by_all():
    layer = EpitomeLinear(4, 8, epitome_shape=(4, 4), patch_channels=(2, 4), dtype=torch.float64)
    model, x = stack(layer), torch.randn(3, 4, dtype=torch.float64)
    with torch.no_grad():  # rows 0..3 are read by channels 0..3 and again by 4..7
        for tensor in (model[1].running_var, model[1].weight):
            tensor[4:] = tensor[:4]
    assert agree(model, x)[0].scale is None
    with torch.no_grad():
        model[1].weight[7] += 1e-6
    assert agree(model, x)[0].scale is not None


def test_taps_without_a_share_and_rows_never_read_have_no_say():
    layer = EpitomeLinear(4, 4, epitome_shape=(6, 4), patch_channels=(1, 4), routing="free", dtype=torch.float64)
    model = stack(layer)
    with torch.no_grad():
        layer.routing.set_starts_(0, torch.tensor([0.0, 1.0, 2.0, 3.0]))
    fused = agree(model, torch.randn(3, 4, dtype=torch.float64))
    assert fused[0].scale is None and torch.equal(fused[0].epitome[4:], layer.epitome[4:])
    with torch.no_grad():
        layer.routing.table(0)[0] = 0.5
    assert agree(model, torch.randn(3, 4, dtype=torch.float64))[0].scale is not None


# ---- which norms are folded -----------------------------------------------------------------------------------------


class Net(nn.Module):
    """Two layers and two norms, called as ``how`` says."""

    def __init__(self, how) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 3, 1, bias=False)
        self.n, self.m = nn.BatchNorm2d(3), nn.BatchNorm2d(3)
        self.how = how

    def forward(self, x, flag=False):
        return self.how(self, x)


def _functional(s, x):
    return F.batch_norm(s.a(x), s.n.running_mean, s.n.running_var)


def _residual(s, x):
    y = s.a(x)
    return s.n(y) + y


def _returned(s, x):
    y = s.a(x)
    return s.n(y), y


def _changed(s, x):
    y = s.a(x)
    y.add_(1)
    return s.n(y)


CALLS = {
    "chain": (lambda s, x: s.m(s.b(s.n(s.a(x)))), {"n": "a", "m": "b"}),
    "two norms in a row": (lambda s, x: s.m(s.n(s.a(x))), {"n": "a", "m": "a"}),
    "named argument": (lambda s, x: s.n(input=s.a(x)), {"n": "a"}),
    "used twice": (_residual, {}),
    "returned": (_returned, {}),
    "changed in place": (_changed, {}),
    "activation between": (lambda s, x: s.n(s.a(x).relu()), {}),
    "norm first": (lambda s, x: s.a(s.n(x)), {}),
    "layer called twice": (lambda s, x: s.n(s.a(s.a(x))), {}),
    "norm called twice": (lambda s, x: s.n(s.n(s.a(x))), {}),
    "pair called twice": (lambda s, x: s.n(s.a(s.n(s.a(x)))), {}),
    "one norm for two": (lambda s, x: s.n(s.a(x)) + s.n(s.b(x)), {}),
    "weight read": (lambda s, x: s.n(s.a(x)) * s.a.weight.mean(), {}),
    "norm read": (lambda s, x: s.n(s.a(x)) * s.n.weight.mean(), {}),
    "statistics read": (lambda s, x: s.n(s.a(x)) * s.n.running_var.mean(), {}),
    "forward bypassed": (lambda s, x: s.n(F.conv2d(x, s.a.weight, s.a.bias, padding=1)), {}),
    "functional norm": (_functional, {}),
    "on values": (lambda s, x: s.n(s.a(x)) if x.sum() > 0 else s.m(s.a(x)), {}),
    "wider": (lambda s, x: s.n(torch.cat([s.a(x), s.b(x)], 1)[:, :3]), {}),
}


@pytest.mark.parametrize("call", CALLS)
def test_only_what_one_norm_alone_reads_is_folded(call):
    how, expected = CALLS[call]
    model, x = shaken(Net(how)).double(), torch.randn(2, 3, 6, 6, dtype=torch.float64)
    assert fusable(model) == expected
    fused = fuse(model)
    with torch.no_grad():
        for a, b in zip(_tuple(fused(x)), _tuple(model(x)), strict=True):
            assert difference(a, b) <= 1e-12


def _tuple(y):
    return y if isinstance(y, tuple) else (y,)


class Gate(nn.Module):
    """A forward that cannot be traced around one that can."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(x) if x.shape[-1] > 1 and x.abs().max() > 0 else x


def pair(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3))


def test_what_cannot_be_traced_is_read_in_parts_and_seen_as_one_by_the_rest():
    model = shaken(nn.Sequential(*pair(), Gate(pair(1)), Gate(Gate(pair(2))), *pair(3))).double()
    pairs, inside = norm_pairs(model), {"2.inner.1": "2.inner.0", "3.inner.inner.1": "3.inner.inner.0"}
    assert pairs == ({"1": "0", "5": "4"}, inside, ("2", "3", "3.inner"))
    x = torch.randn(2, 3, 4, 4, dtype=torch.float64)
    with pytest.warns(
        UserWarning, match=r"fuse: the forward method of '2', '3', '3.inner' cannot be traced.* 2 norms stay"
    ):
        assert norms(agree(model, x)) == list(inside)
    with pytest.warns(
        UserWarning, match=r"the comparison covers only what the example takes.*: '2.inner.1' into '2.inner.0'"
    ):
        assert norms(agree(model, x, fuse(model, x))) == []
    across = nn.Sequential(pair()[0], nn.Sequential(pair()[1], Gate(nn.ReLU())))
    assert fusable(across) == {"1.0": "0"}
    outer = Gate(nn.ModuleDict({"a": pair()}))
    assert norm_pairs(outer).unsure == {"inner.a.1": "inner.a.0"}


def test_a_layer_that_an_unread_forward_may_also_call_is_left():
    shared = pair()
    assert fusable(nn.Sequential(shared)) == {"0.1": "0.0"}
    assert fusable(nn.Sequential(shared, Gate(shared[0]))) == {}
    twice_named = Net(lambda s, x: s.n(s.a(x)))
    twice_named.alias = twice_named.a
    assert fusable(twice_named) == {"n": "a"}


class Tapped(nn.Module):
    """It reads a convolution before its norm as well, as feature extractors do, and its forward method cannot be traced."""

    def __init__(self, read: str) -> None:
        super().__init__()
        self.a, self.b, self.c, self.read = pair(0), pair(1), pair(2), read

    def forward(self, x):
        if x.sum() > 1e9:
            return x
        y = self.c(self.b(self.a(x)))
        before = {
            "output": lambda: self.b[0](x),
            "weight": lambda: F.conv2d(x, self.b[0].weight),
            "norm": lambda: self.b[1](x),
            "statistics": lambda: x * self.b[1].running_mean.view(-1, 1, 1),
            "nothing": lambda: x,
        }
        return {"y": y, "before": [before[self.read]()]}


@pytest.mark.parametrize("read", ["output", "weight", "norm", "statistics"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_pair_that_changes_the_outputs_is_named_and_left(read, dtype):
    model, x = shaken(Tapped(read)).to(dtype), torch.randn(2, 3, 4, 4).to(dtype)
    with pytest.warns(UserWarning, match=r"folding 'b.1' into 'b.0' changes the outputs"):
        fused = fuse(model, x)
    assert norms(fused) == ["b.1"]
    with torch.no_grad():
        expected, given = model(x), fused(x)
    assert torch.equal(given["before"][0], expected["before"][0])
    assert difference(given["y"], expected["y"]) < 10 * torch.finfo(dtype).eps  # rounding of three layers
    with pytest.warns(UserWarning, match="the forward method of the model itself cannot be traced"):
        assert norms(fuse(model)) == ["a.1", "b.1", "c.1"]
    with pytest.warns(UserWarning, match="covers only what the example takes"):
        assert norms(fuse(shaken(Tapped("nothing")), x.float())) == []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert norms(fuse(shaken(pair()), x.float())) == []


def test_fuse_with_an_example_in_a_dtype_of_its_own_and_with_outputs_that_differ_by_themselves():
    class Casts(Tapped):
        def forward(self, x):
            return super().forward(x.float())

    model, x = shaken(Casts("output")), torch.randn(2, 3, 4, 4)
    with pytest.warns(UserWarning, match=r"folding 'b.1' into 'b.0' changes the outputs"):
        assert norms(fuse(model, x)) == ["b.1"]
    count = itertools.count(1)
    clock = Net(lambda s, x: s.n(s.a(x)) * next(count))
    with pytest.raises(OptionError, match="the outputs of Net differ from one run to the next"):
        fuse(clock, torch.randn(2, 3, 4, 4))
    noisy = nn.Sequential(*pair(), Net(lambda s, x: F.dropout(x, training=True)))
    assert "1" not in norms(fuse(noisy, x))  # the random numbers are the same in both runs


def test_fit_moves_no_factors_into_a_norm_of_which_the_trace_is_not_sure():
    model, x = shaken(Tapped("output")), torch.randn(8, 3, 4, 4)
    plan = nes_lab.plan_for_budget(model, Budget(params="90%"), x, round_to=1, include=["a.0", "b.0", "c.0"])
    with pytest.warns(UserWarning, match=r"fit: the forward method of the model itself .*\(calibration=\)"):
        _, report = nes_lab.fit(model, plan)
    assert {layer.norm for layer in report.layers} == {""}
    with pytest.warns(UserWarning, match=r"fit: folding 'b.1' into 'b.0' changes the outputs"):
        _, report = nes_lab.fit(model, plan, calibration=[x])
    assert {layer.name: layer.norm for layer in report.layers}.get("b.0", "") == ""
    assert any(layer.norm for layer in report.layers)


def test_hooks_parametrizations_ties_and_own_forwards_are_left():
    def hooked(part):
        part.register_forward_hook(lambda module, args, output: output * 2)

    def own(part):
        part.forward = lambda x: type(part).forward(part, x) + 1

    x = torch.randn(2, 3, 4, 4, dtype=torch.float64)
    for change in (hooked, own):
        for index in (0, 1):
            model = shaken(pair()).double()
            change(model[index])
            assert fusable(model) == {}
            with torch.no_grad():
                assert torch.equal(fuse(model)(x), model(x))
    for reparametrize in (nn.utils.parametrizations.weight_norm, nn.utils.spectral_norm):
        model = pair()
        reparametrize(model[0])
        assert fusable(model) == {}
    tied = nn.Sequential(*pair(), nn.Conv2d(3, 3, 1))
    tied[2].weight = tied[0].weight
    assert fusable(tied) == {}


def test_a_hook_on_a_container_is_not_called_and_hides_no_pair_inside():
    seen: list[object] = []
    model = nn.Sequential(pair(), nn.Sequential(nn.Conv2d(3, 3, 1)), nn.BatchNorm2d(3))
    for part in model[:2]:
        part.register_forward_hook(lambda module, args, output: seen.append(output))
    assert fusable(model) == {"0.1": "0.0"} and seen == []  # the hook on 1 sees what the last norm reads


def test_other_norms_and_the_training_form_are_left():
    for norm in (
        nn.GroupNorm(1, 3),
        nn.InstanceNorm2d(3, track_running_stats=True),
        nn.BatchNorm2d(3, track_running_stats=False),
        nn.BatchNorm3d(3),
    ):
        assert fusable(nn.Sequential(nn.Conv2d(3, 3, 1), norm)) == {}
    assert fusable(nn.Sequential(nn.ConvTranspose2d(3, 3, 1), nn.BatchNorm2d(3))) == {}
    forward = {"forward": lambda self, x: self._conv_forward(x, self.weight - self.weight.mean(), self.bias)}
    standardized = type("Standardized", (nn.Conv2d,), forward)
    assert fusable(nn.Sequential(standardized(3, 3, 1), nn.BatchNorm2d(3))) == {}
    assert fusable(nn.Sequential(nn.Conv2d(3, 3, 1), nn.Identity(), nn.BatchNorm2d(3))) == {"2": "0"}
    assert fusable(nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU(), nn.BatchNorm2d(3))) == {}


@pytest.mark.parametrize("norm", [{"affine": False}, {"momentum": None}, {"eps": 0.1}])
@pytest.mark.parametrize("kind", ["conv1d", "conv2d", "grouped", "depthwise", "linear", "sync"])
def test_kinds_of_layers_and_norms(kind, norm):
    layer, norm_class, shape = {
        "conv1d": (nn.Conv1d(4, 8, 3), nn.BatchNorm1d, (2, 4, 9)),
        "conv2d": (nn.Conv2d(4, 8, 3, padding=1, padding_mode="reflect"), nn.BatchNorm2d, (2, 4, 5, 5)),
        "grouped": (nn.Conv2d(4, 8, 3, groups=2, bias=False), nn.BatchNorm2d, (2, 4, 5, 5)),
        "depthwise": (nn.Conv2d(4, 8, 3, groups=4), nn.BatchNorm2d, (2, 4, 5, 5)),
        "linear": (nn.Linear(4, 8, bias=False), nn.BatchNorm1d, (3, 4)),
        "sync": (nn.Conv2d(4, 8, 3), nn.SyncBatchNorm, (2, 4, 5, 5)),
    }[kind]
    model = shaken(nn.Sequential(layer, norm_class(8, **norm))).double()
    fused = agree(model, torch.randn(shape, dtype=torch.float64))
    assert not norms(fused) and isinstance(fused[1], nn.Identity)


def test_after_a_linear_layer_a_norm_over_another_axis_is_an_error_not_a_wrong_answer():
    model = shaken(nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8)))
    with pytest.raises(AssertionError, match=r"inputs of shape \(N, C\)"):
        fuse(model)(torch.randn(2, 8, 4))
    assert isinstance(torch.fx.symbolic_trace(fuse(model)), nn.Module)
    assert fusable(nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(5))) == {}  # can only be meant for (N, 5, 4)


# ---- the model given, and life after folding ------------------------------------------------------------------------


def test_the_model_given_is_untouched_and_the_copy_evaluates():
    model = shaken(compressed("resnet18", "free")).train()
    model.layer1.eval()
    modes = [m.training for m in model.modules()]
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    kinds = [type(m) for m in model.modules()]
    fused = fuse(model)
    assert modes == [m.training for m in model.modules()] and kinds == [type(m) for m in model.modules()]
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert not any(m.training for m in fused.modules())
    theirs = {t.data_ptr() for t in model.parameters()}
    assert not any(t.data_ptr() in theirs for t in fused.parameters())


def test_a_forward_is_read_as_in_evaluation_and_leaves_nothing_in_the_model():
    class Remembering(Net):
        def forward(self, x):
            y = self.a(x)
            self.last = x
            return self.n(y) + y if self.training else self.n(y)

    model = Remembering(None).train()
    assert fusable(model) == {"n": "a"} and model.training and not hasattr(model, "last")
    assert not hasattr(fuse(model), "last")


def test_learned_starts_are_frozen_also_in_layers_without_norms():
    learner = EpitomeConv2d(8, 16, 1, epitome_shape=(8, 8, 1, 1), patch_channels=(4, 4), routing="learner")
    alone = EpitomeLinear(16, 8, epitome_shape=(8, 8), patch_channels=(4, 4), routing="free")
    model = nn.Sequential(learner, nn.BatchNorm2d(16), nn.AdaptiveAvgPool2d(1), nn.Flatten(), alone)
    model.train()(torch.randn(4, 8, 5, 5))
    fused = agree(shaken(model).double(), torch.randn(2, 8, 5, 5, dtype=torch.float64))
    assert all(layer.frozen for _, layer in epitome_layers(fused))
    assert sum(layer.learner_params() for _, layer in epitome_layers(fused)) == 0


def test_folding_twice_changes_nothing_more():
    model = shaken(compressed("resnet18", "tiled"))
    once = fuse(model)
    twice = fuse(once)
    a, b = once.state_dict(), twice.state_dict()
    assert fusable(once) == {} and a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_a_second_norm_multiplies_the_scale_there_is():
    layer = EpitomeConv1d(8, 16, 3, epitome_shape=(8, 8, 3), dtype=torch.float64)
    model = shaken(nn.Sequential(layer, nn.BatchNorm1d(16), nn.BatchNorm1d(16))).double()
    x = torch.randn(2, 8, 9, dtype=torch.float64)
    agree(model, x)
    later = nn.Sequential(fuse(model[:2])[0], model[2])
    agree(model, x, fuse(later))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_dtype_and_gradient_flags_are_kept(dtype):
    model = shaken(nn.Sequential(EpitomeConv2d(8, 16, 3, epitome_shape=(8, 8, 3, 3)), nn.BatchNorm2d(16), *pair())[:2])
    model.to(dtype)[0].epitome.requires_grad_(False)
    fused, x = fuse(model), torch.randn(2, 8, 6, 6, dtype=dtype)
    layer = fused[0]
    assert {layer.epitome.dtype, layer.bias.dtype, layer.scale.dtype} == {dtype}
    assert not layer.epitome.requires_grad and not layer.bias.requires_grad
    with torch.no_grad():
        exact = copy.deepcopy(model).double()(x.double())
        assert (
            difference(fused(x).double(), exact) <= 4 * torch.finfo(dtype).eps
        )  # one rounding of output, scale and bias


def test_channels_last_stays():
    model = shaken(compressed("resnet18", "tiled")).to(memory_format=torch.channels_last)
    x = torch.randn(1, 3, 64, 64).to(memory_format=torch.channels_last)
    fused = fuse(model)
    assert fused.conv1.weight.is_contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        assert difference(fused(x), model(x)) <= 1e-4


class Small(nn.Module):
    """A depthwise-separable block with a residual and a classifier, as small as networks with norms come."""

    def __init__(self, **options) -> None:
        super().__init__()
        options = {"patch_channels": (4, 4), **options}
        self.stem = EpitomeConv2d(3, 16, 3, 2, epitome_shape=(16, 3, 3, 3), routing=options.get("routing", "tiled"))
        self.norm = nn.BatchNorm2d(16)
        self.depthwise = nn.Sequential(nn.Conv2d(16, 16, 3, padding=1, groups=16, bias=False), nn.BatchNorm2d(16))
        self.point = EpitomeConv2d(16, 16, 1, epitome_shape=(8, 8, 1, 1), bias=False, **options)
        self.point_norm = nn.BatchNorm2d(16)
        self.head = EpitomeLinear(16, 12, epitome_shape=(6, 8), **options)
        self.head_norm = nn.BatchNorm1d(12)

    def forward(self, x):
        x = self.norm(self.stem(x)).relu_()
        x = x + self.point_norm(self.point(self.depthwise(x)))
        return self.head_norm(self.head(x.mean((2, 3))))


def small(form: str, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return shaken(Small(**_rest(FORMS[form])), seed).double()


@pytest.mark.parametrize("form", FORMS)
def test_a_fused_model_is_saved_copied_compiled_and_exported(form, tmp_path):
    model, x = small(form), torch.randn(2, 3, 12, 12, dtype=torch.float64)
    fused, other = agree(model, x), fuse(small(form, seed=1))
    assert norms(fused) == [] and fused.stem.scale is None and fused.point.scale is not None
    torch.save(fused.state_dict(), tmp_path / "fused.pt")
    other.load_state_dict(torch.load(tmp_path / "fused.pt", weights_only=True))
    torch._dynamo.reset()
    compiled = torch.compile(fused, fullgraph=True, backend="aot_eager")
    for one in (other, copy.deepcopy(fused), compiled, torch.export.export(fused, (x,)).module()):
        agree(model, x, one)


def test_activations_of_norms_keep_their_weights_and_ties():
    from timm.layers import BatchNormAct2d

    prelu = nn.PReLU(3)
    model = nn.Sequential(nn.Conv2d(3, 3, 1), BatchNormAct2d(3, act_layer=nn.PReLU), prelu)
    model[1].act = prelu
    fused = agree(shaken(model).double(), torch.randn(2, 3, 4, 4, dtype=torch.float64))
    assert fusable(nn.Sequential(*model[:2], nn.BatchNorm2d(3))) == {"1": "0"}  # an activation lies between
    assert fused[1].act is fused[2] and "1.act.weight" in fused.state_dict()


def test_a_norm_kept_outside_the_tree_is_replaced_there_too():
    class Listed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = pair()
            self.steps = [self.conv, self.norm]

        def forward(self, x=None, verbose=False, *, scale=None):
            if x is None:
                raise ValueError("x=None; give images")
            for step in self.steps:
                x = step(x)
            x = x if scale is None else x * scale
            return (x, "said") if verbose else x

    model = shaken(Listed()).double()
    assert fusable(model) == {"norm": "conv"}
    agree(model, torch.randn(2, 3, 4, 4, dtype=torch.float64))


def test_on_the_meta_device_the_shapes_are_those_of_a_fold():
    with torch.device("meta"):
        layer = EpitomeConv2d(8, 16, 1, epitome_shape=(8, 8, 1, 1))
        fused = fuse(nn.Sequential(layer, nn.BatchNorm2d(16)))
    assert fused[0].scale.shape == (16,) and fused[0].bias.is_meta


def test_a_forward_of_the_model_s_own_is_not_mistaken_for_its_class_s():
    model = nn.Sequential(*pair())
    model.forward = lambda x: model[0](x)
    assert fusable(model) == {}


def test_made_under_inference_mode_it_can_still_be_trained_through():
    with torch.inference_mode():
        fused = fuse(shaken(pair()))
    fused(torch.randn(2, 3, 4, 4, requires_grad=True)).sum().backward()
    assert fused[0].weight.grad is not None


def test_wrong_arguments():
    for function in (fuse, fusable, nes_lab.fuse):
        with pytest.raises(OptionError, match="model is a NoneType"):
            function(None)
