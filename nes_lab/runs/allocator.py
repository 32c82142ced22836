"""Settings of glibc's memory allocator for processes that train on a CPU.

By default glibc returns a large tensor to the system when it is freed, and fetches its pages again for the next one. A training
step frees and allocates all its large tensors, so fetching pages takes up to a fifth of its time (docs/speed.md has the
measurement). These settings keep freed memory for the next step, and use huge pages where the system offers them. They change no
number that is computed.

Tests: tests/runs/test_allocator.py.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Mapping

__all__ = ["allocator_settings", "keep_freed_memory"]

_SETTINGS = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(1 << 40),
    "MALLOC_TOP_PAD_": str(64 << 20),
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
}
_CHOSEN_BY_USER = ("LD_PRELOAD", "GLIBC_TUNABLES", "MALLOC_")
"""Beginnings of the names of variables that choose or set up an allocator."""
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4
_LARGEST_INT = 2**31 - 1


def allocator_settings(environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment variables that make a new process keep the memory it frees.

    Args:
        environment: Environment variables of the new process; None means those of this process.

    Returns:
        Variables to add. None are added on a system other than Linux, or if the environment already chooses an allocator or
        sets it up, as with ``LD_PRELOAD`` or ``MALLOC_TRIM_THRESHOLD_``.

    Examples:
        >>> allocator_settings({"LD_PRELOAD": "libtcmalloc.so"})
        {}
    """
    given = os.environ if environment is None else environment
    return {} if sys.platform != "linux" or any(name.startswith(_CHOSEN_BY_USER) for name in given) else dict(_SETTINGS)


def keep_freed_memory() -> bool:
    """Make this process keep the memory it frees, for a command that trains in the process itself.

    Huge pages can only be chosen before a process starts, so :func:`allocator_settings` is a little faster.

    Returns:
        Whether the allocator was set up. It is left as it is where :func:`allocator_settings` would add nothing, and where the C
        library is not glibc.
    """
    if not allocator_settings():
        return False
    library = ctypes.CDLL(None)
    if not hasattr(library, "gnu_get_libc_version"):  # musl has no such settings
        return False
    wanted = ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, _LARGEST_INT), (_TOP_PAD, 64 << 20))
    answers = [library.mallopt(name, value) for name, value in wanted]  # all, also if one is refused
    return all(answers)
