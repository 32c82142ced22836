"""Layers as their users meet them: torch's arguments, modes, life of the starts, caches, errors."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from nes_lab.errors import GeometryError, OptionError
from nes_lab.nn.conv import EpitomeConv1d, EpitomeConv2d
from nes_lab.nn.inspect import snapshot_layers
from nes_lab.nn.linear import EpitomeLinear


def _free(**options) -> EpitomeConv2d:
    torch.manual_seed(0)
    return EpitomeConv2d(8, 12, 3, epitome_shape=(6, 5, 3, 3), patch_channels=(3, 2), routing="free", **options)


@pytest.mark.parametrize(
    ("epitome", "dense", "arguments", "shape"),
    [
        (EpitomeConv1d, nn.Conv1d, {"kernel_size": 5, "stride": 2, "padding": 2, "dilation": 2}, (2, 6, 20)),
        (EpitomeConv1d, nn.Conv1d, {"kernel_size": 4, "padding": "same"}, (2, 6, 20)),
        (EpitomeConv2d, nn.Conv2d, {"kernel_size": (3, 1), "padding": (1, 0), "groups": 3}, (2, 6, 7, 5)),
        (EpitomeConv2d, nn.Conv2d, {"kernel_size": 2, "padding": "valid", "bias": False}, (6, 7, 5)),
    ],
)
def test_arguments_mean_what_torch_means(epitome, dense, arguments, shape):
    """The epitome as large as the weight, so that the very same numbers flow."""
    plain = dense(6, 9, **arguments)
    layer = epitome.from_conv(plain, epitome_shape=tuple(plain.weight.shape))
    assert (layer.kernel_size, layer.stride, layer.padding) == (plain.kernel_size, plain.stride, plain.padding)
    assert (layer.in_channels, layer.out_channels, layer.groups) == (6, 9, plain.groups)
    x = torch.randn(shape)
    assert torch.equal(layer(x), plain(x))


def test_linear_keeps_leading_axes():
    layer = EpitomeLinear(6, 10, epitome_shape=(5, 3), patch_channels=(2, 2), routing="free", bias=False)
    for shape in ((6,), (4, 6), (2, 3, 4, 6)):
        assert torch.allclose(layer(x := torch.randn(shape)), x @ layer.weight.T, atol=1e-6)


def test_prime_channels_one_channel_and_an_epitome_larger_than_the_weight():
    for c_in, c_out, cells, patch in (
        (13, 17, (7, 5), (3, 2)),
        (1, 1, (1, 1), (1, 1)),
        (1, 1, (4, 3), (2, 2)),
        (3, 5, (11, 9), (4, 9)),
    ):
        layer = EpitomeConv2d(c_in, c_out, 3, epitome_shape=(*cells, 3, 3), patch_channels=patch, routing="free")
        x = torch.randn(2, c_in, 6, 6)
        for name in layer.available_executions():
            layer.execution = name
            assert torch.allclose(layer(x), nn.functional.conv2d(x, layer.materialize(), layer.bias), atol=1e-5)


def test_a_kernel_axis_may_have_a_larger_epitome():
    layer = EpitomeConv2d(4, 8, 3, epitome_shape=(8, 4, 5, 4), patch_channels=(2, 4), routing="free")
    assert [None if s is None else tuple(s.shape) for s in layer.routing_map().starts] == [(4,), None, (4,), (4,)]
    assert layer.available_executions() == ("materialize", "wrapped", "product_map")
    layer(torch.randn(1, 4, 5, 5)).sum().backward()
    assert layer.routing.start_offsets_k0.grad is not None


@pytest.mark.parametrize(
    ("make", "error", "says"),
    [
        (
            lambda: EpitomeConv2d(8, 8, 3, epitome_shape=(4, 4, 3, 3), patch_channels=(6, 4)),
            GeometryError,
            "axis 'out'.*needs 6.*has 4",
        ),
        (
            lambda: EpitomeConv2d(8, 8, 3, epitome_shape=(4, 4, 3, 3), routing="learned"),
            OptionError,
            "Did you mean 'learner'",
        ),
        (lambda: EpitomeConv2d(8, 9, 3, epitome_shape=(4, 4, 3, 3), groups=2), GeometryError, "out_channels=9"),
        (lambda: EpitomeConv2d(8, 8, 3, epitome_shape=(4, 4, 3, 3), padding_mode="reflect"), OptionError, "reflect"),
        (lambda: EpitomeConv2d(8, 8, 3, epitome_shape=(4, 4, 3, 3), padding="same", stride=2), OptionError, "stride 1"),
        (lambda: EpitomeConv2d(8, 8, (3, 3, 3), epitome_shape=(4, 4, 3, 3)), OptionError, "kernel_size"),
        (
            lambda: EpitomeConv2d(8, 8, 3, epitome_shape=(4, 4, 3, 3), routing="learner", momentum=1.0),
            OptionError,
            "momentum=1.0",
        ),
        (
            lambda: EpitomeLinear(8, 8, epitome_shape=(4, 4), routing="learner", learner="conv"),
            OptionError,
            "linear layer",
        ),
        (lambda: EpitomeConv1d.from_conv(nn.Conv2d(3, 3, 3), epitome_shape=(3, 3, 3)), GeometryError, "Conv2d"),
        (
            lambda: EpitomeLinear(8, 8, epitome_shape=(4, 4)).load_dense_(torch.zeros(3, 8), None),
            GeometryError,
            r"\(3, 8\)",
        ),
    ],
)
def test_mistakes_are_named(make, error, says):
    with pytest.raises(error, match=says):
        make()


def test_the_weight_is_read_only():
    layer = _free()
    for value in (torch.zeros(12, 8, 3, 3), nn.Parameter(torch.zeros(12, 8, 3, 3))):
        with pytest.raises((AttributeError, KeyError)):
            layer.weight = value


def test_only_what_is_stored_is_in_the_state_dict():
    keys = {
        r: sorted(EpitomeLinear(8, 8, epitome_shape=(4, 4), patch_channels=(2, 2), routing=r).state_dict())
        for r in ("tiled", "stride", "random", "free")
    }
    assert keys["tiled"] == keys["stride"] == keys["random"] == ["_extra_state", "bias", "epitome"]
    assert keys["free"] == ["_extra_state", "bias", "epitome", "routing.start_offsets_in", "routing.start_offsets_out"]


@pytest.mark.parametrize(
    ("routing", "starts"), [("tiled", 0), ("stride", 0), ("random", 0), ("free", 4 + 4), ("learner", 4 + 4)]
)
def test_stored_params(routing, starts):
    layer = EpitomeLinear(8, 8, epitome_shape=(4, 4), patch_channels=(2, 2), routing=routing)
    assert layer.stored_params() == 16 + 8 + starts
    assert (layer.learner_params() > 0) == (routing == "learner")
    before = layer.stored_params()
    assert layer.freeze().stored_params() == before and layer.learner_params() == 0 and layer.frozen


def test_free_starts_are_projected_back_at_a_training_forward():
    layer = _free()
    with torch.no_grad():
        layer.routing.start_offsets_out.copy_(torch.tensor([-1.0, 99.0, 1.5, 0.0]))
    anchors = layer.routing.start_anchors_out.tolist()
    layer(torch.randn(1, 8, 5, 5))
    assert anchors == [0.0, 3.0, 0.0, 3.0] and layer.routing.start_offsets_out.tolist() == [0.0, 0.0, 1.5, 0.0]


def test_called_twice_before_backward():
    layer, x = _free(), torch.randn(1, 8, 5, 5)
    (layer(x) + layer(x)).sum().backward()
    assert layer.routing.start_offsets_in.grad is not None


def test_snap_reads_one_cell_and_reports_the_change():
    layer, x = _free().eval(), torch.randn(1, 8, 5, 5)
    with torch.no_grad():
        layer.routing.set_starts_(0, torch.tensor([0.0, 2.25, 1.0, 3.0]))
    fractional = layer.cost((1, 8, 5, 5))
    assert fractional.tap_madds > 0
    before = layer.materialize().detach()
    report = layer.snap()
    assert report.largest_move == 0.25
    change = (layer.materialize().detach() - before).norm() / before.norm()
    assert report.relative_change == pytest.approx(float(change))
    assert layer.cost((1, 8, 5, 5)).tap_madds == 0 and layer.routing_map().starts[0].tolist() == [0, 2, 1, 3]
    for name in layer.available_executions():
        layer.execution = name
        assert torch.allclose(layer(x), nn.functional.conv2d(x, layer.weight, layer.bias), atol=1e-5)


def test_freeze_changes_nothing_but_learning():
    for routing in ("free", "learner"):
        torch.manual_seed(0)
        layer = EpitomeConv2d(8, 12, 3, epitome_shape=(6, 5, 3, 3), patch_channels=(3, 2), routing=routing)
        layer(torch.randn(2, 8, 5, 5))
        layer.eval()
        x, starts = torch.randn(2, 8, 5, 5), layer.routing.current()
        stored = {k: v for k, v in layer.state_dict().items() if "routing" not in k}
        stored |= {"routing.starts_out": starts[0], "routing.starts_in": starts[1]}
        before = layer(x)
        layer.freeze()
        assert torch.equal(layer(x), before)
        assert not any("start" in n for n, _ in layer.named_parameters())
        assert layer.state_dict().keys() == stored.keys()
        del stored["_extra_state"]  # it says frozen now
        assert all(torch.equal(layer.state_dict()[k], v) for k, v in stored.items())


def test_starts_keep_their_precision_when_the_model_is_cast():
    layer = EpitomeLinear(600, 600, epitome_shape=(500, 500), patch_channels=(100, 100), routing="free")
    with torch.no_grad():
        layer.routing.set_starts_(0, torch.full((6,), 257.5))  # bfloat16 knows 256 and 258
        layer.routing.start_offsets_out.fill_(1 + 2**-10)
    for cast in (layer.bfloat16(), layer.half()):
        assert cast.routing.start_offsets_out.dtype == cast.routing.start_anchors_out.dtype == torch.float32
        assert cast.routing.current()[0][0] == 258.5 + 2**-10 and cast.epitome.dtype != torch.float32
    assert layer.double().routing.current()[0].dtype == torch.float64


def test_the_cached_weight_follows_every_change(monkeypatch):
    layer = _free(execution="materialize").eval()
    x = torch.randn(1, 8, 5, 5)
    made, prepare = [], layer.resolved_execution(x.shape).prepare
    monkeypatch.setattr(layer.resolved_execution(x.shape), "prepare", lambda *given: made.append(1) or prepare(*given))

    def fresh() -> torch.Tensor:
        return nn.functional.conv2d(x, layer.materialize(), layer.bias)

    with torch.no_grad():
        layer(x), layer(x)
        assert len(made) == 1  # nothing changed: built once
        assert torch.equal(layer(x), fresh())
        layer.epitome.mul_(2)
        assert torch.equal(layer(x), fresh())
        layer.routing.start_offsets_out.add_(0.25)
        assert torch.equal(layer(x), fresh())
        other = _free(execution="materialize")
        layer.load_state_dict({k: v + 0.5 for k, v in other.state_dict().items()})
        assert torch.equal(layer(x), fresh())
    layer.snap()
    with torch.no_grad():
        assert torch.equal(layer(x), fresh())


def test_a_cache_made_in_inference_mode_stays_out_of_training():
    for execution in ("materialize", "factored"):
        for routing in ("tiled", "free"):
            layer = EpitomeLinear(8, 8, epitome_shape=(4, 4), routing=routing, execution=execution).eval()
            x = torch.randn(2, 8)
            with torch.inference_mode():
                layer(x)
            layer(x).sum().backward()  # an inference tensor saved for backward would raise here
            assert layer.epitome.grad is not None


def test_fit_takes_averages_and_reset_takes_readers():
    linear = nn.Linear(4, 6, bias=False)
    fitted = EpitomeLinear.from_linear(linear, epitome_shape=(3, 4))
    assert torch.allclose(fitted.epitome, (linear.weight[:3] + linear.weight[3:]) / 2)
    copied = EpitomeLinear.from_linear(linear, "reset", epitome_shape=(3, 4))
    assert torch.equal(copied.epitome, linear.weight[:3])


def test_fit_of_fractional_starts_is_least_squares():
    torch.manual_seed(0)
    layer = EpitomeLinear(9, 12, epitome_shape=(7, 5), patch_channels=(3, 2), routing="free", dtype=torch.float64)
    with torch.no_grad():
        for _, table in layer.routing.tables():
            table.add_(torch.rand_like(table))
    target = torch.randn(12, 9, dtype=torch.float64)
    layer.load_dense_(target, None)
    a_out, a_in = layer.routing_map().matrix(0), layer.routing_map().matrix(1)
    expected = torch.linalg.pinv(a_out) @ target @ torch.linalg.pinv(a_in).T
    residual, best = (target - layer.weight).norm(), (target - a_out @ expected @ a_in.T).norm()
    assert residual <= best * (1 + 1e-6)


def test_initial_variance_follows_the_target_fan():
    torch.manual_seed(0)
    layer = EpitomeConv2d(256, 64, 3, epitome_shape=(64, 16, 3, 3))
    dense = nn.Conv2d(256, 64, 3)
    assert float(layer.weight.detach().std()) == pytest.approx(
        float(dense.weight.std()), rel=0.05
    )  # 9,216 draws: 1 % standard error


def test_snapshots_are_copies():
    model = nn.Sequential(_free())
    snapshot = snapshot_layers(model)["0"]
    kept = snapshot.epitome.copy()
    with torch.no_grad():
        model[0].epitome.add_(1)
    assert (snapshot.epitome == kept).all() and snapshot.coverage().sum() >= 12 * 8
    assert snapshot.starts[2] is None and snapshot.patch_shape == (3, 2, 3, 3)


def test_pickle_of_the_whole_module_and_deepcopy_after_use(tmp_path):
    layer, x = _free().eval(), torch.randn(1, 8, 5, 5)
    with torch.no_grad():
        expected = layer(x)
        torch.save(layer, tmp_path / "own.pt")
        again = torch.load(tmp_path / "own.pt", weights_only=False)  # our own file, written the line above
        assert torch.equal(again(x), expected) and torch.equal(copy.deepcopy(layer)(x), expected)


def test_a_fused_step_is_not_missed():
    """torch's fused optimizers raise no tensor version; a forward with gradients before the step clears the cache."""
    layer = _free(execution="materialize").eval()
    x = torch.randn(1, 8, 5, 5)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.5, fused=True)
    with torch.no_grad():
        layer(x)
    layer(x).square().sum().backward()
    optimizer.step()
    with torch.no_grad():
        assert torch.equal(layer(x), nn.functional.conv2d(x, layer.materialize(), layer.bias))


