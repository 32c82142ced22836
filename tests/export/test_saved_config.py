"""Damaged, foreign and hostile configurations and weights files: each is refused with a reason before anything is built."""

import json

import pytest

from nes_lab.errors import CheckpointError
from nes_lab.export.saved_config import read_saved_config
from tests.export.saving import altered, refused


@pytest.mark.parametrize("tenth", [0, 5, 9])
def test_checked_weights_refuses_truncated_weights(saved, tenth):
    path = saved / "model.safetensors"
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * tenth // 10])
    assert "again" in refused(saved, "is truncated")


@pytest.mark.parametrize("place", [3, 0.3, 0.99])
def test_checked_weights_refuses_one_flipped_bit(saved, place):
    path = saved / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[int(place * len(data)) if place < 1 else place] ^= 4
    path.write_bytes(data)
    assert "again" in refused(saved, "was altered: its SHA-256")


def test_read_saved_config_refuses_one_flipped_bit(saved):
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
def test_from_pretrained_names_a_missing_file(saved, name):
    (saved / name).unlink()
    refused(saved, f"{name.replace('.', '.')}.* missing")


def test_read_saved_config_refuses_a_missing_folder(tmp_path):
    refused(tmp_path / "nowhere", "holds no saved model.*save_pretrained")


@pytest.mark.parametrize("content", ["", "[1, 2]", "{", "\x00\x01", '{"format": "other"}', "[" * 100000])
def test_read_saved_config_refuses_foreign_files(saved, content):
    (saved / "config.json").write_text(content)
    refused(saved, "cannot be read|is not the configuration")


def test_read_saved_config_refuses_another_schema(saved):
    altered(saved, schema=2, versions={"nes_lab": "9.1"})
    refused(saved, r"schema 2; this version reads schema 1. Use the version that wrote it \(9.1\)")


def test_read_saved_config_refuses_altered_values(saved):
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
def test_read_saved_config_refuses_hostile_values(saved, what):
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
def test_read_saved_config_refuses_hostile_layers(saved, change):
    layers = json.loads((saved / "config.json").read_text())["epitome_layers"]
    layers["conv"] |= change
    altered(saved, epitome_layers=layers)
    refused(saved, "epitome layer 'conv'")


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
def test_read_saved_config_refuses_hostile_backbones(saved, change):
    stamp = json.loads((saved / "config.json").read_text())["backbone"]
    altered(saved, backbone=stamp | change)
    with pytest.raises(CheckpointError, match="is not valid: backbone"):
        read_saved_config(saved)
