"""Write and read small files so that a crash does not damage them. Also shorten logs, and hash files.

A file is replaced in one step, or a line is appended. Reading skips a line that a crash has cut short. Symbolic links
are never followed.

Tests: tests/runs/test_writer.py.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from nes_lab.errors import RunError
from nes_lab.runs.replace import replace_bytes

__all__ = [
    "append_line",
    "as_json",
    "explain",
    "open_to_append",
    "overwrite",
    "parsed_lines",
    "read_bytes",
    "read_json",
    "read_lines",
    "read_part",
    "read_tail",
    "remove",
    "rotate",
    "sha256_of",
    "write_bytes",
    "write_json",
]


def write_json(path: Path, content: Any, durable: bool = True) -> None:
    """Write ``content`` as JSON to a file in one step. Other processes see the old file or the new one, never a part of it.

    Args:
        path: The file.
        content: Anything that JSON can hold. Arrays and numbers of numpy and torch become lists and numbers.
        durable: Whether to wait until the disk has stored the file.

    Raises:
        RunError: If the file cannot be written.
    """
    write_bytes(path, as_json(content), durable)


def as_json(content: Any) -> bytes:
    """Return a value as JSON text in bytes. Arrays and numbers of numpy and torch become lists and numbers."""
    return (json.dumps(content, indent=1, default=_plain) + "\n").encode()


def write_bytes(path: Path, data: bytes, durable: bool = True) -> None:
    """Write bytes to a file in one step. Other processes see the old file or the new one, never a part of it.

    Args:
        path: The file.
        data: The bytes.
        durable: Whether to wait until the disk has stored the file.

    Raises:
        RunError: If the file cannot be written, or the path is a device or another special file.
    """
    try:
        replace_bytes(path, data, durable)
    except OSError as error:
        raise RunError(f"{path} cannot be written: {explain(error)}") from error


def explain(error: OSError) -> str:
    """Return a text that explains why a file could not be written. If the disk is full or read-only, the text also says what to do."""
    text = error.strerror or str(error)
    return text + _CURES.get(error.errno or 0, "")


_ROOM = "; free some space, then continue with nes-lab resume"
_CURES = {
    errno.ENOSPC: _ROOM,
    errno.EDQUOT: _ROOM,
    errno.EROFS: "; make it writable, then continue with nes-lab resume",
}


def overwrite(path: Path, data: bytes) -> None:
    """Write bytes over the content of an existing file. This needs no space for a second file.

    After a crash the file may hold a mixture of old and new bytes.

    Raises:
        OSError: If the file cannot be written.
    """
    handle = os.open(path, os.O_WRONLY | getattr(os, "O_NOFOLLOW", 0))
    try:
        os.pwrite(handle, data, 0)
        os.ftruncate(handle, len(data))
    finally:
        os.close(handle)


def read_bytes(path: Path) -> bytes:
    """Return the bytes of a regular file.

    Raises:
        FileNotFoundError: If there is no file.
        RunError: If the path is a link or a folder, or the file cannot be read.
    """
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
        with open(handle, "rb") as file:
            return file.read()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror or error}") from error


def read_part(path: Path, begin: int, most: int) -> bytes:
    """Return at most ``most`` bytes of a regular file, from the byte ``begin`` on.

    Raises:
        FileNotFoundError: If there is no file.
        RunError: If the path is a link, or the file cannot be read.
    """
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
        with open(handle, "rb") as file:
            return os.pread(file.fileno(), most, begin)
    except FileNotFoundError:
        raise
    except (OSError, OverflowError) as error:
        raise RunError(f"{path} cannot be read: {error}") from error


def read_json(path: Path) -> dict[str, Any]:
    """Return the JSON object that a file holds.

    Raises:
        FileNotFoundError: If there is no file.
        RunError: If the file does not hold a JSON object.
    """
    try:
        content = json.loads(read_bytes(path))
    except (ValueError, RecursionError) as error:
        raise RunError(f"{path} is damaged: {error}") from error
    if not isinstance(content, dict):
        raise RunError(f"{path} is damaged: it holds a {type(content).__name__} instead of an object")
    return content


def append_line(handle: int, row: dict[str, Any], name: str = "") -> None:
    """Append one row as a line of JSON to an open file. If the process is killed, only this line can be cut short.

    Args:
        handle: Handle of the file, open for appending.
        row: The row, as a mapping from name to value.
        name: Name of the file, for the error message.

    Raises:
        RunError: If the row cannot be written.
    """
    data = (json.dumps(row, default=_plain) + "\n").encode()
    try:
        while data:
            data = data[os.write(handle, data) :]
    except OSError as error:
        raise RunError(f"a row cannot be appended to {name or 'a file'}: {explain(error)}") from error


def open_to_append(path: Path) -> int:
    """Open a file of lines for appending, and return its handle. The file is created if there is none.

    If a crash cut the last line short, a line break is added.

    Raises:
        RunError: If the file cannot be opened for writing.
    """
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0), 0o644)
        size = os.fstat(handle).st_size
        if size and os.pread(handle, 1, size - 1) != b"\n":
            os.write(handle, b"\n")
    except OSError as error:
        raise RunError(f"{path} cannot be opened for writing: {explain(error)}") from error
    return handle


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of a file with one JSON object per line.

    Lines that a crash cut short or that are not JSON objects are skipped. A missing file has no rows.
    """
    try:
        data = read_bytes(path)
    except FileNotFoundError:
        return
    yield from parsed_lines(data.split(b"\n"))


def parsed_lines(lines: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    """Yield the JSON objects that some lines hold. Other lines are skipped.

    Examples:
        >>> list(parsed_lines([b'{"step": 1}', b'{"step"', b"3"]))
        [{'step': 1}]
    """
    for line in lines:
        with contextlib.suppress(ValueError, RecursionError):
            row = json.loads(line)
            if isinstance(row, dict):
                yield row


def read_tail(path: Path, lines: int, most: int = 1 << 16) -> str:
    """Return the last lines of a text file as one text. The text is empty if the file cannot be opened.

    Args:
        path: The file.
        lines: Largest number of lines to return.
        most: Largest number of bytes to read from the end of the file.
    """
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
    except OSError:
        return ""
    with open(handle, "rb") as file:
        file.seek(max(0, os.fstat(handle).st_size - most))
        text = file.read().decode(errors="replace")
    return "\n".join(text.splitlines()[-lines:]) if lines > 0 else ""


def rotate(path: Path, most: int, keep: int) -> None:
    """Empty a log file that is too large, and save the end of it as ``<name>.1``.

    The file is too large if it has more than ``most`` bytes. The saved end has ``keep`` bytes. A smaller log file is not
    changed.
    """
    with contextlib.suppress(FileNotFoundError):
        if path.is_symlink() or path.stat().st_size <= most:
            return
        with open(path, "r+b") as file:
            file.seek(-keep, os.SEEK_END)
            write_bytes(path.with_name(path.name + ".1"), file.read(), durable=False)
            # The training process keeps the log open, so the file is emptied and not replaced.
            file.truncate(0)


def remove(path: Path) -> None:
    """Delete a file if it exists."""
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
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")