@pytest.mark.parametrize("routing", ["tiled", "stride", "random", "free", "learner"])
def test_from_the_meta_device_with_a_state_dict(routing):
    """Starts by a rule are in no state dict; after ``to_empty`` they must not be whatever memory held."""

    def make(device: str) -> EpitomeLinear:
        return EpitomeLinear(9, 12, epitome_shape=(7, 5), patch_channels=(3, 2), routing=routing, seed=3, device=device)

    source = make("cpu")
    source(torch.randn(4, 9))
    empty = make("meta").to_empty(device="cpu")
    empty.load_state_dict(source.state_dict())
    assert torch.equal(empty.weight, source.weight)
    x = torch.randn(4, 9)
    assert torch.equal(empty(x), source(x))


def test_the_cache_survives_reassignment_data_and_fused_steps_between():
    """Addresses come back: a new parameter may lie where the old one lay, with the same version."""
    x = torch.randn(2, 8)
    for change in ("del", "data"):
        layer = EpitomeLinear(8, 8, epitome_shape=(4, 4), execution="materialize").eval()
        for _ in range(40):
            with torch.no_grad():
                layer(x)
                if change == "del":
                    del layer.epitome
                    layer.epitome = nn.Parameter(torch.randn(4, 4))
                else:
                    layer.epitome.data = torch.randn(4, 4)
                    layer.epitome.data = torch.randn(4, 4)
                assert torch.equal(layer(x), nn.functional.linear(x, layer.weight, layer.bias)), change
    layer = EpitomeLinear(8, 8, epitome_shape=(4, 4), execution="materialize")
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.5, fused=True)
    layer(x).square().sum().backward()
    with torch.no_grad():
        layer.eval()(x)
        optimizer.step()
        assert torch.equal(layer(x), nn.functional.linear(x, layer.weight, layer.bias))


