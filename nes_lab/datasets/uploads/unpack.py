"""Unpack an uploaded zip file of class folders into a new folder. The folder appears complete, or not at all.

Tests: tests/datasets/uploads/test_unpack.py.
"""

from __future__ import annotations

import os
import re
import shutil
import struct
import time
import warnings
import zipfile
import zlib
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from nes_lab.datasets.images import IMAGE_ERRORS, image_problem, open_image
from nes_lab.datasets.uploads.arrange import arrange
from nes_lab.datasets.uploads.limits import UploadLimits
from nes_lab.datasets.uploads.stored import NAME_FILE, TEMPORARY, Upload, read_upload, uploads_root
from nes_lab.datasets.uploads.zip_listing import ZipImages, check_zip_end, list_zip
from nes_lab.errors import DataError, NesLabError
from nes_lab.runs.replace import replace_bytes
from nes_lab.text import format_bytes, list_some

__all__ = ["unpack_upload"]

CHUNK = 1 << 20
SECONDS_KEPT = 3600
"""Age in seconds after which the folder of an upload that was interrupted is removed."""
_UNSORTED = ".unsorted"
_DAMAGED = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    RuntimeError,
    NotImplementedError,
    ValueError,
    struct.error,
    OverflowError,
)
"""Errors that Python's zipfile raises for damaged files."""


def unpack_upload(
    file: BinaryIO,
    name: str = "upload",
    *,
    root: Path | None = None,
    limits: UploadLimits | None = None,
    val_share: float = 0.2,
    seed: int = 0,
) -> tuple[Upload, list[str]]:
    """Unpack a zip file of class folders into a new folder, and return the new data set.

    Images that cannot be read are left out. A note names them.

    Args:
        file: The zip file, opened for reading bytes.
        name: Name that the user gave the file. It is a label only.
        root: Folder of all uploads; None: ``$NES_LAB_HOME/uploads``, or ``data/uploads``.
        limits: Limits of the upload; None: the defaults.
        val_share: Share of each class that is used for validation, if the file has no folders ``train`` and ``val``.
        seed: Seed of the random split.

    Returns:
        The data set, and sentences about what was done and left out.

    Raises:
        DataError: If the file is damaged, over a limit, or holds what an upload may not hold. Nothing is left on the disk then.
    """
    limits, root = limits or UploadLimits(), root or uploads_root()
    check_zip_end(file, limits)
    made = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{_slug(name)}-{os.urandom(3).hex()}"
    fresh = root / f"{TEMPORARY}{made}"
    try:
        with zipfile.ZipFile(file) as opened:
            notes = _unpack(opened, fresh, limits, val_share, seed)
        replace_bytes(fresh / NAME_FILE, name[:200].encode("utf-8", "replace"), durable=False)
        fresh.rename(root / made)
    except NesLabError:
        raise
    except _DAMAGED as error:
        raise DataError(
            f"The zip file is damaged or cut short ({str(error)[:100]}). Make it again, or upload it again."
        ) from error
    except OSError as error:
        raise DataError(f"The upload cannot be written to {root}: {error.strerror or error}.") from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)  # after the rename there is no such folder
        _remove_interrupted(root)
    return read_upload(root, made), notes


def _unpack(opened: zipfile.ZipFile, folder: Path, limits: UploadLimits, val_share: float, seed: int) -> list[str]:
    images = list_zip(opened, limits)
    wanted, _ = arrange(images.entries, val_share, seed)  # a wrong layout is told before anything is written
    size = sum(entry.file_size for _, entry in images.entries)
    folder.parent.mkdir(parents=True, exist_ok=True)
    if (free := shutil.disk_usage(folder.parent).free) < 2 * size:
        raise DataError(f"The upload needs {format_bytes(size)}, and the disk has {format_bytes(free)} free.")
    (folder / _UNSORTED).mkdir(parents=True)
    written, unreadable = _write_readable(opened, images, folder / _UNSORTED, limits)
    if not written:
        raise DataError(f"No image in the zip file can be read: {list_some(unreadable)}.")
    arranged, notes = arrange(written, val_share, seed)
    if lost := {parts[:2] for parts, _ in wanted} - {parts[:2] for parts, _ in arranged}:
        raise DataError(f"No image of {list_some(sorted(map('/'.join, lost)))} can be read: {list_some(unreadable)}.")
    for parts, path in arranged:
        target = folder.joinpath(*parts)
        target.parent.mkdir(parents=True, exist_ok=True)
        path.rename(target)
    shutil.rmtree(folder / _UNSORTED)
    if unreadable:
        notes.append(f"{len(unreadable):,} unreadable, skipped: {list_some(unreadable)}.")
    if images.others:
        notes.append(f"{images.others:,} files that are not images were left out.")
    return notes


def _write_readable(
    opened: zipfile.ZipFile, images: ZipImages, folder: Path, limits: UploadLimits
) -> tuple[list[tuple[tuple[str, ...], Path]], list[str]]:
    """Unpack the images under made names. Return those that can be read, and the paths of the others.

    The made names end as the images do, because the file of a data set is recognized by its ending.
    """
    left, pixels, written, unreadable = limits.bytes, 0, [], []
    for number, (parts, entry) in enumerate(images.entries):
        target = folder / f"{number}{Path(parts[-1]).suffix.lower()}"
        left -= _write(opened, entry, target, left)
        pixels += _pixels(target, parts[-1], limits)
        if pixels > limits.all_pixels:
            raise DataError(f"The images have more than {limits.all_pixels:,} pixels together; make them smaller.")
        if image_problem(target):
            unreadable.append("/".join(parts))
        else:
            written.append((parts, target))
    return written, unreadable


def _write(opened: zipfile.ZipFile, entry: zipfile.ZipInfo, target: Path, left: int) -> int:
    """Unpack one file and return its size. Stop if it is longer than the list of contents says."""
    written, allowed = 0, min(left, entry.file_size)
    with opened.open(entry) as source, open(target, "xb") as file:
        while data := source.read(CHUNK):
            written += len(data)
            if written > allowed:
                raise DataError("The zip file holds more than its list of contents says. It is damaged or hostile.")
            file.write(data)
    return written


def _pixels(path: Path, name: str, limits: UploadLimits) -> int:
    """Return the number of pixels that the head of an image file tells; 0 if it cannot be read."""
    try:
        with warnings.catch_warnings(action="ignore"), path.open("rb") as file, open_image(file) as image:
            width, height = image.size
    except IMAGE_ERRORS:
        return 0
    if width * height > limits.pixels:
        raise DataError(
            f"The image {name!r} has {width:,}×{height:,} pixels; {limits.pixels:,} pixels are allowed. Make it smaller."
        )
    return width * height


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", Path(name).stem.lower()[:200]).strip("-")[:24].strip("-") or "upload"


def _remove_interrupted(root: Path) -> None:
    """Remove what uploads have left that were interrupted by the end of the process."""
    for path in root.glob(f"{TEMPORARY}*"):
        try:
            if time.time() - path.stat().st_mtime > SECONDS_KEPT:
                shutil.rmtree(path, ignore_errors=True)
        except OSError:
            continue
