"""A check of a data set reports what it holds and every fault."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import wavfile

import nes_lab
from nes_lab.datasets.check import decode
from nes_lab.datasets.check.report import DataReport
from nes_lab.datasets.imagenet import IMAGENETTE_CLASSES
from nes_lab.errors import DataError, OptionError
from tests.datasets.samples import make_shards, make_sounds, make_tree, write_cifar10


def check(path: Path, **options) -> DataReport:
    return nes_lab.check_data(path, **options)


def only_problem(report: DataReport) -> str:
    assert len(report.problems) == 1, report.problems
    assert not report.usable
    return report.problems[0]


def test_check_data_describes_a_good_tree(tree: Path) -> None:
    Image.new("CMYK", (30, 10)).save(tree / "train" / "cat" / "0.jpg")
    report = check(tree)
    assert report.usable
    assert (report.name, report.kind, report.classes, report.shared) == ("image_folder", "image", ("cat", "dog"), 0)
    train, val = report.splits
    assert (train.name, train.counts, train.total, train.least, train.median, train.most) == (
        "train",
        (5, 4),
        9,
        4,
        4.5,
        5,
    )
    assert (val.name, val.counts, val.examined) == ("val", (2, 2), 4)
    assert train.modes == {"RGB": 6, "L": 2, "CMYK": 1}
    assert train.sizes == ((24, 20, 8), (30, 10, 1))
    assert "train: images that are not RGB are converted (2 L, 1 CMYK)" in report.notes
    assert json.loads(json.dumps(report.to_dict()))["splits"][0]["median"] == 4.5


def test_check_data_computes_statistics_over_all_pixels(tree: Path) -> None:
    pictures = [np.asarray(Image.open(path).convert("RGB")) for path in (tree / "train").rglob("*.png")]
    pixels = np.concatenate([picture.reshape(-1, 3) for picture in pictures]) / 255
    train = check(tree).splits[0]
    assert train.mean == pytest.approx(pixels.mean(0), abs=1e-9)
    assert train.std == pytest.approx(pixels.std(0), abs=1e-9)


def test_check_data_reports_all_faults_at_once(tree: Path) -> None:
    (tree / "train" / "cat" / "0.png").write_bytes(b"no pixels")
    (tree / "val" / "dog" / "1.png").write_bytes((tree / "val" / "dog" / "1.png").read_bytes()[:99])
    (tree / "train" / "emu").mkdir()
    report = check(tree)
    message = "\n".join(report.problems)
    assert "train: 1 of 8 images checked cannot be read" in message and "cat/0.png' (not an image)" in message
    assert "val: 1 of 4 images checked cannot be read" in message and "dog/1.png'" in message
    assert "1 class folder(s) without an image: emu" in message
    assert "only in train: emu" in message
    assert len(report.problems) == 4


@pytest.mark.parametrize("split", ["train", "val"])
def test_check_data_names_missing_and_empty_splits(tree: Path, split: str) -> None:
    (tree / split).rename(tree / "gone")
    assert f"has no folder '{split}'" in only_problem(check(tree))
    (tree / split).mkdir()
    assert "is an empty split" in only_problem(check(tree))


def test_check_data_counts_and_names_examples_in_both_splits(tree: Path) -> None:
    copy = tree / "val" / "dog" / "twin.png"
    copy.write_bytes((tree / "train" / "cat" / "2.png").read_bytes())
    report = check(tree)
    assert report.shared == 1
    assert report.usable
    assert any("1 examples of val are also in train" in note and str(copy) in note for note in report.notes)


def test_check_data_compares_very_many_files_only_with_all(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for split in ("train", "val"):
        Image.new("RGB", (8, 8)).save(tree / split / "cat" / "same.png")
    monkeypatch.setattr(decode, "MAX_COMPARED", 1)
    report = check(tree)
    assert report.shared is None
    assert any("--all looks for them" in note for note in report.notes)
    assert check(tree, everything=True).shared == 1


def test_check_data_samples_large_splits_unless_all_is_set(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode, "MAX_DECODED", 4)
    (tree / "train" / "cat" / "1.png").write_bytes(b"escapes the sample")
    report = check(tree)
    assert report.splits[0].examined == 4
    assert any("train: 4 of 8 files were decoded" in note for note in report.notes)
    assert "cat/1.png" in only_problem(check(tree, everything=True))


def test_check_data_notes_few_unreadable_images_with_skip_broken(tmp_path: Path) -> None:
    root = make_tree(tmp_path, train=60, val=1, size=8)
    (root / "train" / "dog" / "7.png").write_bytes(b"")
    assert "dog/7.png" in only_problem(check(root))
    report = check(root, skip_broken=0.01)
    assert report.usable
    assert any("dog/7.png" in note and "would be left out" in note for note in report.notes)
    with pytest.raises(OptionError, match=r"skip_broken=0.2 should be a share from 0 to 0.01"):
        check(root, skip_broken=0.2)


def test_check_data_on_archives(tmp_path: Path, tree: Path) -> None:
    root = make_shards(tree, tmp_path / "shards")
    files, packed = check(tree), check(root)
    assert packed.name == "image_shards"
    assert packed.usable
    assert packed.splits == files.splits
    torn = root / "train" / "000002.tar"
    torn.write_bytes(torn.read_bytes()[:1024])
    report = check(root)
    assert "000002.tar' cannot be read as an uncompressed tar archive" in only_problem(report)
    assert report.splits[0].total == 6
    (root / "classes.txt").write_text("cat\n")
    assert any("has label 1; with 1 classes" in problem for problem in check(root).problems)


def test_check_data_on_sounds(tmp_path: Path) -> None:
    root = make_sounds(tmp_path / "sounds")
    report = check(root, val_fold=3)
    assert (report.name, report.kind, report.usable, report.shared) == ("audio_folder", "audio", True, 0)
    assert report.splits[0].sizes == ((1200, 1, 8),)
    assert report.splits[0].modes == {"8,000 Hz": 8}
    waves = [wavfile.read(path)[1] / 32768 for path in sorted((root / "audio").glob("[12]*"))]
    assert report.splits[0].std[0] == pytest.approx(np.concatenate(waves).std(), abs=1e-4)
    unit = np.resize(np.array([1.0, -1.0], np.float32), 900)
    for path in sorted((root / "audio").glob("3*")):
        wavfile.write(path, 8000, unit)
    assert check(root, val_fold=3).splits[1].std == (1.0,)  # a sample of 1.0 counts as 1.0
    wavfile.write(root / "audio" / "1-dog-0.wav", 8000, np.zeros(900, np.int16))
    wavfile.write(root / "audio" / "1-dog-1.wav", 8000, np.full(900, np.nan, np.float32))
    wavfile.write(root / "audio" / "2-dog-0.wav", 44100, np.ones(900, np.int16))
    wavfile.write(root / "audio" / "3-dog-0.wav", 8000, np.zeros(0, np.int16))
    report = check(root, val_fold=3)
    message = "\n".join(report.problems)
    assert "1-dog-1.wav' holds 900 samples that are NaN" in message
    assert "3-dog-0.wav' is empty" in message
    assert "clips differ in sampling rate (44,100 Hz, 8,000 Hz)" in message
    assert len(report.problems) == 3
    assert "train: 1 clips are silent: 1-dog-0.wav" in report.notes
    assert "data.val_fold=5" in "\n".join(check(root).problems)


def cifar(root: Path, monkeypatch: pytest.MonkeyPatch, labels: np.ndarray) -> Path:
    pixels = np.random.default_rng(0).integers(0, 255, (60, 3, 32, 32), dtype=np.uint8)
    pixels[55] = pixels[3]
    write_cifar10(root, pixels[:50], labels, pixels[50:], np.arange(10))
    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda *_: True)
    return root


def test_check_data_on_torchvision_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = cifar(tmp_path / "c", monkeypatch, np.arange(50) % 10)
    for place in (root, root / "cifar-10-batches-py"):
        report = check(place)
        assert (report.name, report.usable, report.shared) == ("cifar10", True, 1)
        assert report.splits[0].counts == (5,) * 10
        assert report.splits[0].sizes == ((32, 32, 50),)
    assert nes_lab.check_data("cifar10", root=root).classes[3] == "cat"
    wrong = cifar(tmp_path / "d", monkeypatch, np.arange(50) % 11)
    assert "labels of the train split run from 0 to 10; with 10 classes they should be 0 to 9" in only_problem(
        check(wrong)
    )
    monkeypatch.undo()
    assert "no intact train split" in only_problem(check(root))


@pytest.mark.parametrize("name", ["imagenet", "imagenette"])
def test_check_data_on_imagenet_by_name(tmp_path: Path, name: str) -> None:
    folder = "imagenette2-160" if name == "imagenette" else ""
    make_tree(tmp_path / folder, names=tuple(IMAGENETTE_CLASSES), train=1, val=1)
    report = nes_lab.check_data(name, root=tmp_path)
    assert (report.name, report.usable, len(report.classes)) == (name, True, 10)
    assert any("not ImageNet-1k: 10 classes" in note for note in report.notes) == (name == "imagenet")
    if folder:
        assert check(tmp_path).name == "imagenette"


def test_detect_dataset_names_what_it_does_not_know(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"'digitz' is neither a folder nor a data set .*mean 'digits'"):
        nes_lab.check_data("digitz")
    with pytest.raises(DataError, match=r"is neither a folder"):
        nes_lab.check_data("a\0b")
    (tmp_path / "holiday.txt").write_text("")
    with pytest.raises(DataError, match=r"holds holiday.txt; a data set is train/<class>/ and val/<class>/"):
        check(tmp_path)
    with pytest.raises(DataError, match=r"with --root give one of digits"):
        nes_lab.check_data(str(tmp_path), root=tmp_path)


def test_data_report_is_frozen_and_usable_without_problems() -> None:
    report = DataReport("x", None, "image", (), ())
    with pytest.raises(AttributeError):
        report.name = "y"  # type: ignore[misc]
    assert not replace(report, problems=("bad",)).usable