def test_inside_vmap_and_stacked_state():
    layers = [EpitomeLinear(8, 8, epitome_shape=(4, 4), execution="materialize").eval() for _ in range(3)]
    params, buffers = torch.func.stack_module_state(layers)
    base, x = EpitomeLinear(8, 8, epitome_shape=(4, 4), execution="materialize").eval(), torch.randn(2, 8)
    with torch.no_grad():
        call = torch.func.vmap(lambda p, b: torch.func.functional_call(base, (p, b), (x,)))
        assert torch.allclose(call(params, buffers), torch.stack([layer(x) for layer in layers]), atol=1e-6)


@pytest.mark.parametrize("routing", ["tiled", "random", "free", "learner"])
def test_assigning_a_state_dict_to_a_meta_layer(routing):
    source = EpitomeLinear(9, 12, epitome_shape=(7, 5), patch_channels=(3, 2), routing=routing)
    with torch.device("meta"):
        empty = EpitomeLinear(9, 12, epitome_shape=(7, 5), patch_channels=(3, 2), routing=routing)
    empty.load_state_dict(source.state_dict(), assign=True)
    x = torch.randn(4, 9)
    assert torch.equal(empty(x), source(x))


def test_reset_parameters_brings_the_starts_back():
    for routing in ("free", "learner"):
        layer = EpitomeLinear(9, 12, epitome_shape=(7, 5), patch_channels=(3, 2), routing=routing)
        first = layer.routing_map().starts[0].clone()
        with torch.no_grad():
            layer.routing.table(0).add_(0.5)
        layer.reset_parameters()
        assert torch.equal(layer.routing_map().starts[0], first)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"reach": "1"}, "reach='1'"),
        ({"reach": float("inf")}, "reach=inf"),
        ({"momentum": "a"}, "momentum='a'"),
        ({"squash": "q"}, "squash='q'"),
        ({"routing": "random", "seed": -1}, "seed=-1"),
        ({"dtype": torch.int32}, "torch.int32"),
        ({"dtype": torch.complex64}, "complex64"),
    ],
)
def test_options_are_checked_whatever_the_routing(options, says):
    with pytest.raises(OptionError, match=says):
        EpitomeLinear(8, 8, epitome_shape=(4, 4), **options)


