"""Keep the names of the classes that a network was trained with: as its attribute ``nes_lab_classes``, and in its saved folder.

Tests: tests/backbones/test_class_names.py
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

__all__ = ["ATTRIBUTE", "classes_of", "set_classes"]

ATTRIBUTE = "nes_lab_classes"


def classes_of(model: nn.Module) -> tuple[str, ...] | None:
    """Return the class names that a network was trained with, in the order of its outputs; None if they are not known.

    Examples:
        >>> classes_of(nn.Linear(2, 2)) is None
        True
    """
    names = getattr(model, ATTRIBUTE, None)
    return tuple(names) if isinstance(names, tuple | list) and all(isinstance(name, str) for name in names) else None


def set_classes(model: nn.Module, names: Sequence[str] | None) -> None:
    """Note at a network the class names that it was trained with. Without names, or if one is empty, nothing is noted.

    Examples:
        >>> net = nn.Linear(2, 2)
        >>> set_classes(net, ["cat", "dog"])
        >>> classes_of(net)
        ('cat', 'dog')
    """
    if names and all(isinstance(name, str) and name for name in names):
        setattr(model, ATTRIBUTE, tuple(names))
