"""Measurements of sensitivity are kept, continued and refused if damaged."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

import nes_lab
from nes_lab.errors import PlanError


def _three(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 8)).eval()


def _batches(model: nn.Module, count: int = 3) -> list[tuple[torch.Tensor, torch.Tensor]]:
    draw = torch.Generator().manual_seed(1)
    inputs = [torch.randn(16, 32, generator=draw) for _ in range(count)]
    with torch.no_grad():
        return [(x, model(x).argmax(1)) for x in inputs]


def test_measurement_key_changes_with_weights_options_and_data(tmp_path):
    model, x, seen = _three(), torch.randn(1, 32), []
    ways = {"cache": tmp_path / "new" / "folder", "on_progress": seen.append}
    first = nes_lab.measure_sensitivity(model, x, calibration=_batches(model), **ways)
    assert seen and seen[-1]["done"] == seen[-1]["total"] == 3
    seen.clear()
    assert nes_lab.measure_sensitivity(model, x, calibration=_batches(model), **ways) == first and not seen
    for change in (
        {"calibration": _batches(model, 2)},
        {"calibration": _batches(model), "ratios": (0.5,)},
        {"calibration": _batches(model), "routing": "stride"},
        {"calibration": _batches(model), "loss": nn.functional.multi_margin_loss},
        {},
    ):
        seen.clear()
        assert nes_lab.measure_sensitivity(model, x, **ways, **change).key != first.key and seen
    seen.clear()
    with torch.no_grad():
        model[0].bias[0] += 1
    assert nes_lab.measure_sensitivity(model, x, calibration=_batches(_three()), **ways).key != first.key and seen


class Stop(Exception):
    """Stands for whatever interrupts."""


@pytest.mark.parametrize("kind", [Stop, KeyboardInterrupt])
def test_sensitivity_cache_continues_an_interrupted_measurement(tmp_path, kind):
    model, x, calls = _three(), torch.randn(1, 32), []
    batches = _batches(model)

    def loss(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        if len(calls) == stop:
            raise kind
        return nn.functional.cross_entropy(output, target)

    ways = {"calibration": batches, "loss": loss, "cache": tmp_path, "ratios": (0.5,)}
    stop = 0
    whole = nes_lab.measure_sensitivity(model, x, **{**ways, "cache": None})
    total, stop = len(calls), len(calls) - 2
    calls.clear()
    with pytest.raises(kind):
        nes_lab.measure_sensitivity(model, x, **ways)
    (file,) = tmp_path.glob("*")
    data = json.loads(file.read_text())
    assert not data["complete"] and [layer["name"] for layer in data["layers"]] == ["0", "2"]
    stop = 0
    calls.clear()
    again = nes_lab.measure_sensitivity(model, x, **ways)
    assert again.complete and again.layers == whole.layers and again.dense_loss == whole.dense_loss
    assert 0 < len(calls) < total / 2  # only the rest was measured


def test_sensitivity_cache_names_a_damaged_file(tmp_path):
    model, x = _three(), torch.randn(1, 32)
    nes_lab.measure_sensitivity(model, x, cache=tmp_path)
    (file,) = tmp_path.glob("*")
    whole = file.read_text()
    for text in (whole[:100], "[]", whole.replace('"points"', '"pints"')):
        file.write_text(text)
        with pytest.raises(PlanError, match=f"{file.name} is damaged.*remove it"):
            nes_lab.measure_sensitivity(model, x, cache=tmp_path)
