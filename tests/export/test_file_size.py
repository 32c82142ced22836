"""What a plan for stored bytes predicts is what the saved folder holds: tensors exactly, the folder within 2 percent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import nes_lab
from nes_lab.errors import BudgetError

X = torch.zeros(1, 3, 32, 32)


@pytest.mark.parametrize(
    ("options", "types"),
    [
        ({"share": "network", "windows": 2}, set()),
        ({"routing": "free", "snap": True}, {torch.uint8}),
        ({"routing": "free", "snap": True, "scope": "joint", "boundary": "circular"}, {torch.uint8}),
    ],
    ids=["one epitome", "integer starts", "circular"],
)
def test_the_folder_is_as_large_as_planned_and_gives_equal_outputs(
    tmp_path: Path, options: dict[str, Any], types: set[torch.dtype]
):
    dense = nes_lab.create_backbone("cifar_resnet20", num_classes=10)
    plan = nes_lab.plan_for_budget(dense, nes_lab.Budget(stored_bytes="200 kB"), X, **options)
    small = nes_lab.compress(dense, plan, "reset", verify=False).eval()
    for layer in small.modules():  # rounded starts of a circular axis may lie outside of it
        if isinstance(layer, nes_lab.EpitomeLayer) and options.get("boundary") == "circular":
            layer.routing.starts_out.add_(layer.geometry.axes[0].cells)
    folder = nes_lab.save_pretrained(small, tmp_path / "small", verify=False)
    tensors = load_file(folder / "model.safetensors")
    assert sum(t.numel() * t.element_size() for t in tensors.values()) == plan.predicted.stored_bytes <= 200_000
    assert nes_lab.count(small, X).stored_bytes == plan.predicted.stored_bytes
    size = sum(file.stat().st_size for file in folder.iterdir())
    assert plan.file_bytes == pytest.approx(size, rel=0.02) and plan.file_bytes > 1.1 * plan.predicted.stored_bytes
    assert {t.dtype for t in tensors.values()} == {torch.float32, torch.int64} | types
    x = torch.randn(2, 3, 32, 32)
    assert torch.equal(nes_lab.from_pretrained(folder)(x), small(x))


@pytest.mark.parametrize("options", [{}, {"share": "network"}])
def test_too_few_bytes_are_refused_with_the_least(options: dict[str, Any]):
    dense = nes_lab.create_backbone("cifar_resnet20", num_classes=10)
    with pytest.raises(BudgetError, match="stored_bytes=2 k cannot be met: the least reachable is") as caught:
        nes_lab.plan_for_budget(dense, nes_lab.Budget(stored_bytes="2k"), X, **options)
    least = caught.value.least
    assert least is not None
    plan = nes_lab.plan_for_budget(dense, nes_lab.Budget(stored_bytes=least.stored_bytes), X, **options)
    assert plan.predicted == least
