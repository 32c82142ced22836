"""Folders of JSON and safetensors: what goes in comes out, bit for bit."""

import json
import os

import pytest
import torch
from torch import nn

from nes_lab import create_backbone, from_pretrained, materialize, save_pretrained
from nes_lab.errors import OptionError
from nes_lab.export.saved_config import read_saved_config
from nes_lab.nn.frozen_starts import FrozenStarts
from nes_lab.nn.index_learner import LearnerStarts
from tests.export.networks import MODES, Net, compressed, same_state
from tests.export.saving import NAMES, back, x


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


@pytest.mark.parametrize("routing", MODES)
@pytest.mark.parametrize("state", ["live", "frozen", "snapped"])
def test_from_pretrained_restores_every_routing_bit_for_bit(routing, state, tmp_path):
    dense = Net()
    model = compressed(dense, NAMES, routing=routing)
    for name in NAMES:
        layer = model.get_submodule(name)
        layer.freeze() if state == "frozen" else layer.snap() if state == "snapped" else None
    again = back(model, dense, tmp_path)
    assert same_state(model, again)
    assert torch.equal(model(x()), again(x()))
    for name in NAMES:
        mine, theirs = model.get_submodule(name).routing, again.get_submodule(name).routing
        assert type(mine) is type(theirs) and mine.fractional == theirs.fractional and mine.seed == theirs.seed
        for a, b in zip(mine.current(), theirs.current(), strict=True):
            assert (a is None and b is None) or torch.equal(a, b)


@pytest.mark.parametrize(
    "settings",
    [
        {"scope": "joint", "routing": "free"},
        {"boundary": "circular", "routing": "random"},
        {"execution": "wrapped"},
        {"routing": "learner", "options": {"reach": 2.0, "squash": "sigmoid", "momentum": 0.5}},
    ],
)
def test_from_pretrained_restores_settings(settings, tmp_path):
    dense = Net()
    model = compressed(dense, NAMES, **settings)
    again = back(model, dense, tmp_path)
    assert same_state(model, again) and torch.equal(model(x()), again(x()))
    for name in NAMES:
        a, b = model.get_submodule(name), again.get_submodule(name)
        assert (a.geometry, a.execution, a.routing_mode) == (b.geometry, b.execution, b.routing_mode)
        if isinstance(a.routing, LearnerStarts):
            assert (b.routing.reach, b.routing.squash, b.routing.momentum) == (2.0, "sigmoid", 0.5)


def test_from_pretrained_model_trains_on_like_the_saved_one(tmp_path):
    dense = Net()
    model = compressed(dense, NAMES, routing="learner")
    again = back(model, dense, tmp_path)
    for net in (model, again):
        net.train()
        optimizer = torch.optim.SGD(net.parameters(), 0.1)
        for _ in range(2):
            optimizer.zero_grad()
            net(x(4)).square().mean().backward()
            optimizer.step()
    assert same_state(model, again)


def test_save_pretrained_can_leave_out_the_learner(tmp_path):
    dense = Net()
    model = compressed(dense, NAMES, routing="learner")
    whole, lean = (save_pretrained(model, tmp_path / str(keep), keep_learner=keep) for keep in (True, False))
    assert (lean / "model.safetensors").stat().st_size < (whole / "model.safetensors").stat().st_size
    again = from_pretrained(lean, model=dense)
    assert isinstance(again.conv.routing, FrozenStarts) and isinstance(model.conv.routing, LearnerStarts)
    assert torch.equal(model(x()), again(x()))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_from_pretrained_restores_dtypes(dtype, tmp_path):
    dense = Net()
    model = compressed(dense, NAMES, routing="learner").to(dtype)
    again = back(model, dense, tmp_path)
    assert same_state(model, again) and again.conv.epitome.dtype == dtype
    for a, b in zip(model.buffers(), again.buffers(), strict=True):
        assert a.dtype == b.dtype
    assert torch.equal(model(x().to(dtype)), again(x().to(dtype)))


