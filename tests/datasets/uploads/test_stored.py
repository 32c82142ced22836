"""Uploads are listed and deleted by ids that cannot name another folder."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from nes_lab.datasets.uploads.stored import delete_upload, list_uploads, read_upload
from nes_lab.datasets.uploads.unpack import unpack_upload
from nes_lab.errors import DataError
from tests.datasets.uploads.zips import make_zip, two_classes


def test_delete_upload_deletes_that_one(tmp_path):
    kept, gone = (unpack_upload(make_zip(two_classes()), root=tmp_path)[0] for _ in range(2))
    delete_upload(gone.id, tmp_path)
    assert list_uploads(tmp_path) == [kept] and kept.bytes > 500
    with pytest.raises(DataError, match="no upload"):
        delete_upload(gone.id, tmp_path)


def test_an_upload_that_is_being_deleted_is_not_listed(tmp_path, monkeypatch):
    kept, gone = (unpack_upload(make_zip(two_classes()), root=tmp_path)[0] for _ in range(2))
    walk = os.walk

    def walk_and_delete(folder):  # another page deletes it after its files were listed
        places = list(walk(folder))
        if Path(folder) == gone.folder:
            delete_upload(gone.id, tmp_path)
        return places

    monkeypatch.setattr(os, "walk", walk_and_delete)
    assert list_uploads(tmp_path) == [kept]


def test_a_deletion_that_is_interrupted_leaves_no_half_upload(tmp_path, monkeypatch):
    upload, _ = unpack_upload(make_zip(two_classes()), root=tmp_path)
    monkeypatch.setattr(shutil, "rmtree", lambda path: Path(path, "name.txt").unlink() or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        delete_upload(upload.id, tmp_path)
    assert list_uploads(tmp_path) == []


@pytest.mark.parametrize("upload_id", ["..", "../runs", "", "a/b", ".new-x", "A", "x" * 65, "link", "\0", None])
def test_other_folders_cannot_be_named(tmp_path, upload_id):
    root, outside = tmp_path / "uploads", tmp_path / "runs"
    root.mkdir()
    outside.mkdir()
    (root / "link").symlink_to(outside)
    with pytest.raises(DataError):
        delete_upload(upload_id, root)
    with pytest.raises(DataError):
        read_upload(root, upload_id)
    assert outside.is_dir() and list_uploads(root) == []
