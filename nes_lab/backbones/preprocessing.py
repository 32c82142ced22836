"""Say how images were prepared for the weights of a network: as timm's data configuration says, or as a run or a saved folder recorded.

Tests: tests/backbones/test_preprocessing.py
"""

from __future__ import annotations

from typing import Any

from torch import nn

from nes_lab.packages import needed_for
from nes_lab.records.preprocessing import Preprocessing

__all__ = ["ATTRIBUTE", "preprocessing_note", "preprocessing_of", "set_preprocessing", "timm_preprocessing"]

ATTRIBUTE = "nes_lab_preprocessing"


def preprocessing_of(model: nn.Module) -> Preprocessing | None:
    """Return how images were prepared when the weights of a network were trained; None if it is not known.

    The network's attribute ``nes_lab_preprocessing`` says it; without it, timm's data configuration of a network of timm.

    Examples:
        >>> preprocessing_of(nn.Linear(2, 2)) is None
        True
    """
    if hasattr(model, ATTRIBUTE):
        stored: Any = getattr(model, ATTRIBUTE)
        return None if stored is None else Preprocessing.from_dict(stored)
    found: Any = getattr(model, "pretrained_cfg", None)
    return (
        timm_preprocessing(found, str(found.get("architecture") or "")) if isinstance(found, dict) and found else None
    )


def timm_preprocessing(pretrained_cfg: dict[str, Any], name: str) -> Preprocessing:
    """Return timm's data configuration for a network.

    Args:
        pretrained_cfg: The attribute ``pretrained_cfg`` of a network of timm.
        name: Name of the network, for messages.
    """
    with needed_for("timm's data configuration"):
        from timm.data.config import resolve_data_config

    found = resolve_data_config(pretrained_cfg=pretrained_cfg)
    return Preprocessing(
        image_size=int(found["input_size"][-1]),
        interpolation=found["interpolation"],
        crop=float(found["crop_pct"]),
        mean=tuple(found["mean"]),
        std=tuple(found["std"]),
        crop_mode=found["crop_mode"],
        source=f"timm's configuration of {name or 'this network'}",
    )


def preprocessing_note(trained: Preprocessing | None, applied: Preprocessing | None) -> str:
    """Return a sentence if images are prepared in another way than for the weights of a network; otherwise "".

    Args:
        trained: How they were prepared when the weights were trained; None: not known.
        applied: How they are prepared now; None: not known.

    Examples:
        >>> now = Preprocessing(224, "bilinear", 0.875, (0.5,), (0.5,))
        >>> preprocessing_note(Preprocessing(224, "bicubic", 0.9, (0.5,), (0.5,), source="timm"), now)
        'images are prepared with bilinear, crop 0.875, but with bicubic, crop 0.9 for the weights (timm)'
    """
    differ = None if trained is None or applied is None else applied.differences(trained)
    if trained is None or differ is None:
        return ""
    source = f" ({trained.source})" if trained.source else ""
    return f"images are prepared with {differ[0]}, but with {differ[1]} for the weights{source}"


def set_preprocessing(model: nn.Module, preprocessing: Preprocessing | None) -> None:
    """Note at a network how images were prepared when its weights were trained; None notes that it is not known.

    Examples:
        >>> net = nn.Linear(2, 2)
        >>> set_preprocessing(net, Preprocessing(8, "bilinear", None, (0.5,), (0.5,)))
        >>> preprocessing_of(net).interpolation
        'bilinear'
    """
    setattr(model, ATTRIBUTE, None if preprocessing is None else preprocessing.to_dict())
