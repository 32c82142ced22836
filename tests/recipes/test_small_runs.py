"""Every recipe, from its name to a finished run in the list, on small real samples."""

from __future__ import annotations

import csv
import os
import pickle
import wave
from pathlib import Path

import numpy as np
import pytest

from nes_lab.cli.entry import main
from nes_lab.runs.handle import RunHandle
from nes_lab.runs.store import RunStore
from tests import shared_data

pytestmark = pytest.mark.slow
QUICK = {
    "data.workers": "0",
    "training.threads": "1",
    "training.device": "cpu",
    "training.warmup_epochs": "0",
    "training.log_every_steps": "1",
}


@pytest.fixture
def home(tmp_path, monkeypatch):
    shared_data.reader()
    monkeypatch.setenv("NES_LAB_HOME", str(tmp_path / "home"))
    return tmp_path


def train(name: str, *flags: str, **overrides: str):
    """Run the command, and return the one run that must be in the list."""
    words = [f"--{path.replace('__', '.')}={value}" for path, value in (QUICK | overrides).items()]
    assert main(["train", name, *flags, *words]) == 0
    (info,) = RunStore().list()
    assert info.state == "finished" and info.step == info.total > 0
    assert info.label.startswith(name)
    checkpoint = RunStore().latest_checkpoint(info.id)
    assert checkpoint is not None and checkpoint.step == info.total
    return info


SMALL_IMAGES = {
    "data__image_size": "64",
    "data__batch_size": "20",
    "data__limit": "80",
    "training__epochs": "1",
    "training__accumulate": "2",
    "compression__madds": "75%",
}


@pytest.mark.parametrize(
    ("name", "variant"), [("imagenet_mobilenetv2", "authors"), ("imagenet_efficientnet_b0", "modern")]
)
def test_imagenet_from_scratch(home, name, variant):
    root = str(shared_data.FOLDER / "tiny_imagenet10")
    info = train(name, "--variant", variant, data__root=root, **SMALL_IMAGES)
    assert info.summary["madds"] <= 0.75 * info.summary["dense_madds"]
    assert info.config["compression"]["routing"] == "learner"
    assert (info.config["training"]["optimizer"] == "rmsproptf") == (variant == "authors")
    assert "ema_top1" in info.summary
    assert any(event["kind"] == "data" and "1,000" in " ".join(event["notes"]) for event in RunStore().events(info.id))


def test_the_dense_network_under_the_same_recipe(home):
    root = str(shared_data.FOLDER / "tiny_imagenet10")
    flags = {key: value for key, value in SMALL_IMAGES.items() if not key.startswith("compression")}
    info = train("imagenet_mobilenetv2", "--dense", data__root=root, **flags)
    assert info.config["compression"] is None and info.summary["params"] == info.summary["dense_params"]


def test_imagenet_finetune(home):
    """Pretrained weights of a thousand classes, fitted and distilled: it must still know much of what it knew."""
    tree = home / "imagenet"
    for split in ("train", "val"):
        tree.mkdir(exist_ok=True)
        os.symlink(shared_data.FOLDER / "imagenet_sample" / "val", tree / split)
    info = train(
        "imagenet_finetune",
        data__root=str(tree),
        data__image_size="128",
        data__normalize="half",
        data__batch_size="16",
        data__limit="96",
        backbone__pretrained="false",
        backbone__checkpoint=str(shared_data.FOLDER / "pretrained" / "mobilenetv2_100.safetensors"),
        backbone__options='{"pad_type": "same"}',
        compression__calibration="96",
        training__epochs="2",
        data__augment="none",
        training__lr="0.0001",
    )
    assert info.summary["params"] <= 0.9 * info.summary["dense_params"]
    assert info.summary["top1"] > 8  # chance is 0.1
    events = {event["kind"]: event for event in RunStore().events(info.id)}
    assert events["fit"]["residual"] < events["fit"]["residual_before"] < 1
    assert 0 < events["fit"]["agreement"] < 1
    plan = RunHandle(RunStore(), info.id).plan  # the recipe rounds the starts, and its plan counts them so
    assert plan is not None and plan.snap and plan.predicted.madds == info.summary["madds"]
    assert plan.predicted.params > 0.98 * 0.9 * plan.dense.params


def test_cifar10(home, monkeypatch):
    """Real images in torchvision's files; their checksums are not those of the original, whose order is lost."""
    from torchvision.datasets import CIFAR10

    monkeypatch.setattr(CIFAR10, "_check_integrity", lambda self: True)
    folder = home / "cifar" / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    reader = shared_data.reader()
    for split, names in (("train", [f"data_batch_{i}" for i in range(1, 6)]), ("test", ["test_batch"])):
        images, labels, classes = reader.cifar10(split, limit=500)
        rows = images.transpose(0, 3, 1, 2).reshape(len(images), -1)
        for name, part in zip(names, np.array_split(np.arange(len(images)), len(names)), strict=True):
            content = {"data": rows[part], "labels": labels[part].tolist()}
            (folder / name).write_bytes(pickle.dumps(content))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": classes}))
    monkeypatch.setitem(CIFAR10.meta, "md5", None)
    info = train("cifar10", data__root=str(home / "cifar"), data__limit="256", training__epochs="2")
    assert info.summary["params"] <= 0.5 * info.summary["dense_params"]


def test_audio(home):
    """Real recordings in ESC-50's layout."""
    clips, labels, folds, names = shared_data.reader().esc10()
    root = home / "esc"
    (root / "audio").mkdir(parents=True)
    (root / "meta").mkdir()
    with open(root / "meta" / "esc50.csv", "w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["filename", "fold", "target", "category"])
        for number in range(0, len(clips), 2):
            write_wav(root / "audio" / f"{number}.wav", clips[number])
            table.writerow([f"{number}.wav", int(folds[number]), int(labels[number]), names[int(labels[number])]])
    info = train("audio", data__root=str(root), data__samples="16000", training__epochs="4")
    assert info.summary["params"] <= 0.25 * info.summary["dense_params"]
    assert info.summary["top1"] > 15  # ten classes


def write_wav(path: Path, samples: np.ndarray, rate: int = 8000) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(samples.astype("<i2").tobytes())
