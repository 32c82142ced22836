"""``--json``: one JSON value on standard output, and everything meant for people on standard error."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

__all__ = ["print_json", "stdout_to_stderr"]


@contextlib.contextmanager
def stdout_to_stderr(aside: bool = True) -> Iterator[None]:
    """Send what is printed to standard error, also what other libraries say, so that it does not end up in the JSON."""
    with contextlib.redirect_stdout(sys.stderr) if aside else contextlib.nullcontext():
        yield


def print_json(data: Any) -> None:
    """Print plain data, tuples as lists and paths as text."""
    print(json.dumps(data, default=_plain))


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else list(value)
