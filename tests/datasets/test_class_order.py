"""Classes are numbered as the configuration says, for every data set whose classes are named on disk; what timm would do is said."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from timm.data.readers.reader_image_folder import find_images_and_targets
from torch import nn

import nes_lab
from nes_lab.config import load_config
from nes_lab.datasets.class_order import ordered_classes, permutation_note, sorted_naturally, text_order_note
from nes_lab.datasets.registry import DATASETS, load_dataset
from nes_lab.datasets.spec import DatasetSpec
from nes_lab.errors import DataError, OptionError
from nes_lab.records.dataset_facts import DATASET_FACTS
from tests.datasets.samples import make_shards, make_sounds, make_tree

NUMBERS = ("1", "10", "100", "11", "2")
NATURAL = ("1", "2", "10", "11", "100")


@pytest.fixture
def numbered(tmp_path: Path) -> Path:
    return make_tree(tmp_path / "numbered", train=2, val=1, names=NUMBERS, size=8)


def load(name: str, root: Path, order: object = "own") -> DatasetSpec:
    return load_dataset(load_config({"data": {"name": name, "root": str(root), "class_order": str(order)}}).data)


def by_name(data: DatasetSpec) -> dict[str, float]:
    """Return a number for each class name that depends on the examples with its label: the sum of their inputs."""
    inputs, labels = next(data.val.eval_batches(99))
    return {name: float(inputs[labels == label].double().sum()) for label, name in enumerate(data.classes)}


def test_sorted_naturally_agrees_with_timm(tmp_path: Path) -> None:
    names = ("1", "10", "100", "11", "2", "a10b", "a9b", "B1", "x2y", "Ümlaut", "img²")
    root = make_tree(tmp_path / "odd", train=1, val=1, names=names[:-1], size=4)
    _, place = find_images_and_targets(str(root / "train"))
    assert sorted_naturally(names[:-1]) == tuple(place)
    assert set(sorted_naturally(names)) == set(names)  # timm stops at the superscript


def test_class_order_moves_names_and_labels_together(numbered: Path, tmp_path: Path) -> None:
    file = tmp_path / "order.txt"
    file.write_bytes("\ufeff2\r\n100\r\n\r\n11\r\n1\r\n10\r\n".encode())
    folders = {
        "image_folder": numbered,
        "imagenet": numbered,
        "image_shards": make_shards(numbered, tmp_path / "shards"),
    }
    for name, root in folders.items():
        own = load(name, root)
        assert own.classes == NUMBERS
        for order, classes in (("text", NUMBERS), ("natural", NATURAL), (file, ("2", "100", "11", "1", "10"))):
            moved = load(name, root, order)
            assert moved.classes == classes, (name, order)
            assert by_name(moved) == pytest.approx(by_name(own)), (name, order)
            assert sorted(moved.train.labels.tolist()) == sorted(own.train.labels.tolist())


def test_class_order_moves_sounds(tmp_path: Path) -> None:
    root = make_sounds(tmp_path / "sounds", folds=5)
    own = load("audio_folder", root)
    file = tmp_path / "order.txt"
    file.write_text("\n".join(reversed(own.classes)))
    moved = load("audio_folder", root, file)
    assert moved.classes == tuple(reversed(own.classes))
    assert moved.val.labels.tolist() == [len(own.classes) - 1 - label for label in own.val.labels.tolist()]
    assert nes_lab.check_data(root, class_order=file).classes == moved.classes


def test_every_data_set_takes_an_order_or_refuses_it(numbered: Path) -> None:
    """A new data set must say whether its classes have a fixed order."""
    ordered = {name for name in DATASETS if "class_order" not in DATASET_FACTS[name].unused}
    assert ordered == {"imagenette", "imagenet", "image_folder", "image_shards", "audio_folder"}
    for name in set(DATASETS) - ordered:
        with pytest.raises(OptionError, match=r"data.class_order='natural' .*fixed order"):
            load_dataset(load_config({"data": {"name": name, "class_order": "natural"}}).data)
        with pytest.raises(OptionError, match=r"class_order='natural'.*fixed order"):
            nes_lab.check_data(name, class_order="natural")


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("1\n2\n10\n11\n", r"should name each of the 5 classes once, but it lacks '100'"),
        ("1\n2\n10\n11\n100\n7\n", r"names others: '7'"),
        ("1\n2\n10\n11\n100\n2\n", r"names twice '2'"),
        ("", r"lacks '1', '10', '100', '11', '2'"),
        (None, r"naturel' is not a file; give own, text, natural.*Did you mean 'natural'"),
    ],
)
def test_class_order_files_name_each_class_once(
    numbered: Path, tmp_path: Path, lines: str | None, message: str
) -> None:
    file = tmp_path / ("order.txt" if lines is not None else "naturel")
    if lines is not None:
        file.write_text(lines)
    with pytest.raises(DataError, match=message):
        load("image_folder", numbered, file)
    report = nes_lab.check_data(numbered, class_order=file)
    assert not report.usable and any("class_order" in problem for problem in report.problems)


def test_class_order_refuses_a_device_a_folder_and_bytes(numbered: Path, tmp_path: Path) -> None:
    for path in ("/dev/zero", str(tmp_path)):
        with pytest.raises(DataError, match="is not a file"):
            ordered_classes(NUMBERS, path)
    (tmp_path / "bytes").write_bytes(b"\xff\xfe1\n")
    with pytest.raises(DataError, match="cannot be read"):
        ordered_classes(NUMBERS, tmp_path / "bytes")
    with pytest.raises(OptionError, match="class_order=3 should be own, text, natural"):
        nes_lab.check_data(numbered, class_order=3)  # type: ignore[arg-type]


def test_config_keeps_the_order_and_makes_a_path_whole(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for given, stored in (("natural", "natural"), ("text", "text"), ("order.txt", str(tmp_path / "order.txt"))):
        config = load_config({"data": {"name": "image_folder", "class_order": given}})
        assert config.to_dict()["data"]["class_order"] == stored
        assert load_config(config.to_dict()) == config
    assert load_config({}).data.class_order == "own"


def test_check_data_says_where_timm_would_number_otherwise(numbered: Path, tree: Path) -> None:
    (note,) = [note for note in nes_lab.check_data(numbered).notes if "timm" in note]
    assert "3 of 5 another label (label 1 is '10' here and '2' there)" in note and "data.class_order: natural" in note
    report = nes_lab.check_data(numbered, class_order="natural")
    assert report.classes == NATURAL and not any("timm" in note for note in report.notes)
    assert not any("timm" in note for note in nes_lab.check_data(tree).notes)
    assert text_order_note(("Zebra", "ape")) and not text_order_note(("Ape", "Zebra"))


def test_evaluate_warns_about_a_network_of_another_order(numbered: Path) -> None:
    network = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 5))
    network.nes_lab_classes = NATURAL  # type: ignore[assignment]
    with pytest.warns(UserWarning, match="same 5 classes in another order: its output 1 is '2', and label 1 .* '10'"):
        nes_lab.evaluate(network, load("image_folder", numbered))
    assert permutation_note(NATURAL, NATURAL) == permutation_note(("a", "b"), ("b", "c")) == ""
    assert torch.is_tensor(load("image_folder", numbered, "natural").val.labels)
