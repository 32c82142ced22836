"""Import a function of the user's own that a configuration names as ``package.module:function``.

Such a name is called an import spec. The functions make a network (``backbone.name``) or a data set (``data.name``).

Importing a module runs its code. An import spec is therefore followed only if the user wrote it, never because a file
from elsewhere contains it.

Tests: tests/backbones/test_imported.py, tests/runs/test_imports.py.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from traceback import extract_tb
from types import ModuleType
from typing import Any

from nes_lab.errors import OptionError, closest

__all__ = [
    "check_import_spec",
    "current_folder_importable",
    "folder_importable",
    "import_function",
    "is_import_spec",
    "origin_of",
    "own_names",
    "reason_of",
]

_NAME = r"[^\W\d]\w*"
_SPEC = re.compile(rf"{_NAME}(\.{_NAME})*:{_NAME}(\.{_NAME})*")
_FIELDS = (("backbone", "name"), ("data", "name"))


def is_import_spec(name: object) -> bool:
    """Return True if a name is meant as ``package.module:function``: a text with a colon.

    Examples:
        >>> is_import_spec("my_project.networks:make_network"), is_import_spec("resnet18")
        (True, False)
    """
    return isinstance(name, str) and ":" in name


def check_import_spec(spec: str, argument: str) -> str:
    """Check that a text has the form ``package.module:function`` of an import spec, and return it. Nothing is imported.

    Args:
        spec: The import spec, such as ``"my_project.networks:make_network"``.
        argument: Name of the argument or field that holds it, for the message.

    Raises:
        OptionError: If the spec has another form.

    Examples:
        >>> check_import_spec("my_project.networks:make_network", "backbone.name")
        'my_project.networks:make_network'
    """
    if not _SPEC.fullmatch(spec) or len(spec) > 200:
        raise OptionError(
            f"{argument}={spec[:210]!r}; give 'package.module:function', such as 'my_networks:make_network' for the "
            "function make_network in the file my_networks.py"
        )
    return spec


def own_names(config: Mapping[str, Any]) -> dict[str, str]:
    """Return the functions of the user's own that a configuration names, such as ``package.module:function``.

    The result is a dict from the dotted path of a field to the text in the field.

    Examples:
        >>> own_names({"backbone": {"name": "my_networks:make"}, "data": {"name": "digits"}})
        {'backbone.name': 'my_networks:make'}
    """
    found = {}
    for section, field in _FIELDS:
        values = config.get(section)
        name = values.get(field) if isinstance(values, Mapping) else None
        if isinstance(name, str) and is_import_spec(name):
            found[f"{section}.{field}"] = name
    return found


def import_function(spec: str, argument: str) -> Callable[..., Any]:
    """Import a module and return the function that a text such as ``package.module:function`` names.

    Such a text is called an import spec. A class counts as a function.

    Args:
        spec: The import spec, such as ``"my_project.networks:make_network"``.
        argument: Name of the argument or field that holds it, for messages.

    Raises:
        OptionError: If there is no such module or name, if the code of the module raises an error, or if the name does not
            stand for a function. The message says which of these it is.

    Examples:
        >>> import_function("collections:OrderedDict", "data.name")
        <class 'collections.OrderedDict'>
        >>> import_function("collections:OrderdDict", "data.name")
        Traceback (most recent call last):
        nes_lab.errors.OptionError: ... has no 'OrderdDict'. Did you mean 'OrderedDict'...
    """
    module_name, _, path = check_import_spec(spec, argument).partition(":")
    if module_name == "__main__":
        raise OptionError(
            f"{argument}={spec!r}: other processes cannot import __main__; put the function into a file, such as "
            "my_networks.py, and give 'my_networks:function'"
        )
    module = _import(module_name, f"{argument}={spec!r}")
    found: Any = module
    for part in path.split("."):
        try:
            found = getattr(found, part)
        except AttributeError as error:
            where = f" ({module.__file__})" if getattr(module, "__file__", None) else ""
            names = [name for name in dir(found) if not name.startswith("_")]
            raise OptionError(
                f"{argument}={spec!r}: {module_name}{where} has no {path!r}.{closest(part, names)}"
            ) from error
    if not callable(found):
        raise OptionError(f"{argument}={spec!r} is not a function; it is a value of type {type(found).__name__}")
    return found


def _import(name: str, given: str) -> ModuleType:
    try:
        importlib.invalidate_caches()  # the file may have been written a moment ago
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise OptionError(f"{given}: importing {name} failed, {reason_of(error)}") from error
        ending = " Leave out the ending .py." if name.endswith(".py") else ""
        raise OptionError(
            f"{given}: there is no module {error.name!r}.{ending} Modules are looked for in the present folder "
            f"({_here()}) and on Python's path; PYTHONPATH adds folders to it"
        ) from error
    except (Exception, SystemExit) as error:  # the code of the user's module may raise anything
        raise OptionError(f"{given}: importing {name} failed, {reason_of(error)}") from error


def reason_of(error: BaseException) -> str:
    """Return the kind of an error, its message, and the line of the user's code that raised it, as one short text.

    Examples:
        >>> reason_of(KeyError("x"))
        "KeyError: 'x'"
    """
    frames = [frame for frame in extract_tb(error.__traceback__) if _is_users(frame.filename)]
    where = f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}{where}"


def _is_users(file: str) -> bool:
    """Return True if a file of Python code belongs to the user, not to Python, an installed package or NES Lab."""
    not_theirs = ("<", os.path.dirname(os.__file__), str(Path(__file__).parent))
    return not file.startswith(not_theirs) and "site-packages" not in file


# ---- where a module is found -----------------------------------------------------------------------------------------


def origin_of(spec: str) -> str:
    """Return the folder that must be on Python's path so that the module of an import spec can be imported.

    An import spec is a text such as ``package.module:function``. In this example, the folder is the one that contains the folder
    ``package``. The result is empty if there is no such package or module, or if it is not a file. Nothing is imported.

    Examples:
        >>> origin_of("no_such_module:make")
        ''
    """
    top = spec.partition(":")[0].partition(".")[0]
    try:
        found = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return ""
    if found is None:
        return ""
    places = list(found.submodule_search_locations or ())
    file = places[0] if places else found.origin
    return str(Path(file).absolute().parent) if file and os.path.exists(file) else ""


@contextmanager
def folder_importable(folder: str) -> Iterator[None]:
    """Put a folder at the front of Python's path inside the ``with`` block. An empty text changes nothing."""
    is_new = bool(folder) and folder not in map(os.path.abspath, sys.path)
    if is_new:
        sys.path.insert(0, folder)
    try:
        yield
    finally:
        if is_new and folder in sys.path:
            sys.path.remove(folder)


@contextmanager
def current_folder_importable() -> Iterator[None]:
    """Put the present folder at the end of Python's path inside the ``with`` block."""
    # at the end, so that no file of this folder hides an installed package
    folder = _here()
    is_new = bool(folder) and folder not in map(os.path.abspath, sys.path)
    if is_new:
        sys.path.append(folder)
    try:
        yield
    finally:
        if is_new and folder in sys.path:
            sys.path.remove(folder)


def _here() -> str:
    """Return the present folder; empty if it was deleted."""
    try:
        return os.getcwd()
    except FileNotFoundError:
        return ""