def test_an_input_of_other_channels_is_refused_by_name():
    with pytest.raises(GeometryError, match=r"input of shape \(1, 5, 4, 4\); axis -3 must have 8 channels"):
        _free()(torch.randn(1, 5, 4, 4))
    with pytest.raises(OptionError, match=r"kernel_size=3\.0"):
        EpitomeConv2d(8, 8, 3.0, epitome_shape=(4, 4, 3, 3))


def test_a_weight_that_is_no_number_is_refused():
    linear = nn.Linear(4, 4)
    for bad in (float("nan"), float("inf")):
        with torch.no_grad():
            linear.weight[0, 0] = bad
        for weights in ("fit", "reset"):
            with pytest.raises(OptionError, match="NaN or infinity"):
                EpitomeLinear.from_linear(linear, weights, epitome_shape=(2, 4))


def test_prune_of_the_sampled_weight_says_what_to_prune():
    layer = EpitomeLinear(4, 8, epitome_shape=(4, 4))
    with pytest.raises(AttributeError, match=r"Prune or normalize the parameter 'epitome', or materialize first"):
        prune.l1_unstructured(layer, "weight", 0.5)
    before = layer(torch.ones(1, 4))
    assert torch.equal(before, layer(torch.ones(1, 4))) and "weight_mask" not in dict(layer.named_buffers())
    prune.l1_unstructured(layer, "epitome", 0.5)
    assert (layer.weight == 0).float().mean() == 0.5
