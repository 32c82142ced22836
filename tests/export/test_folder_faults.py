"""Damaged, foreign and hostile folders: each is refused with a reason, and nothing is half loaded or half written."""

import json
import struct

import pytest
import torch
from torch import nn

from nes_lab import from_pretrained, save_pretrained
from nes_lab.errors import CheckpointError
from nes_lab.export import atomic_write
from nes_lab.export.saved_config import add_checksum, read_saved_config
from nes_lab.runs.files import sha256_of
from tests.export.networks import Net, compressed

NAMES = ("conv", "grouped", "head")


@pytest.fixture
def saved(tmp_path):
    torch.manual_seed(0)
    return save_pretrained(compressed(Net(), NAMES, routing="random"), tmp_path / "m", backbone="small_mobilenetv2")


def refused(folder, match, model=None):
    """The error comes, and the given network is left as it was."""
    model = Net() if model is None else model
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(CheckpointError, match=match) as error:
        from_pretrained(folder, model=model)
    assert all(torch.equal(tensor, model.state_dict()[name]) for name, tensor in before.items())
    return str(error.value)


def altered(folder, **changes):
    """A configuration with other contents and a checksum that holds, as a careful attacker writes it."""
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(add_checksum(config | changes)))


def with_weights(folder, data):
    """Other bytes as weights, with size and SHA-256 that hold."""
    path = folder / "model.safetensors"
    path.write_bytes(data)
    altered(folder, weights={"file": path.name, "bytes": len(data), "sha256": sha256_of(path)})


@pytest.mark.parametrize("tenth", range(10))
def test_truncated_weights(saved, tenth):
    path = saved / "model.safetensors"
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * tenth // 10])
    assert "again" in refused(saved, "is truncated")


@pytest.mark.parametrize("place", [3, 60, 0.3, 0.6, 0.99])
def test_one_flipped_bit_in_the_weights(saved, place):
    path = saved / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[int(place * len(data)) if place < 1 else place] ^= 4
    path.write_bytes(data)
    assert "again" in refused(saved, "was altered: its SHA-256")


def test_one_flipped_bit_anywhere_in_the_configuration(saved):
    path = saved / "config.json"
    data = path.read_bytes()
    for place in range(2, len(data) - 1, 97):
        flipped = bytearray(data)
        flipped[place] ^= 1
        path.write_bytes(flipped)
        if flipped.strip().replace(b"\t", b"").replace(b"\n", b"") != data.strip().replace(b"\n", b""):
            try:
                read_saved_config(saved)
            except CheckpointError:
                continue
            assert json.loads(flipped) == json.loads(data)  # white space alone


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_absent_files(saved, name):
    (saved / name).unlink()
    refused(saved, f"{name.replace('.', '.')}.* missing")


def test_no_folder(tmp_path):
    refused(tmp_path / "nowhere", "holds no saved model.*save_pretrained")


@pytest.mark.parametrize("content", ["", "[1, 2]", "{", "\x00\x01", '{"format": "other"}', "[" * 100000])
def test_foreign_configurations(saved, content):
    (saved / "config.json").write_text(content)
    refused(saved, "cannot be read|is not the configuration")


def test_another_schema(saved):
    altered(saved, schema=2, versions={"nes_lab": "9.1"})
    refused(saved, r"schema 2; this version reads schema 1. Use the version that wrote it \(9.1\)")


def test_an_altered_configuration(saved):
    config = json.loads((saved / "config.json").read_text())
    config["epitome_layers"]["conv"]["seed"] = 8
    (saved / "config.json").write_text(json.dumps(config))
    refused(saved, "was altered after it was written")


HOSTILE = {
    "another file": {"weights": {"file": "../../etc/passwd", "bytes": 1, "sha256": "0" * 64}},
    "an absolute file": {"weights": {"file": "/etc/passwd", "bytes": 1, "sha256": "0" * 64}},
    "no digest": {"weights": {"file": "model.safetensors", "bytes": 1, "sha256": "x"}},
    "no weights": {"weights": None},
    "lists for objects": {"epitome_layers": []},
    "modules of another form": {"modules": [["a"]]},
    "strides below zero": {"strides": {"conv.epitome": [-1, 1]}},
    "no tie": {"tied": {"a": 1}},
}


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_configurations(saved, what):
    altered(saved, **HOSTILE[what])
    refused(saved, "is not valid")


