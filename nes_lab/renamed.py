"""Accept the old names of arguments that have been renamed. A warning tells the user the new name.

Tests: tests/old_files/test_old_files.py.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypeVar

from nes_lab.errors import OptionError

__all__ = [
    "progress_or_callback",
    "progress_or_old_callback",
    "progress_or_old_demo_callback",
    "renamed_arguments",
    "warn_renamed",
]

P = ParamSpec("P")
R = TypeVar("R")
Translate = Callable[[Any], Mapping[str, Any]]


def warn_renamed(old: str, new: str, stacklevel: int = 3) -> None:
    """Warn that a name has changed. The warning shows the line of code that used the old name.

    Args:
        old: The old name, as the user wrote it.
        new: The name to write instead.
        stacklevel: Which line the warning shows. 2 means the line that calls ``warn_renamed``. 3 means the line that
            calls the function in which ``warn_renamed`` is called.

    Examples:
        >>> import warnings
        >>> with warnings.catch_warnings(record=True) as caught:
        ...     warnings.simplefilter("always")
        ...     warn_renamed("weights=", "initial_weights=")
        >>> str(caught[0].message)
        'weights= is now called initial_weights=; the old name still works'
    """
    warnings.warn(f"{old} is now called {new}; the old name still works", FutureWarning, stacklevel=stacklevel)


def renamed_arguments(**old_names: str | Translate) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Return a decorator that lets a function accept keyword arguments under their old names, with a warning.

    ``help`` and the signature of the function show only the new names.

    Args:
        old_names: For each old keyword, either the new keyword, or a function that converts the old argument. Such a function
            gets the value of the old keyword, and returns a dict of new keywords and their values. If this dict has the old
            keyword too, the user is not warned.

    Raises:
        OptionError: If a call gives both the old and the new keyword.

    Examples:
        >>> import warnings
        >>> @renamed_arguments(weights="initial_weights")
        ... def build(initial_weights="fit"):
        ...     return initial_weights
        >>> with warnings.catch_warnings():
        ...     warnings.simplefilter("ignore")
        ...     build(weights="reset")
        'reset'
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            if old_names.keys() & kwargs.keys():
                kwargs = _translated(function.__name__, old_names, kwargs)  # pyright: ignore[reportAssignmentType]
            return function(*args, **kwargs)

        return call

    return decorate


def progress_or_callback(value: Any) -> dict[str, Any]:
    """Convert a value of the argument ``progress=`` from an earlier version to the arguments that a function has now.

    At that time the value could also be a function that was called with each progress event. Such a function now belongs to
    the argument ``on_progress=``. A bool still belongs to ``progress=``.

    Examples:
        >>> progress_or_callback(True), list(progress_or_callback(print))
        ({'progress': True}, ['on_progress'])
    """
    return {"on_progress": value} if callable(value) else {"progress": value}


def progress_or_old_callback(value: Any) -> dict[str, Any]:
    """Convert a value of a training function's argument ``progress=`` from an earlier version to the arguments that it has now.

    At that time the value could also be a function that was called with each progress event. Such a function now belongs to
    the argument ``on_progress=``. A bool still belongs to ``progress=``, and None means ``progress=False``.

    The events of that time had the entries ``step`` (number of units of work done) and ``eta_s`` (seconds left). The user's
    function still gets them.

    Examples:
        >>> progress_or_old_callback(lambda event: print(event["step"]))["on_progress"]({"done": 3, "total": 4})
        3
    """
    if not callable(value):
        return {"progress": False if value is None else value}
    return {"on_progress": lambda event: value({**event, "step": event["done"], "eta_s": event.get("seconds_left")})}


def progress_or_old_demo_callback(value: Any) -> dict[str, Any]:
    """Convert a value of the demo's argument ``progress=`` from an earlier version to the arguments that it has now.

    At that time the value could also be a function that was called with each progress event. Such a function now belongs to
    the argument ``on_progress=``. A bool still belongs to ``progress=``, and None means ``progress=False``.

    The events of that time had other entries than those of today: ``eta_s`` (seconds left), and ``running`` as a list with one
    text per network in training. The user's function still gets these entries.

    Examples:
        >>> event = {"done": 1, "total": 2, "running": {"dense": 0.5}}
        >>> progress_or_old_demo_callback(lambda event: print(event["running"]))["on_progress"](event)
        ['dense 50%']
    """
    if not callable(value):
        return {"progress": False if value is None else value}

    def call(event: Mapping[str, Any]) -> None:
        running = [f"{name} {share:.0%}" for name, share in event.get("running", {}).items()]
        value({**event, "running": running, "eta_s": event.get("seconds_left")})

    return {"on_progress": call}


def _translated(name: str, old_names: Mapping[str, str | Translate], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    new = {key: value for key, value in kwargs.items() if key not in old_names}
    for old in old_names.keys() & kwargs.keys():
        rule, value = old_names[old], kwargs[old]
        replaced = {rule: value} if isinstance(rule, str) else dict(rule(value))
        if old not in replaced:
            warn_renamed(f"{name}({old}=...)", ", ".join(f"{key}=" for key in replaced), stacklevel=5)
        for key in replaced:
            if key in new:
                raise OptionError(f"{name}() got {old}= and {key}=, its new name; give {key}= alone")
        new |= replaced
    return new
