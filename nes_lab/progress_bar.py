"""A bar on standard error for long work, also such as is timed: nothing redraws it between two pieces of news."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["Show", "showing"]

Show = Callable[[dict[str, Any]], object]
"""Takes the news: ``done``, ``total``, ``phase``, ``label``."""


@contextmanager
def showing(progress: bool | Show, what: str = "tuning") -> Iterator[Show]:
    """What to tell the news to: the function given, a bar for True, nothing for False.

    Args:
        progress: As the user gave it.
        what: What is being done, before the phase.

    Examples:
        >>> with showing(False) as show:
        ...     show({"done": 1, "total": 2, "phase": "layers", "label": "conv1"})
    """
    if not isinstance(progress, bool):
        yield progress
        return
    if not progress:
        yield lambda news: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn(f"{what} {{task.fields[phase]}}"), BarColumn(), TimeElapsedColumn())
    label = TextColumn("{task.fields[label]}")
    # no thread redraws the bar: it would take time from what is timed
    with Progress(*columns, label, console=Console(stderr=True), auto_refresh=False) as bars:
        task = bars.add_task(what, phase="layers", label="")
        yield lambda news: bars.update(
            task, completed=news["done"], total=news["total"], phase=news["phase"], label=news["label"], refresh=True
        )