@pytest.mark.parametrize(
    "change",
    [
        {"weight_shape": [10**30]},
        {"epitome_shape": [1 << 50, 1, 1, 1]},
        {"epitome_shape": [16, 8, 0, 1]},
        {"patch_channels": "all"},
        {"seed": -1},
        {"routing": ["tiled"]},
        {"starts": "anything"},
        {"options": 3},
    ],
)
def test_hostile_layers(saved, change):
    layers = json.loads((saved / "config.json").read_text())["epitome_layers"]
    layers["conv"] |= change
    altered(saved, epitome_layers=layers)
    refused(saved, "epitome layer 'conv'")


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"epitome_shape": [1 << 20, 8, 1, 1]}, "conv.epitome|memory|conv"),
        ({"weight_shape": [4, 4, 1, 1]}, "'conv' had a weight of"),
        ({"kind": "linear"}, "'conv' was a linear layer"),
        ({"options": {"__class__": 1}}, "'conv' cannot be created"),
        ({"routing": "nonsense"}, "'conv' cannot be created"),
        ({"execution": "nonsense"}, "'conv'.*not known"),
    ],
)
def test_layers_that_do_not_fit(saved, change, match):
    layers = json.loads((saved / "config.json").read_text())["epitome_layers"]
    layers["conv"] |= change
    altered(saved, epitome_layers=layers)
    refused(saved, match)


@pytest.mark.parametrize(
    "change",
    [
        {"name": "hf-hub:someone/something"},
        {"name": "../x"},
        {"num_classes": 10**12},
        {"in_channels": -1},
        {"width": float(10**9)},
        {"options": {"pretrained": True}},
        {"options": {"checkpoint_path": "/tmp/evil.pt"}},
        {"options": {"depth": 10**12}},
        {"options": {"block": {"a": 1}}},
        {"module": "os"},
    ],
)
def test_hostile_backbones(saved, change):
    stamp = json.loads((saved / "config.json").read_text())["backbone"]
    altered(saved, backbone=stamp | change)
    with pytest.raises(CheckpointError, match="is not valid: backbone"):
        from_pretrained(saved)


@pytest.mark.slow  # it asks timm
def test_a_backbone_unknown_here(saved):
    stamp = json.loads((saved / "config.json").read_text())["backbone"]
    altered(saved, backbone=stamp | {"name": "no_such_network"})
    with pytest.raises(CheckpointError, match=r"'no_such_network' cannot be created here.*model="):
        from_pretrained(saved)


def test_no_backbone_and_no_model(tmp_path):
    folder = save_pretrained(Net(), tmp_path / "m")
    with pytest.raises(CheckpointError, match="names no backbone; give the dense network it was made from as model="):
        from_pretrained(folder)


def header(size, text=b"{}"):
    return struct.pack("<Q", size) + text


HEADERS = {
    "huge": header(1 << 62),
    "longer than the file": header(1000),
    "no JSON": header(2, b"xx"),
    "empty file": b"",
    "absurd shape": (lambda t: header(len(t), t))(b'{"a":{"dtype":"F32","shape":[1099511627776],"data_offsets":[0,8]}}')
    + b"\0" * 8,
    "overlap": (lambda t: header(len(t), t))(
        b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
    )
    + b"\0" * 4,
}


@pytest.mark.parametrize("what", HEADERS)
def test_hostile_weights(saved, what):
    with_weights(saved, HEADERS[what])
    refused(saved, "is not a readable safetensors file")


def test_weights_of_another_network_in_a_right_folder(saved, tmp_path):
    other = save_pretrained(compressed(Net(24), NAMES, routing="random"), tmp_path / "other")
    with_weights(saved, (other / "model.safetensors").read_bytes())
    refused(saved, r"\.(weight|epitome|bias)? ?.*has shape .* the model needs")


def test_missing_and_unknown_tensors(saved):
    from safetensors.torch import load, save

    tensors = load((saved / "model.safetensors").read_bytes())
    less = {name: tensor for name, tensor in tensors.items() if name != "head.bias"}
    with_weights(saved, save(less))
    refused(saved, "lacks head.bias")
    with_weights(saved, save(tensors | {"stem.extra": torch.zeros(1)}))
    refused(saved, "has stem.extra, which the model lacks")
    with_weights(saved, save(tensors | {"bn0.num_batches_tracked": torch.tensor(0.5)}))
    refused(saved, "bn0.num_batches_tracked is torch.float32")


@pytest.mark.parametrize("name", ["conv.epitome", "bn0.running_mean", "head.bias"])
def test_nan_is_neither_saved_nor_loaded(saved, tmp_path, name):
    from safetensors.torch import load, save

    model = compressed(Net(), NAMES)
    model.state_dict()[name].view(-1)[0] = float("nan")
    with pytest.raises(CheckpointError, match=f"{name} holds NaN"):
        save_pretrained(model, tmp_path / "bad")
    assert not (tmp_path / "bad").exists()
    tensors = load((saved / "model.safetensors").read_bytes())
    tensors[name].view(-1)[0] = float("nan")
    with_weights(saved, save(tensors))
    refused(saved, f"{name} holds NaN")


