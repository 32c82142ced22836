"""Layers known by name: timm's padded and standardized convolutions, subclasses that compute what their base computes."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import nes_lab
from nes_lab.errors import GeometryError, OptionError, PlanError
from nes_lab.nn.conv import EpitomeConv2d, EpitomeConv3d
from nes_lab.nn.kinds import kind_of, why_not
from nes_lab.nn.registry import LAYERS, epitome_layer_for
from nes_lab.nn.same import Conv2dSame, EpitomeConv2dSame
from nes_lab.nn.std_conv import EpitomeStdConv2d

timm_layers = pytest.importorskip("timm.layers")

# kernel, stride, dilation, groups: static and dynamic padding, even windows, windows narrower than their step
SAME = [(3, 2, 1, 1), ((1, 4), (3, 2), 1, 1), (2, 1, 1, 2), (1, 2, 1, 1), (3, 1, 2, 1), ((2, 3), (2, 1), (2, 1), 4)]
STANDARDIZED = ["StdConv2d", "StdConv2dSame", "ScaledStdConv2d", "ScaledStdConv2dSame"]


def _image(*sizes: int) -> torch.Tensor:
    return torch.randn(2, 16, *sizes, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("size", [(9, 8), (7, 10), (5, 5)])
@pytest.mark.parametrize(("kernel", "stride", "dilation", "groups"), SAME)
def test_tensorflow_padding_under_every_plan(kernel, stride, dilation, groups, size):
    """Values and gradients, dense module and counted multiply-adds; ``product_map`` on an epitome longer than the window."""
    torch.manual_seed(0)
    conv = timm_layers.Conv2dSame(16, 24, kernel, stride=stride, dilation=dilation, groups=groups).double()
    cells = [k + (2 if groups == 1 else 0) for k in conv.kernel_size]
    layer = epitome_layer_for(
        conv, epitome_shape=(12, 16 // groups // 2, *cells), patch_channels=(4, 2), routing="free"
    )
    with torch.no_grad():
        for _, table in layer.routing.tables():
            table.add_(0.3)
    assert isinstance(layer, EpitomeConv2dSame)
    dense, x = layer.to_dense(), _image(*size).requires_grad_()
    assert type(dense) is type(conv)
    y = dense(x)
    assert torch.equal(layer.plain()(x), y)
    expected = torch.autograd.grad(y.square().sum(), x)[0]
    names = layer.available_executions()
    products = ("materialize_matmul", "wrapped_matmul") if kernel == 1 else ()
    assert set(names) == {"materialize", "wrapped", *products, *(() if groups > 1 else ("product_map",))}
    for name in names:
        layer.execution = name
        with FlopCounterMode(display=False) as counter:
            found = layer(x)
        assert torch.allclose(found, y, atol=1e-11)
        assert torch.allclose(torch.autograd.grad(found.square().sum(), x)[0], expected, atol=1e-10)
        assert counter.get_total_flops() == 2 * layer.cost(tuple(x.shape)).conv_madds


def test_factored_with_tensorflow_padding():
    conv, x = timm_layers.Conv2dSame(16, 24, 3, stride=2).double(), _image(9, 8)
    layer = epitome_layer_for(conv, epitome_shape=(12, 8, 3, 3), execution="factored")
    assert torch.allclose(layer(x), layer.to_dense()(x), atol=1e-12)
    assert layer.op.positions((2, 16, 9, 8)) == (2 * 72, 2 * 20)


def test_padding_of_our_own_dense_layer_is_timms():
    torch.manual_seed(0)
    ours, theirs = Conv2dSame(16, 8, (2, 5), stride=(3, 2)), timm_layers.Conv2dSame(16, 8, (2, 5), stride=(3, 2))
    ours.load_state_dict(theirs.state_dict())
    for size in ((9, 8), (4, 11)):
        x = torch.randn(1, 16, *size)
        assert torch.equal(ours(x), theirs(x))
    assert kind_of(ours) == "conv2d_same"
    static = EpitomeConv2dSame(16, 8, 3, epitome_shape=(8, 8, 3, 3)).to_dense()
    assert type(static) is nn.Conv2d and static.padding == (1, 1)


@pytest.mark.parametrize("name", STANDARDIZED)
def test_standardized_weights(name):
    torch.manual_seed(0)
    conv = getattr(timm_layers, name)(16, 24, 3, stride=2).double()
    if name.startswith("Scaled"):
        nn.init.uniform_(conv.gain, 0.5, 2)
    x = _image(9, 8)
    whole = epitome_layer_for(conv, epitome_shape=tuple(conv.weight.shape))
    assert isinstance(whole, EpitomeStdConv2d) and torch.allclose(whole(x), conv(x), atol=1e-12)
    layer = epitome_layer_for(conv, epitome_shape=(12, 8, 3, 3), routing="free", patch_channels=(4, 4))
    dense = layer.to_dense()
    assert type(dense) is type(conv) and torch.allclose(dense(x), layer(x), atol=1e-12)
    assert torch.allclose(layer.plain()(x), layer(x), atol=1e-12)
    layer(x).square().sum().backward()
    learned = dict(layer.named_parameters())
    assert all(p.grad is not None and p.grad.any() for p in learned.values())
    assert layer.stored_params() == sum(p.numel() for p in learned.values()) == nes_lab.count(layer, x).params
    with pytest.raises(PlanError, match="standardized before use"):
        layer.execution = "factored"
    layer.eval().freeze()
    assert torch.allclose(layer(x), dense(x), atol=1e-12)


@pytest.mark.parametrize(
    "make", [lambda: timm_layers.Conv2dSame(16, 24, 3, stride=2), lambda: timm_layers.ScaledStdConv2d(16, 24, 3)]
)
def test_fresh_numbers_take_a_state_dict(make):
    conv, options = make(), {"epitome_shape": (12, 8, 3, 3), "routing": "free", "patch_channels": (4, 4)}
    conv.weight.requires_grad_(False)
    layer, fresh = epitome_layer_for(conv, **options), epitome_layer_for(conv, "none", **options)
    assert not fresh.epitome.requires_grad and fresh.training == conv.training
    assert not torch.equal(fresh.epitome, layer.epitome)
    fresh.load_state_dict(layer.state_dict())
    x = torch.randn(1, 16, 9, 9)
    assert torch.equal(fresh(x), layer(x)) and torch.equal(copy.deepcopy(layer).to_dense()(x), layer.to_dense()(x))


def test_a_norm_folds_into_a_padded_layer_and_tuning_serves_it():
    torch.manual_seed(0)
    model = nn.Sequential(timm_layers.Conv2dSame(16, 32, 3, stride=2, bias=False), nn.BatchNorm2d(32)).eval()
    nn.init.uniform_(model[1].weight, 0.5, 2)
    x = torch.randn(1, 16, 9, 9)
    small = nes_lab.compress(model, nes_lab.plan_for_budget(model, nes_lab.Budget(params="60%"), x))
    fused = nes_lab.fuse(small)
    assert type(fused[1]) is nn.Identity
    nes_lab.tune(fused, x, seconds=0.05)
    plain = nes_lab.materialize(fused)
    assert type(plain[0]) is type(model[0]) and plain[0].bias is not None
    for net in (fused, plain):
        assert torch.allclose(net(x), small(x), atol=1e-5)


@pytest.mark.parametrize("execution", ["materialize", "wrapped", "factored", "product_map"])
@pytest.mark.parametrize("routing", ["tiled", "free", "learner"])
def test_three_axes_under_every_plan(execution, routing):
    torch.manual_seed(0)
    window = (4, 3, 5) if execution == "product_map" else (3, 3, 3)
    settings = {"epitome_shape": (12, 10, *window), "patch_channels": (4, 4), "execution": execution}
    if routing == "learner":
        settings["learner"] = "conv"
    layer = EpitomeConv3d(16, 24, 3, stride=(1, 2, 1), padding=(1, 0, 1), routing=routing, **settings).double()
    x = torch.randn(2, 16, 5, 6, 7, dtype=torch.float64, requires_grad=True)
    y = layer(x)
    if routing == "learner":
        layer.eval()
        y = layer(x)
    dense = layer.to_dense()
    assert type(dense) is nn.Conv3d and torch.allclose(y, dense(x), atol=1e-11)
    a, b = (torch.autograd.grad(z.square().sum(), x)[0] for z in (y, dense(x)))
    assert torch.allclose(a, b, atol=1e-10)


def test_plain_subclasses_are_known_and_come_back():
    class Named(nn.Conv2d):
        """Only a name and a setting of its own."""

        def __init__(self) -> None:
            super().__init__(16, 16, 3)
            self.setting = "kept"

    for module in (Named(), timm_layers.Linear(16, 16), nn.MultiheadAttention(16, 2).out_proj):
        layer = epitome_layer_for(module, epitome_shape=(8, 8, *module.weight.shape[2:]))
        back = nes_lab.materialize(nn.Sequential(layer))[0]
        assert type(back) is type(module) and torch.equal(back.weight, layer.weight)
    assert epitome_layer_for(Named(), epitome_shape=(8, 8, 3, 3)).to_dense().setting == "kept"


class _Gated(nn.Linear):
    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return super().forward(input).sigmoid()


class _Adapted(nn.Linear):
    def __init__(self) -> None:
        super().__init__(8, 8)
        self.low = nn.Linear(8, 2)


@pytest.mark.parametrize(
    ("module", "says"),
    [
        (_Gated(8, 8), "_Gated is a subclass of Linear with a forward of its own"),
        (_Adapted(), "_Adapted holds 'low' besides weight and bias"),
        (nn.ConvTranspose1d(8, 8, 3), "transposed"),
        (nn.Linear(8, 8, dtype=torch.complex64), "complex64"),
        (nn.LayerNorm(8), "no epitome layer replaces a LayerNorm"),
        (nn.LazyLinear(8), "LazyLinear"),
    ],
)
def test_what_cannot_be_replaced_says_why(module, says):
    assert kind_of(module) is None and says in why_not(module)
    with pytest.raises(OptionError, match=says):
        epitome_layer_for(module, epitome_shape=(4, 4))


def test_a_layer_of_another_kind_is_not_stood_in_for():
    """A plain epitome convolution would pad Conv2dSame otherwise."""
    with pytest.raises(GeometryError, match="cannot replace a Conv2dSame"):
        EpitomeConv2d.from_conv(timm_layers.Conv2dSame(16, 8, 3, stride=2), epitome_shape=(8, 8, 3, 3))
    assert set(LAYERS) == {"linear", "conv1d", "conv2d", "conv3d", "conv2d_same", "conv2d_std"}


DENSE = [
    nn.Linear(16, 8),
    nn.Conv1d(16, 8, 3, padding=2),
    nn.Conv2d(16, 8, (3, 4), padding="same", dilation=(1, 2)),
    nn.Conv2d(16, 8, 3, padding="valid", bias=False),
    nn.Conv3d(16, 8, 3, (1, 2, 1), padding=(0, 1, 2)),
    timm_layers.Conv2dSame(16, 8, 3, 2),
    *(getattr(timm_layers, name)(16, 8, 3) for name in STANDARDIZED),
]
OURS = {
    "scale": "the factors of nes_lab.fuse have this name; in timm it is the gain's factor",
    "gain_init": "only timm's own reset_parameters reads it",
}


def test_every_kind_is_walked():
    assert {kind_of(layer) for layer in DENSE} == set(LAYERS)


@pytest.mark.parametrize("dense", DENSE, ids=lambda layer: type(layer).__name__)
def test_a_layer_has_every_attribute_of_the_dense_layer(dense):
    """Parents read torch's attributes of their layers, such as ``transposed``, and call ``_conv_forward``."""
    layer = epitome_layer_for(dense, epitome_shape=tuple(dense.weight.shape))
    for name in dir(dense):
        if name.startswith("__") or name in OURS:
            continue
        assert hasattr(layer, name), name
        theirs, ours = getattr(dense, name), getattr(layer, name)
        if isinstance(theirs, int | float | str | tuple | list) and name in vars(dense):
            theirs, ours = (tuple(v) if isinstance(v, list) else v for v in (theirs, ours))
            assert theirs == ours, name
    if not isinstance(dense, nn.Linear):
        x = torch.randn(2, 16, *[9] * layer.spatial)
        expected = dense._conv_forward(x, dense.weight, dense.bias)
        assert torch.equal(layer._conv_forward(x, layer.weight, layer.bias), expected)
