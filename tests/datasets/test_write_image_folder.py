"""A data set in memory as files in class folders."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from nes_lab.datasets.digits import list_digits
from nes_lab.datasets.image_folder import list_image_folder
from nes_lab.datasets.write_image_folder import write_image_folder
from nes_lab.errors import DataError, OptionError


def test_written_folder_holds_each_image_in_the_folder_of_its_class(tmp_path):
    folder = write_image_folder("digits", tmp_path / "new" / "digits")
    source, written = list_digits(), list_image_folder(folder)
    assert written.classes == source.classes and not written.problems
    for split in ("train", "val"):
        for path in written.splits[split].examples[::40]:
            place = int(path.stem)
            assert source.classes[source.splits[split].labels[place]] == path.parent.name
            pixels = np.asarray(Image.open(path), dtype=np.float64)
            assert np.abs(pixels / 255 - source.splits[split].examples[place][0] / 16).max() <= 0.5 / 255  # rounded
        assert len(written.splits[split].labels) == len(source.splits[split].labels)


def test_writing_again_changes_nothing(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    before = {path: path.read_bytes() for path in write_image_folder("digits", tmp_path).rglob("*.*")}
    assert {path: path.read_bytes() for path in write_image_folder("digits", tmp_path).rglob("*.*")} == before
    assert before[tmp_path / "notes.txt"] == b"mine" and len(before) == 1798


def test_writing_names_what_cannot_be_written(tmp_path):
    (tmp_path / "val").write_text("a file where a folder should be")
    with pytest.raises(DataError, match=r"folder='.*' cannot be written: "):
        write_image_folder("digits", tmp_path)
    for place in ("train/a", "val/a"):
        (tmp_path / "images" / place).mkdir(parents=True)
        Image.new("L", (4, 4)).save(tmp_path / "images" / place / "0.png")
    with pytest.raises(OptionError, match=r"name='.*images' is not held in memory but in files"):
        write_image_folder(str(tmp_path / "images"), tmp_path / "copy")
    with pytest.raises(DataError, match="Did you mean 'digits'"):
        write_image_folder("digit", tmp_path / "copy")
