"""The index learner and the routing map it feeds."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from nes_lab.nn.conv import EpitomeConv1d, EpitomeConv2d
from nes_lab.nn.linear import EpitomeLinear


def _layer(**options) -> EpitomeConv2d:
    torch.manual_seed(1)
    layer = EpitomeConv2d(8, 12, 3, epitome_shape=(6, 5, 3, 3), patch_channels=(3, 2), routing="learner", **options)
    with torch.no_grad():
        nn.init.normal_(layer.routing.learner.body[2].weight, std=2.0)
    return layer


def test_begins_at_the_tiling_and_moves_at_most_reach():
    layer = EpitomeConv2d(8, 12, 3, epitome_shape=(6, 5, 3, 3), patch_channels=(3, 2), routing="learner")
    assert layer.routing_map().starts[0].tolist() == [0, 3, 0, 3]
    moved = _layer(reach=0.5)
    for _ in range(60):
        moved(torch.randn(4, 8, 5, 5))
    change = moved.routing.starts_out - moved.routing.anchor_out
    assert 0 < change.abs().max() <= 0.5


def test_the_moving_average_by_hand():
    layer = _layer(momentum=0.75)
    x, before = torch.randn(4, 8, 5, 5), layer.routing.starts_out.clone()
    raw = layer.routing.learner(x).mean(0)[:4]
    target = (layer.routing.anchor_out + torch.tanh(raw)).clamp_min(0).clamp_max(3)
    y = layer(x)
    expected = 0.75 * before + 0.25 * target
    assert torch.allclose(layer.routing.starts_out, expected, atol=1e-6)
    # the averaged starts are those the forward used, and those inference will use
    assert torch.allclose(y, nn.functional.conv2d(x, layer.materialize(), layer.bias), atol=1e-5)
    layer.eval()
    assert torch.allclose(layer(x), y, atol=1e-5)


def test_gradient_reaches_eta():
    layer = _layer()
    layer(torch.randn(4, 8, 5, 5)).square().sum().backward()
    assert layer.routing.learner.body[0].weight.grad.abs().sum() > 0


def test_sigmoid_begins_mid_range():
    layer = EpitomeLinear(8, 12, epitome_shape=(6, 8), patch_channels=(2, 4), routing="learner", squash="sigmoid")
    assert layer.routing_map().starts[0].tolist() == [2.0] * 6
    around = EpitomeLinear(
        8, 12, epitome_shape=(6, 8), patch_channels=(2, 4), routing="learner", squash="sigmoid", boundary="circular"
    )
    assert around.routing_map().starts[0].tolist() == [3.0] * 6


def test_circular_starts_stay_unwrapped():
    """Averaging 0.1 and 9.9 modulo 10 would give 5: the map and its average are plain numbers."""
    layer = _layer(boundary="circular", reach=30.0)
    for _ in range(40):
        layer(torch.randn(4, 8, 5, 5))
    starts = layer.routing.starts_out
    assert starts.abs().max() > 6 and torch.isfinite(layer.weight).all()


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_an_empty_batch_leaves_the_map_as_it_is(momentum):
    layer = _layer(momentum=momentum)
    before = layer.routing.starts_out.clone()
    assert layer(torch.randn(0, 8, 5, 5)).shape[0] == 0
    assert torch.equal(layer.routing.starts_out, before)


def test_evaluation_does_not_move_the_map():
    layer = _layer().eval()
    before = layer.routing.starts_out.clone()
    layer(torch.randn(4, 8, 5, 5))
    assert torch.equal(layer.routing.starts_out, before)


@pytest.mark.parametrize("reentrant", [False, True])
def test_recomputation_under_checkpointing_does_not_move_the_map(reentrant):
    plain, saved = _layer(), _layer()
    x = torch.randn(4, 8, 5, 5)
    a, b = x.clone().requires_grad_(), x.clone().requires_grad_()
    plain(a).square().sum().backward()
    checkpoint(saved, b, use_reentrant=reentrant).square().sum().backward()
    assert torch.equal(plain.routing.starts_out, saved.routing.starts_out)
    assert torch.allclose(a.grad, b.grad, atol=1e-6)
    assert torch.allclose(
        plain.routing.learner.body[0].weight.grad, saved.routing.learner.body[0].weight.grad, atol=1e-6
    )


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (
            lambda: EpitomeConv1d(
                6, 8, 3, epitome_shape=(4, 4, 3), patch_channels=(2, 2), routing="learner", learner="conv"
            ),
            (3, 6, 12),
        ),
        (
            lambda: EpitomeConv2d(
                6, 8, 3, epitome_shape=(4, 4, 3, 3), patch_channels=(2, 2), routing="learner", learner="conv"
            ),
            (3, 6, 9, 9),
        ),
        (
            lambda: EpitomeConv2d(6, 8, 3, epitome_shape=(4, 4, 3, 3), patch_channels=(2, 2), routing="learner"),
            (6, 9, 9),
        ),
        (lambda: EpitomeLinear(6, 8, epitome_shape=(4, 4), patch_channels=(2, 2), routing="learner"), (3, 5, 6)),
        (lambda: EpitomeLinear(6, 8, epitome_shape=(4, 4), patch_channels=(2, 2), routing="learner"), (6,)),
        (
            lambda: EpitomeConv2d(
                6, 8, 3, groups=2, epitome_shape=(4, 2, 3, 3), patch_channels=(2, 2), routing="learner", scope="joint"
            ),
            (3, 6, 9, 9),
        ),
    ],
)
def test_every_kind_of_input(layer, shape):
    made = layer()
    tiling = made.routing.starts_out.clone()
    y = made(torch.randn(shape))
    assert torch.equal(made.routing.starts_out, tiling)  # eta begins at zero
    y.square().sum().backward()
    last = made.routing.learner.body[2 if made.routing.learner.kind == "mlp" else 4]
    assert last.weight.grad.abs().sum() > 0


def test_a_layer_without_sampled_axes_has_no_learner():
    layer = EpitomeLinear(8, 8, epitome_shape=(8, 8), routing="learner")
    assert layer.learner_params() == 0 and layer.stored_params() == 72
    layer(torch.randn(2, 8))


def test_one_bad_batch_does_not_spoil_the_map():
    layer = _layer()
    layer(torch.randn(4, 8, 5, 5))
    before = layer.routing.starts_out.clone()
    for bad in (float("inf"), float("nan")):
        x = torch.randn(4, 8, 5, 5)
        x[0, 0] = bad
        layer(x)
        assert torch.equal(layer.routing.starts_out, before)
    layer(torch.randn(4, 8, 5, 5))
    assert layer.routing.starts_out.isfinite().all() and not torch.equal(layer.routing.starts_out, before)


def test_a_frozen_state_dict_says_what_to_do():
    frozen, fresh = _layer(), _layer()
    frozen.freeze()
    with pytest.raises(RuntimeError, match=r"call freeze\(\) on this layer"):
        fresh.load_state_dict(frozen.state_dict())
    fresh.freeze().load_state_dict(frozen.state_dict())
