"""An upload becomes a data set that can be trained on, or leaves nothing behind."""

from __future__ import annotations

import os

import pytest

import nes_lab
from nes_lab.datasets.uploads import unpack
from nes_lab.datasets.uploads.stored import list_uploads
from nes_lab.errors import DataError
from tests.datasets.uploads.zips import make_zip, picture, two_classes


def test_an_upload_is_a_data_set(tmp_path):
    files = two_classes(10, "pets/") | {"pets/dog/broken.jpg": b"gone", "pets/readme.txt": b"hello"}
    upload, notes = unpack.unpack_upload(make_zip(files), "My <pets>.zip", root=tmp_path)
    assert (upload.name, upload.files) == ("My <pets>.zip", 20) and "my-pets" in upload.id
    assert (
        "1 unreadable, skipped: pets/dog/broken.jpg." in notes and "1 files that are not images were left out." in notes
    )
    report = nes_lab.check_data(upload.folder)
    assert report.usable and report.classes == ("cat", "dog") and [split.total for split in report.splits] == [16, 4]
    assert [item.id for item in list_uploads(tmp_path)] == [upload.id]
    assert [path.name for path in tmp_path.iterdir()] == [upload.id]


def test_an_upload_without_a_readable_image_is_refused(tmp_path):
    files = {f"{name}/{i}.png": b"gone" for name in ("bird", "cat") for i in (1, 2)}
    with pytest.raises(DataError, match=r"No image in the zip file can be read: bird/1\.png, bird/2\.png"):
        unpack.unpack_upload(make_zip(files), root=tmp_path)
    assert list(tmp_path.iterdir()) == []
    files = two_classes() | {"bird/1.png": b"gone", "bird/2.png": b"gone"}
    with pytest.raises(DataError, match="No image of train/bird, val/bird can be read: bird/1"):
        unpack.unpack_upload(make_zip(files), root=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_formats_that_run_other_programs_are_not_read(tmp_path):
    script = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\n(out) (w) file\n"
    _, notes = unpack.unpack_upload(make_zip(two_classes() | {"cat/x.png": script}), root=tmp_path)
    assert "1 unreadable, skipped: cat/x.png." in notes
    unpack.unpack_upload(make_zip(two_classes() | {"cat/x.jpg": picture(kind="WEBP")}), root=tmp_path)


def test_a_full_disk_leaves_nothing(tmp_path, monkeypatch):
    def fail(*given):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(unpack, "_write", fail)
    with pytest.raises(DataError, match="No space left"):
        unpack.unpack_upload(make_zip(two_classes()), root=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_what_an_interrupted_upload_left_is_removed(tmp_path):
    old, new = tmp_path / ".new-old", tmp_path / ".new-new"
    for folder in (old, new):
        folder.mkdir()
    os.utime(old, (1, 1))
    unpack.unpack_upload(make_zip(two_classes()), root=tmp_path)
    assert not old.exists() and new.exists()
    assert len(list_uploads(tmp_path)) == 1
