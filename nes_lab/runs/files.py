"""Small files that survive a crash: atomic replacement, appended lines, tolerant reading. Links are never followed."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nes_lab.errors import RunError

__all__ = [
    "append_line",
    "as_json",
    "explain",
    "open_to_append",
    "overwrite",
    "read_bytes",
    "read_json",
    "read_lines",
    "read_tail",
    "remove",
    "rotate",
    "sha256_of",
    "sync",
    "write_bytes",
    "write_json",
]

TEMPORARY = ".tmp-"


def write_json(path: Path, content: Any, durable: bool = True) -> None:
    """Replace ``path`` by ``content`` in one step: a reader sees the old file or the new one, never a part.

    Args:
        path: The file.
        content: Anything JSON can hold; numbers of numpy and torch are taken by value.
        durable: Wait until the disk has it. False is enough for heartbeats.
    """
    write_bytes(path, as_json(content), durable)


def as_json(content: Any) -> bytes:
    """Return the bytes :func:`write_json` writes."""
    return (json.dumps(content, indent=1, default=_plain) + "\n").encode()


def write_bytes(path: Path, data: bytes, durable: bool = True) -> None:
    """Replace ``path`` by ``data`` in one step."""
    temporary = path.with_name(f"{TEMPORARY}{path.name}-{os.getpid()}-{os.urandom(3).hex()}")
    try:
        with open(temporary, "xb") as file:
            file.write(data)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        os.replace(temporary, path)
        if durable:
            sync(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise RunError(f"{path} cannot be written: {explain(error)}") from error


def explain(error: OSError) -> str:
    """Say what keeps a file from being written, and what helps."""
    text = error.strerror or str(error)
    return text + _CURES.get(error.errno or 0, "")


_ROOM = "; make room, then go on with nes-lab resume"
_CURES = {errno.ENOSPC: _ROOM, errno.EDQUOT: _ROOM, errno.EROFS: "; make it writable, then go on with nes-lab resume"}


def overwrite(path: Path, data: bytes) -> None:
    """Write over a file in place, for a disk so full that it holds no second file: better than an old truth.

    Raises:
        OSError: If even that is not possible.
    """
    handle = os.open(path, os.O_WRONLY | getattr(os, "O_NOFOLLOW", 0))
    try:
        os.pwrite(handle, data, 0)
        os.ftruncate(handle, len(data))
    finally:
        os.close(handle)


def sync(path: Path) -> None:
    """Wait until the disk has a file's bytes, or a folder's names."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read_bytes(path: Path) -> bytes:
    """Read a regular file; a link is refused.

    Raises:
        FileNotFoundError: If nothing is there.
        RunError: If it is a link, not a file, or cannot be read.
    """
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
        with open(handle, "rb") as file:
            return file.read()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror or error}") from error


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        FileNotFoundError: If nothing is there.
        RunError: If it does not hold a JSON object.
    """
    try:
        content = json.loads(read_bytes(path))
    except (ValueError, RecursionError) as error:
        raise RunError(f"{path} is damaged: {error}") from error
    if not isinstance(content, dict):
        raise RunError(f"{path} is damaged: it holds a {type(content).__name__} where an object is wanted")
    return content


def append_line(handle: int, row: dict[str, Any], name: str = "") -> None:
    """Append one row to an open file in one write, so that lines of a killed writer are whole or last.

    Args:
        handle: The file, open for appending.
        row: What to write.
        name: The file's name, for the message.

    Raises:
        RunError: If the disk does not take it.
    """
    data = (json.dumps(row, default=_plain) + "\n").encode()
    try:
        while data:
            data = data[os.write(handle, data) :]
    except OSError as error:
        raise RunError(f"a row cannot be appended to {name or 'a file'}: {explain(error)}") from error


def open_to_append(path: Path) -> int:
    """Open a file of lines; a torn last line is closed, so that the next row begins on its own line."""
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0), 0o644)
        size = os.fstat(handle).st_size
        if size and os.pread(handle, 1, size - 1) != b"\n":
            os.write(handle, b"\n")
    except OSError as error:
        raise RunError(f"{path} cannot be opened for writing: {explain(error)}") from error
    return handle


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of a file of JSON lines; torn or foreign lines are passed over. No file, no rows."""
    try:
        data = read_bytes(path)
    except FileNotFoundError:
        return
    for line in data.split(b"\n"):
        with contextlib.suppress(ValueError, RecursionError):
            row = json.loads(line)
            if isinstance(row, dict):
                yield row


def read_tail(path: Path, lines: int, most: int = 1 << 16) -> str:
    """Return the last lines of a text file, reading at most ``most`` bytes."""
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
    except OSError:
        return ""
    with open(handle, "rb") as file:
        file.seek(max(0, os.fstat(handle).st_size - most))
        text = file.read().decode(errors="replace")
    return "\n".join(text.splitlines()[-lines:]) if lines > 0 else ""


def rotate(path: Path, most: int, keep: int) -> None:
    """Shorten a log that outgrew ``most`` bytes: its last ``keep`` bytes move to ``<name>.1``, the file starts anew.

    The file itself stays in place, because the training process holds it open for appending.
    """
    with contextlib.suppress(FileNotFoundError):
        if path.is_symlink() or path.stat().st_size <= most:
            return
        with open(path, "r+b") as file:
            file.seek(-keep, os.SEEK_END)
            write_bytes(path.with_name(path.name + ".1"), file.read(), durable=False)
            file.truncate(0)


def remove(path: Path) -> None:
    """Remove a file that may already be gone."""
    path.unlink(missing_ok=True)


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file as 64 hex digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):  # arrays and scalars of numpy and torch
        return value.tolist()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no place in a JSON file")
