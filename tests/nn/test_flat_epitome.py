"""Random values of flat epitomes give the weight its dense variance; fits are least squares; tied epitomes stay tied."""

from __future__ import annotations

import copy
import itertools

import pytest
import torch
from torch import nn

import nes_lab
from nes_lab.nn.flat_epitome import load_flat_
from nes_lab.nn.flat_fit import fit_flat
from nes_lab.nn.registry import epitome_layer_for

FLAT = {"scope": "flat", "routing": "random", "windows": 2}


def test_new_layer_has_the_variance_of_torchs_layer() -> None:
    torch.manual_seed(0)
    layer = nes_lab.EpitomeConv2d(64, 64, 3, epitome_shape=(6000,), **FLAT)
    assert layer.epitome.std().item() == pytest.approx(1, abs=0.05)
    assert layer.weight.var().item() == pytest.approx(nn.Conv2d(64, 64, 3).weight.var().item(), rel=0.1)
    assert layer.alpha is not None and layer.alpha.abs().unique().numel() == 1
    assert 0.4 < (layer.alpha > 0).double().mean().item() < 0.6


def test_reset_keeps_the_variance_of_the_dense_weight() -> None:
    torch.manual_seed(0)
    dense = nn.Linear(256, 128)
    nn.init.normal_(dense.weight, std=0.3)
    layer = nes_lab.EpitomeLinear.from_linear(dense, "reset", epitome_shape=(4000,), **FLAT)
    assert layer.weight.std().item() == pytest.approx(0.3, rel=0.05)
    assert dense.bias is not None and torch.equal(layer.bias, dense.bias)


def test_fit_of_one_layer_recovers_a_weight_that_can_be_sampled() -> None:
    torch.manual_seed(1)
    source = nes_lab.EpitomeLinear(32, 32, epitome_shape=(100,), dtype=torch.float64, **FLAT)
    fitted = fit_flat([source.routing_map()], [source.weight], source.epitome + 0.1 * torch.randn(100), rounds=200)
    assert fitted.residuals[0] < 0.02
    assert fitted.epitome.square().mean().item() == pytest.approx(1)


def test_fit_never_raises_the_error_and_reports_residuals_of_all_layers() -> None:
    torch.manual_seed(2)
    convs = [nn.Conv2d(8, 12, 3), nn.Conv2d(12, 9, 1), nn.Linear(20, 10)]
    options = FLAT | {"epitome_shape": (500,)}
    layers = [epitome_layer_for(conv, "none", seed=seed, **options) for seed, conv in enumerate(convs)]
    for layer in layers[1:]:
        layer.epitome = layers[0].epitome
    residuals = load_flat_(layers, [c.weight for c in convs], "fit")
    for residual, layer, conv in zip(residuals, layers, convs, strict=True):
        error = (layer.weight - conv.weight).norm() / conv.weight.norm()
        assert residual == pytest.approx(error.item(), rel=1e-3) and residual < 0.85
    errors = fit_flat([layer.routing_map() for layer in layers], [c.weight for c in convs], torch.randn(500)).errors
    assert len(errors) > 2 and all(after <= before * (1 + 1e-12) for before, after in itertools.pairwise(errors))


def test_fit_with_fractional_starts_is_as_good_as_a_solver() -> None:
    torch.manual_seed(3)
    layer = nes_lab.EpitomeLinear(
        6, 6, epitome_shape=(20,), patch_channels=3, scope="flat", routing="free", dtype=torch.float64
    )
    with torch.no_grad():
        layer.routing.table(0).uniform_(0, 5)
    weight = torch.randn(6, 6, dtype=torch.float64)
    fitted = fit_flat([layer.routing_map()], [weight], torch.randn(20), rounds=500)
    matrix = torch.stack([_sampled(layer, one, fitted.alphas[0]) for one in torch.eye(20, dtype=torch.float64)], 1)
    best = torch.linalg.lstsq(matrix, weight.flatten().unsqueeze(1)).solution
    least = (matrix @ best - weight.flatten().unsqueeze(1)).norm() / weight.norm()
    assert fitted.residuals[0] == pytest.approx(least.item(), rel=1e-3)


def _sampled(layer: nes_lab.EpitomeLinear, cells: torch.Tensor, alpha: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        assert layer.alpha is not None
        layer.alpha.copy_(alpha)
        return layer.routing_map().materialize(cells).flatten()


def test_a_dense_weight_of_zeros_gives_zeros() -> None:
    dense = nn.Linear(8, 8)
    nn.init.zeros_(dense.weight)
    for initial in ("reset", "fit"):
        layer = nes_lab.EpitomeLinear.from_linear(dense, initial, epitome_shape=(40,), **FLAT)
        assert not layer.weight.any() and bool(layer.epitome.isfinite().all())


def test_dense_layer_and_double_keep_the_function() -> None:
    torch.manual_seed(4)
    layer = nes_lab.EpitomeConv2d(5, 6, 3, epitome_shape=(200,), **FLAT)
    x = torch.randn(2, 5, 8, 8)
    dense = layer.to_dense()
    assert type(dense) is nn.Conv2d
    torch.testing.assert_close(dense(x), layer(x))
    torch.testing.assert_close(copy.deepcopy(layer).double()(x.double()).float(), layer(x))


def test_state_of_a_layer_with_other_windows_is_refused() -> None:
    one, two = (
        nes_lab.EpitomeLinear(8, 8, epitome_shape=(40,), scope="flat", routing="random", windows=k) for k in (1, 2)
    )
    with pytest.raises(RuntimeError, match="windows=1 is saved, 2 is here"):
        two.load_state_dict(one.state_dict())


def test_freeze_and_snap() -> None:
    torch.manual_seed(5)
    layer = nes_lab.EpitomeLinear(8, 8, epitome_shape=(40,), scope="flat", routing="free", windows=2)
    with torch.no_grad():
        layer.routing.table(0).uniform_(0, 3)
    before = layer.materialize().detach()
    torch.testing.assert_close(layer.freeze().materialize(), before)
    report = layer.snap()
    (starts,) = layer.routing_map().starts
    assert 0 < report.largest_move <= 0.5 and starts is not None and not starts.is_floating_point()
