"""Folders of JSON and safetensors: what goes in comes out, bit for bit."""

import json
import os

import pytest
import torch
from torch import nn

from nes_lab import create_backbone, from_pretrained, fuse, materialize, save_pretrained
from nes_lab.errors import CheckpointError, OptionError
from nes_lab.export.saved_config import read_saved_config
from nes_lab.nn.conv import EpitomeConv2d
from nes_lab.nn.index_learner import LearnerStarts
from nes_lab.nn.linear import EpitomeLinear
from nes_lab.nn.starts import FixedStarts, FrozenStarts
from tests.export.networks import MODES, Net, Tied, compressed, same_state

NAMES = ("conv", "grouped", "head")


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def back(model, dense, tmp_path, **saving):
    state = torch.get_rng_state()
    found = from_pretrained(save_pretrained(model, tmp_path / "saved", **saving), model=dense)
    assert torch.equal(state, torch.get_rng_state())  # the global state is left alone
    return found


def x(batch=2):
    return torch.randn(batch, 3, 8, 8, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("routing", MODES)
@pytest.mark.parametrize("state", ["live", "frozen", "snapped"])
def test_every_routing_mode_comes_back_bit_for_bit(routing, state, tmp_path):
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
def test_settings_come_back(settings, tmp_path):
    dense = Net()
    model = compressed(dense, NAMES, **settings)
    again = back(model, dense, tmp_path)
    assert same_state(model, again) and torch.equal(model(x()), again(x()))
    for name in NAMES:
        a, b = model.get_submodule(name), again.get_submodule(name)
        assert (a.geometry, a.execution, a.routing_mode) == (b.geometry, b.execution, b.routing_mode)
        if isinstance(a.routing, LearnerStarts):
            assert (b.routing.reach, b.routing.squash, b.routing.momentum) == (2.0, "sigmoid", 0.5)


def test_training_goes_on_alike_from_a_loaded_model(tmp_path):
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


def test_a_learner_can_be_left_out(tmp_path):
    dense = Net()
    model = compressed(dense, NAMES, routing="learner")
    whole, lean = (save_pretrained(model, tmp_path / str(keep), keep_learner=keep) for keep in (True, False))
    assert (lean / "model.safetensors").stat().st_size < (whole / "model.safetensors").stat().st_size
    again = from_pretrained(lean, model=dense)
    assert isinstance(again.conv.routing, FrozenStarts) and isinstance(model.conv.routing, LearnerStarts)
    assert torch.equal(model(x()), again(x()))


@pytest.mark.parametrize("routing", ["tiled", "random", "learner"])
def test_fused_models_come_back(routing, tmp_path):
    dense = Net()
    model = fuse(compressed(dense, NAMES, routing=routing))
    assert isinstance(model.bn1, nn.Identity) and model.stem.bias is not None
    again = back(model, dense, tmp_path)
    assert same_state(model, again) and torch.equal(model(x()), again(x()))
    assert (model.conv.scale is None) == (again.conv.scale is None)


def test_some_layer_keeps_a_scale_when_fused():
    """Without one, the test above would not see the buffer."""
    fused = (fuse(compressed(Net(), NAMES, routing=routing)) for routing in ("tiled", "random", "learner"))
    assert any(model.conv.scale is not None for model in fused)


@pytest.mark.slow
def test_timm_norms_with_activations_come_back_fused(tmp_path):
    model = fuse(create_backbone("mobilenetv2_035", num_classes=5).eval())
    again = from_pretrained(save_pretrained(model, tmp_path / "m"))
    images = torch.randn(1, 3, 32, 32)
    assert torch.equal(model(images), again(images))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_dtypes_are_kept(dtype, tmp_path):
    dense = Net()
    model = compressed(dense, NAMES, routing="learner").to(dtype)
    again = back(model, dense, tmp_path)
    assert same_state(model, again) and again.conv.epitome.dtype == dtype
    for a, b in zip(model.buffers(), again.buffers(), strict=True):
        assert a.dtype == b.dtype
    assert torch.equal(model(x().to(dtype)), again(x().to(dtype)))


def test_channels_last_and_frozen_parameters_are_kept(tmp_path):
    dense = Net()
    model = compressed(dense, NAMES).to(memory_format=torch.channels_last)
    model.stem.requires_grad_(False)
    again = back(model, dense, tmp_path)
    assert same_state(model, again)
    assert not again.stem.weight.requires_grad and again.head.epitome.requires_grad
    assert again.stem.weight.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("tied_here", [True, False])
def test_tied_and_shared_tensors_are_stored_once_and_tied_again(tied_here, tmp_path):
    model = compressed(Tied(), ["block", "shared.a"], routing="random")
    folder = save_pretrained(model, tmp_path / "m")
    tied = read_saved_config(folder)["tied"]
    assert tied["decoder.weight"] == "embed.weight" and tied["shared.b.epitome"] == "shared.a.epitome"
    again = from_pretrained(folder, model=Tied(tie=tied_here))
    assert again.decoder.weight is again.embed.weight and again.shared["a"] is again.shared["b"]
    tokens = torch.arange(5)[None]
    assert torch.equal(model(tokens), again(tokens))
    numbers = sum(p.numel() for p in model.parameters())
    assert (folder / "model.safetensors").stat().st_size < 4 * numbers + 2000


def test_what_was_untied_stays_untied(tmp_path):
    model = Tied(tie=False)
    again = back(model, Tied(tie=True), tmp_path)
    assert again.decoder.weight is not again.embed.weight and same_state(model, again)


def test_a_backbone_needs_no_model(tmp_path):
    dense = create_backbone("small_mobilenetv2", num_classes=10, in_channels=1, width=0.25)
    names = [name for name, m in dense.named_modules() if type(m) is nn.Conv2d and m.kernel_size == (1, 1)][:3]
    model = compressed(dense, names)
    again = from_pretrained(save_pretrained(model, tmp_path / "m", metadata={"accuracy": 0.5}))
    assert same_state(model, again) and again.nes_lab_backbone == model.nes_lab_backbone
    assert read_saved_config(tmp_path / "m")["metadata"] == {"accuracy": 0.5}


def test_a_backbone_can_be_named(tmp_path):
    model = create_backbone("small_mobilenetv2", width=0.25)
    del model.nes_lab_backbone
    stamp = {"name": "small_mobilenetv2", "width": 0.25, "pretrained": True}
    folder = save_pretrained(model, tmp_path / "m", backbone=stamp)
    assert read_saved_config(folder)["backbone"]["options"] == {}  # weights come from the folder alone
    assert same_state(model.eval(), from_pretrained(folder))


def test_networks_that_are_epitomes_from_the_start_come_back(tmp_path):
    def make(seed):
        conv = EpitomeConv2d(4, 8, 3, epitome_shape=(4, 4, 3, 3), patch_channels=(2, 2), routing="random", seed=seed)
        return nn.Sequential(conv, nn.Flatten(), EpitomeLinear(8, 6, epitome_shape=(4, 4)))

    again = back(make(1).eval(), make(1), tmp_path)
    assert isinstance(again[0].routing, FixedStarts)
    with pytest.raises(CheckpointError, match=r"'0' had seed=1 and has 2 here"):
        from_pretrained(tmp_path / "saved", model=make(2))


def test_a_materialized_model_is_saved_like_any_other(tmp_path):
    dense = Net()
    model = materialize(compressed(dense, NAMES))
    assert same_state(model, back(model, dense, tmp_path))


def test_a_loaded_model_does_not_hold_its_file_open(tmp_path):
    dense = Net()
    again = back(compressed(dense, NAMES), dense, tmp_path)
    before = again(x())
    with open(tmp_path / "saved" / "model.safetensors", "r+b") as file:
        file.write(b"\0" * 4000)
    assert torch.equal(before, again(x()))


def test_the_given_model_stays_as_it_was(tmp_path):
    dense = Net()
    before = {name: tensor.clone() for name, tensor in dense.state_dict().items()}
    back(compressed(dense, NAMES), dense, tmp_path)
    assert type(dense.conv) is nn.Conv2d
    assert all(torch.equal(before[name], tensor) for name, tensor in dense.state_dict().items())


def test_files_hold_json_and_safetensors_alone(tmp_path):
    folder = save_pretrained(compressed(Net(), NAMES), tmp_path / "m")
    assert sorted(os.listdir(folder)) == ["config.json", "model.safetensors"] and os.listdir(tmp_path) == ["m"]
    config = json.loads((folder / "config.json").read_text())
    assert config["schema"] == 1 and config["weights"]["bytes"] == (folder / "model.safetensors").stat().st_size


def test_wrong_arguments():
    with pytest.raises(OptionError, match="model is a str"):
        save_pretrained("model", "somewhere")
    with pytest.raises(OptionError, match="give the dense network as a torch module"):
        from_pretrained("somewhere", model="model")


@pytest.mark.slow
def test_mobilenetv2_at_half_its_params_takes_half_the_bytes(tmp_path):
    from nes_lab import Budget, compress, plan_for_budget

    dense = create_backbone("mobilenetv2_100").eval()
    images = torch.randn(1, 3, 64, 64)
    plan = plan_for_budget(dense, Budget(params="50%"), images)
    folders = [save_pretrained(m, tmp_path / n, plan=plan) for n, m in (("d", dense), ("c", compress(dense, plan)))]
    whole, half = (sum(file.stat().st_size for file in folder.iterdir()) for folder in folders)
    assert half <= 0.52 * whole
    assert from_pretrained(folders[1]).nes_lab_plan == plan


def test_whoever_may_read_the_settings_may_read_the_weights(tmp_path):
    folder = save_pretrained(nn.Sequential(nn.Linear(4, 4)), tmp_path / "plain")
    assert len({file.stat().st_mode for file in folder.iterdir()}) == 1
