"""List the images of an uploaded zip file. Refuse a file that is hostile or damaged, before anything is unpacked.

Tests: tests/datasets/uploads/test_zip_listing.py.
"""

from __future__ import annotations

import os
import re
import stat
import struct
import unicodedata
import zipfile
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import BinaryIO

from nes_lab.datasets.check.listing import IMAGE_SUFFIXES
from nes_lab.datasets.uploads.limits import UploadLimits
from nes_lab.errors import DataError
from nes_lab.text import format_bytes, list_some

__all__ = ["ZipImages", "check_zip_end", "list_zip"]

_ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".zst", ".7z", ".rar")
_END, _END_BYTES, _END64 = b"PK\5\6", 22, b"PK\6\7"
_LONGEST_COMMENT, _LOCATOR_BYTES = 65_535, 20
_BYTES_PER_FILE = 400
"""Bytes in the list of contents that one file may take on average; a usual entry takes about 100."""
_LONGEST_NAME = 200
_RATIO_FROM = 10 * 2**20
_HIDDEN_KINDS = ("Cc", "Cf", "Cs", "Zl", "Zp")  # control and format characters, among them those that turn text around
_IGNORED = ("__MACOSX", "Thumbs.db", "desktop.ini")
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


@dataclass
class ZipImages:
    """The images of a zip file, and how many other files it holds.

    Attributes:
        entries: The images: the parts of its path, and its entry in the zip file.
        others: Number of files that are not images. They are left out.
    """

    entries: list[tuple[tuple[str, ...], zipfile.ZipInfo]] = field(default_factory=list)
    others: int = 0


def check_zip_end(file: BinaryIO, limits: UploadLimits) -> None:
    """Check the size of a zip file, and the record at its end, which says how long the list of its contents is.

    The list is read into memory, so its length is checked before.

    Raises:
        DataError: If the file is too large, is not a zip file, or its list of contents is too long.
    """
    size = file.seek(0, os.SEEK_END)
    if size > limits.zip_bytes:
        raise DataError(f"The file has {format_bytes(size)}; an upload may have {format_bytes(limits.zip_bytes)}.")
    file.seek(max(0, size - _END_BYTES - _LONGEST_COMMENT - _LOCATOR_BYTES))
    tail = file.read()
    place = tail.rfind(_END)
    if place < 0 or len(tail) - place < _END_BYTES:
        raise DataError("The file is not a zip file, or its end is missing. Make it again, or upload it again.")
    count, length = struct.unpack_from("<HL", tail, place + 10)
    if tail[max(0, place - _LOCATOR_BYTES) : place].startswith(_END64) or count == 0xFFFF or length == 0xFFFFFFFF:
        raise DataError(
            f"The file is a zip file of the large kind (zip64), for more than 65,535 files; an upload may hold {limits.files:,}."
        )
    if count > limits.files or length > limits.files * _BYTES_PER_FILE:
        raise DataError(f"The zip file lists too many files; an upload may hold {limits.files:,}.")
    file.seek(0)


def list_zip(opened: zipfile.ZipFile, limits: UploadLimits) -> ZipImages:
    """List the images of a zip file by its list of contents. Files that are not images are counted and left out.

    Raises:
        DataError: If the file is over a limit, or holds what an upload may not hold: links, devices, encrypted files, other archives,
            paths that lead out of the folder, unreadable characters in names, or one path twice.
    """
    infos = opened.infolist()
    _check_sizes(infos, limits)
    images, seen = ZipImages(), set()
    for info in infos:
        parts = _parts(info, limits)
        _check_kind(info)
        if info.is_dir() or _is_ignored(parts):
            continue
        if (key := unicodedata.normalize("NFKC", "/".join(parts)).casefold()) in seen:
            raise DataError(
                f"The zip file holds {_shown(info)} twice, or in two spellings that differ only in letter case or accents."
            )
        seen.add(key)
        _add(images, parts, info)
    if not images.entries:
        raise DataError(f"The zip file holds no image. Images end in {', '.join(IMAGE_SUFFIXES)}.")
    return images


def _add(images: ZipImages, parts: tuple[str, ...], info: zipfile.ZipInfo) -> None:
    suffix = PurePosixPath(parts[-1]).suffix.lower()
    if suffix in _ARCHIVES:
        raise DataError(f"The zip file holds another archive, {_shown(info)}. Unpack it first.")
    if suffix in IMAGE_SUFFIXES:
        images.entries.append((parts, info))
    else:
        images.others += 1


def _check_sizes(infos: list[zipfile.ZipInfo], limits: UploadLimits) -> None:
    if len(infos) > limits.files:
        raise DataError(f"The zip file lists {len(infos):,} files; an upload may hold {limits.files:,}.")
    unpacked, packed = sum(info.file_size for info in infos), sum(info.compress_size for info in infos)
    if unpacked > limits.bytes:
        raise DataError(f"The files have {format_bytes(unpacked)} unpacked; {format_bytes(limits.bytes)} are allowed.")
    if unpacked > _RATIO_FROM and unpacked > limits.ratio * max(1, packed):
        raise DataError(
            f"The files are {unpacked // max(1, packed):,} times as large unpacked as packed; {limits.ratio} times are "
            "allowed. Images are never packed so well."
        )


def _check_kind(info: zipfile.ZipInfo) -> None:
    """Refuse links, devices, encrypted files, and ways of packing that images do not need."""
    if info.flag_bits & 0x1:
        raise DataError(f"{_shown(info)} in the zip file is encrypted. Make the zip file without a password.")
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise DataError(
            f"{_shown(info)} in the zip file is a {'link' if kind == stat.S_IFLNK else 'device'}, not a file. Leave it out."
        )
    if info.compress_type not in _METHODS:
        raise DataError(f"{_shown(info)} is packed in a way that is not read here. Use an ordinary zip file.")


def _parts(info: zipfile.ZipInfo, limits: UploadLimits) -> tuple[str, ...]:
    """Return the parts of an entry's path. Refuse a path that is not plainly below the folder."""
    name = info.orig_filename  # ZipInfo.filename ends at a NUL
    if any(unicodedata.category(character) in _HIDDEN_KINDS for character in name):
        raise DataError(f"A name in the zip file has invisible characters: {_shown(info)}. Rename the file.")
    if name.startswith("/") or "\\" in name or re.match(r"[A-Za-z]:", name):
        raise DataError(f"The path {_shown(info)} in the zip file is not relative, or holds a backslash.")
    parts = tuple(name.removesuffix("/").split("/"))
    if any(part.strip(". ") == "" for part in parts):
        raise DataError(f"The path {_shown(info)} in the zip file leads out of its folder, or has an empty part.")
    if any(len(os.fsencode(part)) > _LONGEST_NAME for part in parts):
        raise DataError(f"A name in the zip file has more than {_LONGEST_NAME} bytes: {_shown(info)}.")
    if len(parts) - 1 > limits.depth:
        raise DataError(f"{_shown(info)} lies {len(parts) - 1} folders deep; {limits.depth} are allowed.")
    return parts


def _is_ignored(parts: tuple[str, ...]) -> bool:
    return any(part.startswith(".") or part in _IGNORED for part in parts)


def _shown(info: zipfile.ZipInfo) -> str:
    text = repr(info.orig_filename)
    return list_some([text if len(text) <= 80 else text[:77] + "..."])
