"""Support the flag ``--json``: one JSON value goes to standard output, and all text meant for people to standard error.

Tests: tests/cli/test_train.py
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

__all__ = ["print_json", "stdout_to_stderr"]


@contextlib.contextmanager
def stdout_to_stderr(redirect: bool = True) -> Iterator[None]:
    """While the ``with`` block runs, send all printed text to standard error.

    Text that other libraries print is sent there too. Standard output then holds only the JSON of the command.

    Args:
        redirect: False leaves standard output as it is.
    """
    with contextlib.redirect_stdout(sys.stderr) if redirect else contextlib.nullcontext():
        yield


def print_json(data: Any) -> None:
    """Print dicts, lists, numbers and text as JSON on one line. Tuples become lists, and paths become text."""
    print(json.dumps(data, default=_plain))


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else list(value)