def test_from_pretrained_restores_channels_last_and_requires_grad(tmp_path):
    dense = Net()
    model = compressed(dense, NAMES).to(memory_format=torch.channels_last)
    model.stem.requires_grad_(False)
    again = back(model, dense, tmp_path)
    assert same_state(model, again)
    assert not again.stem.weight.requires_grad and again.head.epitome.requires_grad
    assert again.stem.weight.is_contiguous(memory_format=torch.channels_last)


def test_from_pretrained_creates_the_backbone(tmp_path):
    dense = create_backbone("small_mobilenetv2", num_classes=10, in_channels=1, width=0.25)
    names = [name for name, m in dense.named_modules() if type(m) is nn.Conv2d and m.kernel_size == (1, 1)][:3]
    model = compressed(dense, names)
    again = from_pretrained(save_pretrained(model, tmp_path / "m", metadata={"accuracy": 0.5}))
    assert same_state(model, again) and again.nes_lab_backbone == model.nes_lab_backbone
    assert read_saved_config(tmp_path / "m")["metadata"] == {"accuracy": 0.5}


def test_save_pretrained_takes_the_name_of_a_backbone(tmp_path):
    model = create_backbone("small_mobilenetv2", width=0.25)
    del model.nes_lab_backbone
    stamp = {"name": "small_mobilenetv2", "width": 0.25, "pretrained": True}
    folder = save_pretrained(model, tmp_path / "m", backbone=stamp)
    assert read_saved_config(folder)["backbone"]["options"] == {}  # weights come from the folder alone
    assert same_state(model.eval(), from_pretrained(folder))


def test_save_pretrained_takes_a_materialized_model(tmp_path):
    dense = Net()
    model = materialize(compressed(dense, NAMES))
    assert same_state(model, back(model, dense, tmp_path))


def test_from_pretrained_model_does_not_depend_on_its_file(tmp_path):
    dense = Net()
    again = back(compressed(dense, NAMES), dense, tmp_path)
    before = again(x())
    with open(tmp_path / "saved" / "model.safetensors", "r+b") as file:
        file.write(b"\0" * 4000)
    assert torch.equal(before, again(x()))


def test_from_pretrained_does_not_change_the_given_model(tmp_path):
    dense = Net()
    before = {name: tensor.clone() for name, tensor in dense.state_dict().items()}
    back(compressed(dense, NAMES), dense, tmp_path)
    assert type(dense.conv) is nn.Conv2d
    assert all(torch.equal(before[name], tensor) for name, tensor in dense.state_dict().items())


def test_save_pretrained_writes_json_and_safetensors_only(tmp_path):
    folder = save_pretrained(compressed(Net(), NAMES), tmp_path / "m")
    assert sorted(os.listdir(folder)) == ["config.json", "model.safetensors"] and os.listdir(tmp_path) == ["m"]
    config = json.loads((folder / "config.json").read_text())
    assert config["schema"] == 1 and config["weights"]["bytes"] == (folder / "model.safetensors").stat().st_size


def test_pretrained_refuses_what_is_not_a_module():
    with pytest.raises(OptionError, match="model is a str"):
        save_pretrained("model", "somewhere")
    with pytest.raises(OptionError, match="give the dense network as a torch module"):
        from_pretrained("somewhere", model="model")


@pytest.mark.slow
def test_save_pretrained_takes_half_the_bytes_for_half_the_params(tmp_path):
    from nes_lab import Budget, compress, plan_for_budget

    dense = create_backbone("mobilenetv2_100").eval()
    images = torch.randn(1, 3, 64, 64)
    plan = plan_for_budget(dense, Budget(params="50%"), images)
    folders = [save_pretrained(m, tmp_path / n, plan=plan) for n, m in (("d", dense), ("c", compress(dense, plan)))]
    whole, half = (sum(file.stat().st_size for file in folder.iterdir()) for folder in folders)
    assert half <= 0.52 * whole
    assert from_pretrained(folders[1]).nes_lab_plan == plan


def test_save_pretrained_gives_both_files_the_same_permissions(tmp_path):
    folder = save_pretrained(nn.Sequential(nn.Linear(4, 4)), tmp_path / "plain")
    assert len({file.stat().st_mode for file in folder.iterdir()}) == 1
