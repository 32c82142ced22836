"""A few examples of every class are read for a page."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from nes_lab.datasets.check.check import list_dataset
from nes_lab.datasets.examples import examples_by_class
from tests.datasets.samples import make_sounds, save_image


def test_examples_by_class_are_spread_and_unreadable_ones_replaced(tree: Path) -> None:
    for index in range(4, 12):
        save_image(tree / "train" / "cat" / f"{index}.png", index, size=90)
    (tree / "train" / "cat" / "0.png").write_bytes(b"")
    shown = examples_by_class(list_dataset(tree), each=3, size=40)
    assert list(shown) == ["cat", "dog"]
    assert [len(pictures) for pictures in shown.values()] == [3, 3]
    assert all(picture.dtype == np.uint8 and max(picture.shape) <= 40 for picture in shown["cat"])
    assert list(examples_by_class(list_dataset(tree), classes=1)) == ["cat"]
    sound = examples_by_class(list_dataset(make_sounds(tree.parent / "sounds"), val_fold=3))
    assert sound["rain"][0].shape == (1200,)
