"""Define the file that carries a run to another machine, and check such a file before anything in it is used.

The file is a zip archive. Its member ``pack.json`` names the run, and the size and SHA-256 of each file. The members below
``run/`` are the files of the run. An archive with anything else in it is refused.

Tests: tests/runs/test_pack.py.
"""

from __future__ import annotations

import json
import re
import stat
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nes_lab.errors import RunError
from nes_lab.runs import layout

__all__ = ["ARCHIVE_FORMAT", "ARCHIVE_VERSION", "CONTENTS", "MEMBERS", "NOT_MOVED", "Archive", "read_archive"]

ARCHIVE_FORMAT, ARCHIVE_VERSION = "nes-lab-run", 1
CONTENTS, MEMBERS = "pack.json", "run/"
NOT_MOVED = (layout.LOCK, layout.CLAIM, layout.CANCEL, layout.REPORT)
"""Files that belong to processes of one machine, or that can be written again."""

_NEEDED = (layout.RUN, layout.CONFIG, layout.STATUS, f"{layout.CHECKPOINTS}/{layout.MANIFEST}")
_PART = r"[A-Za-z0-9_][A-Za-z0-9._-]{0,150}"
_NAME = re.compile(rf"{_PART}(/{_PART}){{0,3}}")
_MAX_CONTENTS, _MAX_FILES = 1 << 26, 100_000


@dataclass(frozen=True)
class Archive:
    """The checked list of contents of a packed run.

    Attributes:
        run_id: Id that the run had where it was packed.
        files: Size in bytes and SHA-256 of each file of the run, by its path inside the run's folder.
    """

    run_id: str
    files: Mapping[str, tuple[int, str]]

    @property
    def size(self) -> int:
        """Size of all files of the run together, in bytes."""
        return sum(size for size, _ in self.files.values())


def read_archive(file: zipfile.ZipFile, path: Path) -> Archive:
    """Read the list of contents of a packed run, and check that the archive holds these files and nothing else.

    The files themselves are not read.

    Args:
        file: The open archive.
        path: Path of the archive, for messages.

    Raises:
        RunError: If the archive is not a packed run, has another version, or holds a path or a kind of file that may not be in a run.
    """
    members = {info.filename: info for info in file.infolist()}
    about = _contents(file, members.get(CONTENTS), path)
    files = {name: _size_and_hash(name, entry, path) for name, entry in about["files"].items()}
    wanted = {CONTENTS, *(MEMBERS + name for name in files)}
    if len(file.infolist()) != len(members) or set(members) != wanted:
        other = sorted(set(members) ^ wanted) or ["one name twice"]
        raise RunError(
            f"{path} is refused: its contents differ from its list in {CONTENTS}, first in {other[0]!r:.200}"
        )
    for name, (size, _) in files.items():
        _check_member(members[MEMBERS + name], size, path)
    if missing := [name for name in _NEEDED if name not in files]:
        raise RunError(f"{path} is not a complete run: {missing[0]} is missing")
    return Archive(layout.check_id(about.get("id")), files)


def _contents(file: zipfile.ZipFile, member: zipfile.ZipInfo | None, path: Path) -> dict[str, Any]:
    if member is None or member.file_size > _MAX_CONTENTS:
        raise RunError(
            f"{path} is not a packed run: it has no list of contents, {CONTENTS}; nes-lab runs pack writes one"
        )
    try:
        about = json.loads(file.read(member))
    except (ValueError, RecursionError, OSError, RuntimeError, NotImplementedError, zipfile.BadZipFile) as error:
        raise RunError(f"{path} is damaged: {CONTENTS} cannot be read ({str(error)[:200]})") from error
    if not isinstance(about, dict) or about.get("format") != ARCHIVE_FORMAT:
        raise RunError(f"{path} is not a packed run; nes-lab runs pack writes one")
    if about.get("schema_version") != ARCHIVE_VERSION:
        raise RunError(
            f"{path} has schema_version={about.get('schema_version')!r}, and this NES Lab reads {ARCHIVE_VERSION}: "
            "import it with the version that packed it"
        )
    if not isinstance(about.get("files"), dict) or len(about["files"]) > _MAX_FILES:
        raise RunError(f"{path} is damaged: {CONTENTS} does not list files")
    return about


def _size_and_hash(name: str, entry: Any, path: Path) -> tuple[int, str]:
    if not _NAME.fullmatch(name) or name in NOT_MOVED:
        raise RunError(f"{path} is refused: {name!r:.200} is not the path of a file of a run")
    size, digest = (entry.get("size"), entry.get("sha256")) if isinstance(entry, dict) else (None, None)
    if type(size) is not int or size < 0 or not isinstance(digest, str) or not re.fullmatch("[0-9a-f]{64}", digest):
        raise RunError(f"{path} is damaged: {CONTENTS} does not say the size and SHA-256 of {name}")
    return size, digest


def _check_member(member: zipfile.ZipInfo, size: int, path: Path) -> None:
    kind = stat.S_IFMT(member.external_attr >> 16)
    if kind not in (0, stat.S_IFREG) or member.is_dir() or member.flag_bits & 1:
        raise RunError(
            f"{path} is refused: {member.filename} is a link, a device, a folder or encrypted, not a plain file"
        )
    if member.file_size != size:
        raise RunError(f"{path} is damaged: {member.filename} has {member.file_size:,} bytes instead of {size:,}")
