"""Say by which name and arguments the backbone of a model is created again, for the folder of a saved model.

Tests: tests/export/test_loadable.py
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import nn

from nes_lab.errors import OptionError
from nes_lab.export.saved_config import FETCHING_OPTIONS

__all__ = ["stamp_of", "stamps"]

_STAMP = {"name": None, "num_classes": None, "in_channels": 3, "width": 1.0, "options": {}}


def stamp_of(model: nn.Module, backbone: Mapping[str, Any] | str | None) -> dict[str, Any] | None:
    """Return the name and the arguments that create the backbone of a model; None if they are not known.

    Args:
        model: The model. Its attribute ``nes_lab_backbone`` is read.
        backbone: The user's own name or arguments instead; an empty text or dict: none. None: the model's attribute.

    Raises:
        OptionError: If ``backbone`` has no name.
    """
    given: Mapping[str, Any] | None = {"name": backbone} if isinstance(backbone, str) else backbone
    stamp: Mapping[str, Any] | None = getattr(model, "nes_lab_backbone", None) if given is None else given
    if not stamp or stamp.get("name") == "":
        return None
    if "name" not in stamp:
        raise OptionError(f"backbone={dict(stamp)!r} has no 'name'; give the arguments of nes_lab.create_backbone")
    rest = {key: value for key, value in stamp.items() if key not in _STAMP}
    options = {key: value for key, value in {**stamp.get("options", {}), **rest}.items() if key not in FETCHING_OPTIONS}
    return _STAMP | {key: value for key, value in stamp.items() if key in _STAMP} | {"options": options}


def stamps(model: nn.Module, backbone: Mapping[str, Any] | str | None) -> Iterator[dict[str, Any] | None]:
    """Yield the name and the arguments that may create the backbone of a model, the likeliest first.

    A classifier that was replaced has another number of classes than the arguments say. So these are followed by the same
    arguments with the model's own numbers of classes.

    Args:
        model: The model.
        backbone: The user's own name or arguments, as :func:`stamp_of` takes them.
    """
    stamp = stamp_of(model, backbone)
    yield stamp
    if stamp is None or (isinstance(backbone, Mapping) and backbone.get("num_classes") is not None):
        return
    sizes = [
        getattr(model, "num_classes", None),
        *reversed([getattr(m, "out_features", None) for m in model.modules()]),
    ]
    numbers = [size for size in sizes if isinstance(size, int) and not isinstance(size, bool)]
    for number in dict.fromkeys(numbers[:2]):
        if number != stamp["num_classes"]:
            yield stamp | {"num_classes": number}
