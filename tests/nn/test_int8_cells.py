"""Epitomes of int8: rounding is exact and happens in training too, and a file gives equal outputs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import nes_lab
from nes_lab.errors import CheckpointError, OptionError
from nes_lab.export.graph import prepare_for_export
from nes_lab.nn.int8_cells import from_int8, rounded_cells, to_int8

X = torch.randn(2, 3, 12, 12)


def _network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 32, 3, bias=False), nn.BatchNorm2d(32), nn.ReLU(), nn.Conv2d(32, 48, 1, bias=False), nn.BatchNorm2d(48), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(48, 32),
    )  # fmt: skip


@pytest.mark.parametrize("shape", [(5, 3, 3, 3), (130,), (4, 7)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rounding_twice_is_rounding_once_and_changes_little(shape: tuple[int, ...], dtype: torch.dtype):
    for seed in range(20):
        cells = torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(
            dtype
        ) * 10 ** (seed - 10)
        integers, scales = to_int8(cells)
        once = from_int8(integers, scales, dtype)
        assert torch.equal(rounded_cells(once), once) and torch.equal(to_int8(once)[0], integers)
        assert (once - cells).abs().max() <= 0.51 * float(scales.max())
    assert torch.equal(rounded_cells(torch.zeros(shape)), torch.zeros(shape))


@pytest.mark.parametrize(
    "options",
    [{}, {"share": "network", "windows": 2}, {"routing": "free", "snap": True}, {"routing": "free", "scope": "joint"}],
    ids=["separable", "shared", "snapped", "joint"],
)
def test_a_plan_of_int8_is_met_by_training_saving_and_exporting(tmp_path: Path, options: dict[str, Any]):
    dense = _network()
    budget = nes_lab.Budget(stored_bytes="40%")
    plan = nes_lab.plan_for_budget(dense, budget, X, epitome_dtype="int8", round_to=2, **options)
    larger = nes_lab.plan_for_budget(dense, budget, X, round_to=2, **options)
    assert plan.predicted.params > 1.3 * larger.predicted.params and "int8" in {e.dtype for e in plan.epitomes.values()}
    small = nes_lab.compress(dense, plan, "reset").train()
    step = torch.optim.SGD(small.parameters(), lr=0.1)
    for _ in range(3):  # with scales that are not those of the beginning
        small(X).square().mean().backward()
        step.step()
    layer = next(layer for layer in small.modules() if isinstance(layer, nes_lab.EpitomeLayer))
    assert layer.epitome.grad is not None and layer.epitome.grad.abs().sum() > 0
    assert not torch.equal(layer.cells(), layer.epitome) and torch.equal(layer.cells(), rounded_cells(layer.epitome))
    small.eval()
    folder = nes_lab.save_pretrained(small, tmp_path / "small")
    tensors = load_file(folder / "model.safetensors")
    assert sum(t.numel() * t.element_size() for t in tensors.values()) == plan.predicted.stored_bytes
    assert nes_lab.count(small, X).counts == plan.predicted and torch.int8 in {t.dtype for t in tensors.values()}
    assert plan.file_bytes == pytest.approx(sum(f.stat().st_size for f in folder.iterdir()), rel=0.02)
    again = nes_lab.from_pretrained(folder, model=dense)
    assert torch.equal(again(X), small(X))
    assert nes_lab.CompressionPlan.from_json(plan.to_json()) == plan
    graph = prepare_for_export(small, "factored")
    assert sum(p.numel() for p in graph.parameters()) <= plan.predicted.params  # a shared epitome is exported once
    for other in (nes_lab.materialize(small), nes_lab.fuse(small), graph):
        torch.testing.assert_close(other(X), small(X), rtol=1e-4, atol=1e-5)


def test_training_goes_on_bit_for_bit_from_a_state_dict():
    plan = nes_lab.plan_for_budget(_network(), nes_lab.Budget(params="50%"), X, epitome_dtype="int8", share="network")
    first, second = (
        nes_lab.compress(_network(), plan, "reset", torch.Generator().manual_seed(seed)) for seed in (1, 2)
    )

    def train(network: nn.Module) -> None:
        step = torch.optim.SGD(network.parameters(), lr=0.1)
        network(X).square().mean().backward()
        step.step()

    train(first)
    second.load_state_dict(first.state_dict())
    first.zero_grad()
    for network in (first, second):
        train(network)
    assert all(
        torch.equal(a, b) for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    )


def test_float_tensors_are_refused_where_int8_is_read_and_16_bits_cannot_be_trained():
    layers = [nes_lab.EpitomeLinear(8, 8, epitome_shape=(4, 4), epitome_dtype=t) for t in ("float", "int8")]
    with pytest.raises(RuntimeError, match="epitome_dtype='float' is saved, 'int8' is here"):
        layers[1].load_state_dict(layers[0].state_dict())
    with pytest.raises(OptionError, match="float32"):
        nes_lab.plan_for_budget(_network().bfloat16(), nes_lab.Budget(params="50%"), X.bfloat16(), epitome_dtype="int8")


def test_a_file_of_16_bit_cells_is_refused(tmp_path: Path):
    layer = nn.Sequential(nes_lab.EpitomeLinear(8, 8, epitome_shape=(4, 4), epitome_dtype="int8")).half()
    with pytest.raises(CheckpointError, match="rounded cells need float32"):
        nes_lab.save_pretrained(layer, tmp_path / "layer")
