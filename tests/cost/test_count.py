"""Counting: torch's own counter for dense models, the plan that runs for epitome layers, nothing left changed."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import nes_lab
from nes_lab import Budget
from nes_lab.cost.count import count
from nes_lab.errors import OptionError
from nes_lab.nn.conv import EpitomeConv2d
from nes_lab.nn.linear import EpitomeLinear
from nes_lab.records.cost_report import CostReport


def _net() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, groups=2),
        nn.Flatten(),
        nn.Linear(8 * 36, 5),
    )


def test_by_hand():
    report = nes_lab.count(_net(), torch.randn(1, 3, 8, 8))
    conv, grouped, linear = 64 * 9 * 3 * 8, 36 * 9 * 4 * 8, 288 * 5
    assert [r.madds for r in report.by_layer] == [conv, 0, grouped, linear]
    assert report.madds == conv + grouped + linear
    assert report.params == (216 + 8) + 16 + (288 + 8) + (1440 + 5)
    assert report.stored_bytes == 4 * report.params + 4 * 2 * 8 + 8  # and the norm's statistics, and its int64 counter


@pytest.mark.parametrize(
    ("name", "shape"),
    [("mobilenetv2_100", (3, 64, 64)), ("vit_tiny_patch16_224", (3, 224, 224)), ("resnet18", (3, 64, 64))],
)
def test_dense_models_equal_torchs_counter(name, shape):
    model, x = nes_lab.create_backbone(name).eval(), torch.randn(1, *shape)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(x)
    report = nes_lab.count(model, x)
    assert 2 * report.madds == counter.get_total_flops()
    assert report.params == sum(p.numel() for p in model.parameters()) == sum(r.params for r in report.by_layer)


def test_attention_products_are_counted_with_the_fast_path_off():
    layer, x = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True).eval(), torch.randn(1, 10, 32)
    report = nes_lab.count(layer, x)
    assert report.madds == 10 * 32 * 96 + 2 * 10 * 10 * 32 + 10 * 32 * 32 + 2 * 10 * 32 * 64
    assert torch.backends.mha.get_fastpath_enabled()


def test_the_model_is_left_as_it_was():
    model = _net().train()
    model[1].eval()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    nes_lab.count(model, torch.randn(2, 3, 8, 8))
    assert [m.training for m in model] == [True, False, True, True, True, True]
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert not any(m._forward_hooks for m in model.modules())


@pytest.mark.parametrize("routing", ["tiled", "free", "learner"])
@pytest.mark.parametrize("execution", ["auto", "materialize", "wrapped", "factored"])
def test_epitome_layers_are_counted_for_the_plan_that_runs(routing, execution):
    layer = EpitomeConv2d(
        16, 24, 3, padding=1, epitome_shape=(12, 8, 3, 3), patch_channels=(4, 4), routing=routing, execution=execution
    )
    report = nes_lab.count(nn.Sequential(layer), torch.randn(1, 16, 6, 6))
    taps_in, taps_out = 2 * 16 * 36, 2 * 24 * 36
    learned = routing != "tiled"
    by_hand = {
        "materialize": 36 * 9 * 16 * 24,
        "wrapped": 36 * 9 * 8 * 24 + learned * taps_in,
        "factored": 36 * 9 * 8 * 12 + learned * (taps_in + taps_out),
    }
    ran = "factored" if execution == "auto" else execution
    assert report.by_layer[0].execution == ran and report.madds == by_hand[ran]
    assert report.params == 12 * 8 * 9 + 24 + (6 + 4 if learned else 0) == sum(r.params for r in report.by_layer)
    assert report.learner_params == layer.learner_params()


def test_integer_copies_are_adds_and_building_the_weight_stands_apart():
    tiled = EpitomeLinear(16, 16, epitome_shape=(8, 8), execution="factored")
    report = nes_lab.count(nn.Sequential(tiled), torch.randn(1, 16))
    assert (report.madds, report.adds, report.weight_madds) == (64, 32, 0)
    free = EpitomeLinear(16, 16, epitome_shape=(8, 8), patch_channels=(4, 4), routing="free", execution="materialize")
    report = nes_lab.count(nn.Sequential(free), torch.randn(1, 16))
    assert (report.madds, report.adds, report.weight_madds) == (256, 0, 2 * 8 * 16 + 2 * 16 * 16)


def test_a_shared_layer_is_stored_once_and_runs_twice():
    layer = EpitomeLinear(8, 8, epitome_shape=(4, 4), patch_channels=(2, 2), routing="free")
    report = nes_lab.count(nn.Sequential(layer, nn.ReLU(), layer), torch.randn(1, 8))
    assert report.params == 16 + 8 + 8 and report.madds == 2 * (16 + 2 * 8 + 2 * 8)


def test_inputs_as_tuple_and_dict_and_a_wrong_one():
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Linear(4, 4)

        def forward(self, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
            return self.a(left + right)

    x = torch.randn(1, 4)
    assert nes_lab.count(Two(), (x, x)).madds == nes_lab.count(Two(), {"left": x, "right": x}).madds == 16
    model = _net().train()
    with pytest.raises(OptionError, match=r"example_input of shape \(1, 4, 8, 8\): Sequential cannot run it"):
        nes_lab.count(model, torch.randn(1, 4, 8, 8))
    assert model.training and not any(m._forward_hooks for m in model.modules())


def test_reports_print_and_travel():
    model = nn.Sequential(EpitomeLinear(8, 8, epitome_shape=(4, 4), routing="learner"))
    report = nes_lab.count(model, torch.randn(1, 8))
    assert "factored" in str(report) and "index learners" in str(report) and "<table>" in report._repr_html_()
    assert CostReport.from_dict(json.loads(json.dumps(report.to_dict()))) == report


def test_tied_weights_are_stored_once():
    model = nn.Sequential(nn.Embedding(30, 8), nn.Linear(8, 30, bias=False))
    model[1].weight = model[0].weight
    report = nes_lab.count(model, torch.zeros(1, 4, dtype=torch.long))
    assert report.params == 240 == sum(r.params for r in report.by_layer) and report.stored_bytes == 960


def test_the_scale_that_fuse_leaves_is_stored_too():
    """A norm folded behind a gather leaves a factor and a bias per channel: as many numbers as its own weight and bias."""
    layer = EpitomeConv2d(16, 32, 1, epitome_shape=(8, 8, 1, 1), bias=False)
    model = nn.Sequential(layer, nn.BatchNorm2d(32)).eval()
    model[1].running_var.uniform_(0.5, 2.0)
    fused, x = nes_lab.fuse(model), torch.randn(1, 16, 4, 4)
    assert fused[0].scale is not None
    assert nes_lab.count(fused, x).params == nes_lab.count(model, x).params == fused[0].stored_params() == 64 + 64


def test_modules_that_are_given_parameters_and_inputs_that_learn():
    """torch's own counter fails on both when gradients are off."""

    class Token(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.token, self.fc = nn.Parameter(torch.randn(1, 8)), nn.Linear(8, 8)

        def forward(self, x):
            return self.fc(self.token) + self.fc(x)

    report = nes_lab.count(Token(), torch.randn(3, 8, requires_grad=True))
    assert report.madds == 64 + 3 * 64


def test_a_module_called_from_elsewhere_counts_under_its_own_name():
    """It is registered in one module and called by another, as weights shared between branches are."""

    class Caller(nn.Module):
        def __init__(self, others: nn.ModuleDict) -> None:
            super().__init__()
            self.own, self.borrowed = nn.Linear(4, 4), [others["a"]]

        def forward(self, x):
            return self.borrowed[0](self.own(x))

    parts = nn.ModuleDict({"a": nn.Linear(4, 8)})
    model = nn.ModuleDict({"parts": parts, "caller": Caller(parts)})
    model.forward = lambda x: model["caller"](x)
    report = nes_lab.count(model, torch.randn(1, 4))
    assert {r.name: r.madds for r in report.by_layer} == {"parts.a": 32, "caller.own": 16}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("routing", ["tiled", "free", "learner"])
def test_stored_bytes_are_predicted_counted_and_in_the_file(tmp_path, routing, dtype):
    model, x = _net().to(dtype), torch.randn(1, 3, 8, 8, dtype=dtype)
    plan = nes_lab.plan_for_budget(model, Budget(params="70%"), x, routing=routing, min_channels=1, round_to=1)
    student = nes_lab.compress(model, plan)
    report = nes_lab.count(student, x)
    assert report.counts == plan.predicted and len(plan.layers) > 1
    assert report.stored_bytes == sum(row.stored_bytes for row in report.by_layer)
    nes_lab.save_pretrained(student, tmp_path / "saved")
    tensors = load_file(tmp_path / "saved" / "model.safetensors")
    saved = sum(t.nbytes for name, t in tensors.items() if ".learner." not in name)
    assert report.stored_bytes == saved


def test_bytes_is_the_old_name_of_stored_bytes():
    report = nes_lab.count(_net(), torch.randn(1, 3, 8, 8))
    old = {"bytes" if name == "stored_bytes" else name: value for name, value in report.to_dict().items()}
    for row in old["by_layer"]:
        del row["stored_bytes"]
    again = CostReport.from_dict(old)
    with pytest.warns(FutureWarning, match="CostReport.stored_bytes"):
        assert again.bytes == report.stored_bytes


@pytest.mark.parametrize(
    ("given", "words"), [(np.zeros((1, 3)), " is a ndarray"), ("x", " is a str"), ((3, 8, 8), r"=\(3, 8, 8\)")]
)
def test_run_example_says_what_an_example_input_is(given, words):
    with pytest.raises(OptionError, match=rf"example_input{words}; give a tensor"):
        count(nn.Linear(3, 2), given)
