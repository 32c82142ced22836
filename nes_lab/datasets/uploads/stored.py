"""List the uploads on this computer, and delete one. Ids are checked, so that nothing outside the folder of uploads is touched.

Tests: tests/datasets/uploads/test_stored.py.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from nes_lab.errors import DataError
from nes_lab.records.dataset_facts import default_data_root

__all__ = ["NAME_FILE", "TEMPORARY", "Upload", "delete_upload", "list_uploads", "read_upload", "uploads_root"]

NAME_FILE = "name.txt"
"""File in the folder of an upload that holds the name of the uploaded file."""
TEMPORARY = ".new-"
"""Beginning of the names of folders that are being made or deleted."""
_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")


@dataclass(frozen=True)
class Upload:
    """An uploaded data set on this computer.

    Attributes:
        id: Name of its folder.
        name: Name of the file that the user uploaded.
        folder: The folder, in the layout of the data set ``image_folder``.
        files: Number of its images.
        bytes: Size of its files in bytes.
    """

    id: str
    name: str
    folder: Path
    files: int
    bytes: int


def uploads_root() -> Path:
    """Return the folder of all uploads: ``$NES_LAB_HOME/uploads``, or ``data/uploads`` if that variable is not set."""
    return default_data_root("uploads")


def list_uploads(root: Path | None = None) -> list[Upload]:
    """Return all uploads, newest first.

    Args:
        root: Folder of all uploads; None: the default one.

    Examples:
        >>> list_uploads(Path("nowhere"))
        []
    """
    root = root or uploads_root()
    try:
        with os.scandir(root) as entries:
            ids = [item.name for item in entries if _ID.fullmatch(item.name) and item.is_dir(follow_symlinks=False)]
    except OSError:
        return []
    found = []
    for upload_id in sorted(ids, reverse=True):
        with suppress(DataError, FileNotFoundError):  # it is being deleted
            found.append(read_upload(root, upload_id))
    return found


def read_upload(root: Path, upload_id: str) -> Upload:
    """Return what the files of one upload say about it.

    Args:
        root: Folder of all uploads.
        upload_id: Id of the upload.

    Raises:
        DataError: If there is no such upload.
    """
    folder = _folder(root, upload_id)
    try:
        name = (folder / NAME_FILE).read_text(encoding="utf-8", errors="replace")[:200]
    except OSError:
        name = upload_id
    paths = [Path(place, file) for place, _, files in os.walk(folder) for file in files if file != NAME_FILE]
    return Upload(upload_id, name, folder.resolve(), len(paths), sum(path.lstat().st_size for path in paths))


def delete_upload(upload_id: str, root: Path | None = None) -> None:
    """Delete an upload with all its files. It disappears in one step, also if the deletion is interrupted.

    Args:
        upload_id: Id of the upload.
        root: Folder of all uploads; None: the default one.

    Raises:
        DataError: If there is no such upload, or it cannot be deleted.
    """
    root = root or uploads_root()
    folder, gone = _folder(root, upload_id), root / f"{TEMPORARY}{upload_id}"
    try:
        shutil.rmtree(folder.rename(gone))
    except OSError as error:
        raise DataError(f"The upload {upload_id} cannot be deleted: {error.strerror or error}.") from error


def _folder(root: Path, upload_id: str) -> Path:
    if not isinstance(upload_id, str) or not _ID.fullmatch(upload_id):
        raise DataError(f"{str(upload_id)[:80]!r} is not the id of an upload.")
    folder = root / upload_id
    try:
        mode = os.lstat(folder).st_mode
    except OSError as error:
        raise DataError(f"There is no upload {upload_id!r} in {root}.") from error
    if not stat.S_ISDIR(mode):
        raise DataError(f"The upload {upload_id!r} is refused: {folder} is not a folder, but a link or a file.")
    return folder
