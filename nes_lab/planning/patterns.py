"""Find the layers that a user means by a name pattern or a type."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from nes_lab.errors import OptionError, closest

if TYPE_CHECKING:
    from nes_lab.planning.survey import SurveyedLayer

__all__ = ["matching_layers", "pattern_list"]


def pattern_list(argument: str, value: Any) -> list[str]:
    """Return the patterns of ``include=`` or ``exclude=`` as a list.

    Args:
        argument: Name of the option, for messages.
        value: One pattern or several; None gives an empty list.

    Raises:
        OptionError: If a pattern is not a string.

    Examples:
        >>> pattern_list("include", "head*"), pattern_list("include", None)
        (['head*'], [])
    """
    if value is None:
        return []
    patterns = [value] if isinstance(value, str) else list(value) if isinstance(value, Iterable) else [value]
    for pattern in patterns:
        if not isinstance(pattern, str):
            raise OptionError(f"{argument}={value!r}; give name patterns such as 'blocks.*.conv_pw'")
    return patterns


def matching_layers(
    layers: Sequence[SurveyedLayer], argument: str, pattern: str
) -> tuple[tuple[SurveyedLayer, ...], bool]:
    """Return the layers whose names match a pattern. If no name matches, the pattern is read as a type.

    Args:
        layers: Layers of the model, as :func:`~nes_lab.planning.survey.survey` lists them.
        argument: Name of the option that holds the pattern, for messages.
        pattern: A layer name with wildcards as in :mod:`fnmatch`, or the name of a class or kind (``"Conv2d"``, ``"conv2d"``).

    Returns:
        The layers, and True if they matched by name, False if by type.

    Raises:
        OptionError: If no layer matches; the message suggests the closest names.
    """
    named = tuple(layer for layer in layers if fnmatchcase(layer.name, pattern))
    types = {layer.name: (type(layer.module).__name__, layer.kind) for layer in layers}
    typed = tuple(layer for layer in layers if pattern in types[layer.name])
    if not named and not typed:
        known = [*types, *sorted({name for names in types.values() for name in names})]
        raise OptionError(
            f"{argument}={pattern!r} matches no layer of the model, neither by name nor by type.{closest(pattern, known)}"
        )
    return (named, True) if named else (typed, False)
