"""Call a function of NES Lab as soon as a package of the user has been imported, without importing that package.

Tests: tests/export/test_hugging_face.py
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType

__all__ = ["call_after"]


def call_after(first: str, then: str) -> None:
    """Call a function when the module ``first`` has been imported; at once if it was imported before.

    If the function needs a package that is missing, nothing happens.

    Args:
        first: Name of a module of another package, which may not be installed.
        then: A function without arguments, as ``"package.module:function"``. Its module is imported then, and not before.

    Examples:
        >>> import sys
        >>> call_after("a_package_of_the_user", "nes_lab.export.hugging_face:register")
        >>> _ = sys.meta_path.pop(0)
    """
    if first in sys.modules:
        _call(then)
    else:
        sys.meta_path.insert(0, _Finder(first, then))


def _call(name: str) -> None:
    module, _, function = name.partition(":")
    try:
        getattr(import_module(module), function)()
    except ImportError:  # such as another version of the package; its import must not fail because of NES Lab
        return


class _Finder(MetaPathFinder):
    """Finds one module as the other finders do, and makes its loader call a function afterwards."""

    def __init__(self, first: str, then: str) -> None:
        self.first, self.then = first, then

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name != self.first:
            return None
        sys.meta_path.remove(self)
        spec = find_spec(name)
        loader = None if spec is None else spec.loader
        if loader is not None:
            execute = loader.exec_module

            def execute_both(module: ModuleType) -> None:
                execute(module)
                _call(self.then)

            loader.exec_module = execute_both  # type: ignore[method-assign]
        return spec
