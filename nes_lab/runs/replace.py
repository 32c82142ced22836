"""Replace a file in one step, and find the file that a path named by the user stands for.

Tests: tests/runs/test_replace.py, tests/house/test_writes.py.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from pathlib import Path

__all__ = ["TEMPORARY", "replace_bytes", "sync", "target_of", "write_target"]

TEMPORARY = ".tmp-"
_KINDS = {
    stat.S_IFDIR: "folder",
    stat.S_IFCHR: "device",
    stat.S_IFBLK: "device",
    stat.S_IFIFO: "named pipe",
    stat.S_IFSOCK: "socket",
}


def target_of(path: str | Path) -> Path:
    """Return the file to replace when the user asks to write to ``path``. Symbolic links are followed.

    Without this, a rename onto a link would leave the file behind the link as it was, and a rename onto a device would put a
    regular file in its place.

    Args:
        path: The path that the user named. The file need not exist.

    Raises:
        OSError: If ``path`` exists and is not a regular file, or its folder is missing. ``strerror`` says which.

    Examples:
        >>> target_of("/dev/null")
        Traceback (most recent call last):
        OSError: [Errno 22] it is a device, not a regular file; give the path of a file: '/dev/null'
    """
    with contextlib.suppress(FileNotFoundError):  # a new file, or a link to one
        _check_regular(Path(path), os.stat(path).st_mode)
    target = Path(os.path.realpath(path))
    if not target.parent.is_dir():
        raise OSError(errno.ENOENT, f"the folder {target.parent} is missing", str(path))
    return target


def _check_regular(path: Path, mode: int) -> None:
    if not stat.S_ISREG(mode):
        kind = _KINDS.get(stat.S_IFMT(mode), "special file")
        raise OSError(errno.EINVAL, f"it is a {kind}, not a regular file; give the path of a file", str(path))


def write_target(path: str | Path, text: str, errors: str = "strict") -> Path:
    """Write text in UTF-8 to a file that the user named, in one step. Return the file that was written.

    Args:
        path: The path that the user named; see :func:`target_of`.
        text: The content of the file.
        errors: What to do with a character that UTF-8 cannot hold, as for ``str.encode``.

    Raises:
        OSError: If ``path`` is not a regular file or cannot be written. The old file is left as it was.
    """
    target = target_of(path)
    replace_bytes(target, text.encode("utf-8", errors), durable=False)
    return target


def replace_bytes(path: Path, data: bytes, durable: bool = True) -> None:
    """Write bytes to a file in one step. A symbolic link at ``path`` is replaced, never followed.

    Args:
        path: The file.
        data: The bytes.
        durable: Whether to wait until the disk has stored the file.

    Raises:
        OSError: If the file cannot be written, or ``path`` is a device, a folder or another special file.
    """
    temporary = path.with_name(f"{TEMPORARY}{path.name}-{os.getpid()}-{os.urandom(3).hex()}")
    with contextlib.suppress(FileNotFoundError):
        if not path.is_symlink():
            _check_regular(path, os.lstat(path).st_mode)
    try:
        with open(temporary, "xb") as file:
            file.write(data)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        os.replace(temporary, path)
        if durable:
            sync(path.parent)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def sync(path: Path) -> None:
    """Wait until the disk has stored the content of a file. For a folder, the content is the list of its files."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