def test_infinity_in_a_parameter_is_a_fault(tmp_path):
    model = nn.Linear(2, 2)
    with torch.no_grad():
        model.bias[0] = float("inf")
    with pytest.raises(CheckpointError, match="bias holds NaN or infinity"):
        save_pretrained(model, tmp_path / "m")


def test_infinity_in_a_mask_is_no_fault(tmp_path):
    model = nn.Sequential(nn.Linear(2, 2))
    model.register_buffer("mask", torch.tensor([0.0, float("-inf")]))
    again = from_pretrained(save_pretrained(model, tmp_path / "m"), model=model)
    assert torch.equal(again.mask, model.mask)


def other_networks():
    wider, activation, strided = Net(24), Net(), Net()
    activation.act = nn.GELU()
    strided.grouped.stride = (1, 1)
    deeper = Net()
    deeper.more = nn.Linear(2, 2)
    return {
        "stem": wider,
        "act": activation,
        "grouped": strided,
        "more": deeper,
        "the model itself": nn.Sequential(nn.Linear(2, 2)),
    }


@pytest.mark.parametrize("layer", other_networks())
def test_another_architecture_names_the_first_layer_that_differs(saved, layer):
    message = refused(saved, "the network differs from the saved one", other_networks()[layer])
    assert layer in message


def test_saving_again(tmp_path):
    first, second = Net(), compressed(Net(), NAMES)
    folder = save_pretrained(first, tmp_path / "m")
    with pytest.raises(CheckpointError, match="overwrite=True"):
        save_pretrained(second, folder)
    assert not read_saved_config(folder)["epitome_layers"]
    save_pretrained(second, folder, overwrite=True)
    assert set(read_saved_config(folder)["epitome_layers"]) == set(NAMES)
    assert [entry.name for entry in tmp_path.iterdir()] == ["m"]


@pytest.mark.parametrize("swap", [True, False])
def test_replacing_without_the_system_call(tmp_path, swap, monkeypatch):
    if not swap:
        monkeypatch.setattr(atomic_write, "_exchange", lambda one, other: False)
    folder = save_pretrained(Net(), tmp_path / "m")
    save_pretrained(compressed(Net(), NAMES), folder, overwrite=True)
    assert read_saved_config(folder)["epitome_layers"] and [entry.name for entry in tmp_path.iterdir()] == ["m"]


def test_what_is_no_saved_model_is_left_alone(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    for overwrite in (False, True):
        with pytest.raises(CheckpointError, match="so it is not replaced"):
            save_pretrained(Net(), tmp_path / "mine", overwrite=overwrite)
    folder = save_pretrained(Net(), tmp_path / "m")
    (folder / "notes.md").write_text("mine")
    with pytest.raises(CheckpointError, match="so it is not replaced"):
        save_pretrained(Net(), folder, overwrite=True)
    (tmp_path / "file").write_text("x")
    with pytest.raises(CheckpointError):
        save_pretrained(Net(), tmp_path / "file", overwrite=True)
    assert (folder / "notes.md").exists() and (tmp_path / "file").read_text() == "x"


@pytest.mark.parametrize("stop", ["save_file", "sha256_of", "add_checksum"])
@pytest.mark.parametrize("kind", [KeyboardInterrupt, OSError])
def test_an_interrupted_save_leaves_what_was_there(tmp_path, monkeypatch, stop, kind):
    from nes_lab.export import pretrained

    folder = save_pretrained(Net(), tmp_path / "m")

    def fail(*args, **kwargs):
        raise kind("no space left on device")

    monkeypatch.setattr(pretrained, stop, fail)
    with pytest.raises((KeyboardInterrupt, CheckpointError)):
        save_pretrained(compressed(Net(), NAMES), folder, overwrite=True)
    with pytest.raises((KeyboardInterrupt, CheckpointError)):
        save_pretrained(Net(), tmp_path / "new")
    assert [entry.name for entry in tmp_path.iterdir()] == ["m"] and not read_saved_config(folder)["epitome_layers"]


def test_tensors_without_numbers_and_foreign_state(tmp_path):
    with pytest.raises(CheckpointError, match="no values yet"):
        save_pretrained(nn.Linear(2, 2, device="meta"), tmp_path / "m")
    with pytest.raises(CheckpointError, match="no values yet"):
        save_pretrained(nn.LazyLinear(2), tmp_path / "m")

    class Odd(nn.Linear):
        def get_extra_state(self):
            return {"a": 1}

    with pytest.raises(CheckpointError, match="extra state"):
        save_pretrained(Odd(2, 2), tmp_path / "m")
    with pytest.raises(CheckpointError, match="plain data"):
        save_pretrained(nn.Linear(2, 2), tmp_path / "m", metadata={"x": object()})
    assert not list(tmp_path.iterdir())
