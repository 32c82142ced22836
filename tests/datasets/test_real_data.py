"""The real samples beside the repository, in every layout that holds them."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch

import nes_lab
from nes_lab.backbones.registry import create_backbone
from nes_lab.config import DataConfig
from nes_lab.datasets.registry import load_dataset
from tests import shared_data
from tests.datasets.samples import batches, make_shards, same, write_cifar10

pytestmark = pytest.mark.slow
CIFAR_MEANS = (125.306918046875 / 255, 122.950394140625 / 255, 113.86538318359375 / 255)


@pytest.fixture
def tiny() -> Path:
    shared_data.reader()
    return shared_data.FOLDER / "tiny_imagenet10"


def esc10(root: Path) -> tuple[np.ndarray, list[str]]:
    """Write the sounds as WAV files with their table."""
    from scipy.io import wavfile

    waves, labels, folds, names = shared_data.reader().esc10()
    for folder in ("audio", "meta"):
        (root / folder).mkdir(parents=True)
    with (root / "meta" / "esc10.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["filename", "fold", "target", "category"])
        for index, (wave, label, fold) in enumerate(zip(waves, labels, folds, strict=True)):
            name = f"{fold}-{index:03d}.wav"
            wavfile.write(root / "audio" / name, 8000, wave)
            table.writerow([name, fold, label, names[label]])
    return waves, names


def test_load_dataset_serves_the_same_batches_from_a_folder_and_its_archives(tiny: Path, tmp_path: Path) -> None:
    shards = make_shards(tiny, tmp_path / "shards", per_shard=130)
    knobs = {"image_size": 56, "augment": "rand-m9-mstd0.5-inc1", "erase": 0.25, "color_jitter": 0.2}
    files = load_dataset(DataConfig(name="image_folder", root=tiny, **knobs))
    packed = load_dataset(DataConfig(name="image_shards", root=shards, workers=2, **knobs))
    assert (len(files.train), len(files.val), files.num_classes) == (1000, 500, 10)
    complete = batches(files.train, size=125)
    assert len(complete) == 8
    assert same(complete, batches(packed.train, size=125))
    assert same(complete[5:], batches(packed.train, size=125, start=5))
    assert same(list(files.val.eval_batches(100)), list(packed.val.eval_batches(100)))
    assert all(images.isfinite().all() for images, _ in complete)


def test_check_data_finds_the_fifteen_grey_images(tiny: Path, tmp_path: Path) -> None:
    report = nes_lab.check_data(tiny, everything=True)
    assert (report.usable, report.shared) == (True, 0)
    assert sum(split.modes["L"] for split in report.splits) == 15
    assert [split.counts for split in report.splits] == [(100,) * 10, (50,) * 10]
    packed = nes_lab.check_data(make_shards(tiny, tmp_path / "shards", per_shard=300))
    assert packed.splits == report.splits


def test_load_audio_folder_teaches_a_small_m5(tmp_path: Path) -> None:
    waves, names = esc10(tmp_path / "esc10")
    report = nes_lab.check_data(tmp_path / "esc10")
    assert (report.name, report.usable, report.shared) == ("audio_folder", True, 0)
    assert [split.counts for split in report.splits] == [(32,) * 10, (8,) * 10]
    spec = load_dataset(DataConfig(name="audio_folder", root=tmp_path / "esc10", samples=8192))
    assert spec.classes == tuple(names)
    assert spec.input_shape == (1, 8192)
    torch.manual_seed(0)
    net = create_backbone("m5", num_classes=10, in_channels=1, width=0.125)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    losses = []
    for epoch in range(3):
        for clips, labels in batches(spec.train, size=32, epoch=epoch):
            loss = torch.nn.functional.cross_entropy(net(clips), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(float(loss.detach()))
    assert np.mean(losses[-10:]) < np.mean(losses[:10]) - 0.3  # 2.30 is chance
    assert len(waves) == len(spec.train) + len(spec.val)


def test_load_torchvision_set_reads_real_cifar10(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = shared_data.reader()
    (train, labels, names), (test, test_labels, _) = read.cifar10("train"), read.cifar10("test")
    write_cifar10(tmp_path, train.transpose(0, 3, 1, 2), labels, test.transpose(0, 3, 1, 2), test_labels)
    # The images of these files are exact but stand in another order, so that torchvision's checksums cannot hold.
    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda *_: True)
    report = nes_lab.check_data(tmp_path)
    assert (report.name, report.usable, report.shared, report.classes) == ("cifar10", True, 0, tuple(names))
    assert report.splits[0].mean == pytest.approx(CIFAR_MEANS, abs=1e-12)
    spec = load_dataset(
        DataConfig(name="cifar10", root=tmp_path, augment="rand-m9-mstd0.5-inc1", erase=0.25, limit=400)
    )
    complete = batches(spec.train, size=100)
    assert same(complete[2:], batches(spec.train, size=100, start=2))
    assert (len(spec.train), len(spec.val)) == (400, 10_000)
