"""One model of every timm architecture family, the smallest: what the zoo takes all the way."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path
from typing import Any

import torch

from nes_lab.errors import OptionError, closest

__all__ = ["Family", "families", "smallest_model"]

_LIST = Path(__file__).with_name("families.json")


@dataclass(frozen=True)
class Family:
    """A timm model module and its smallest model.

    Args:
        name: Of the module, such as ``"mobilenetv3"``.
        model: The model with the fewest params; of equal ones that with the smaller input, then the first by name.
        params: Of the model.
        input_size: Its default input, ``(channels, height, width)``.
    """

    name: str
    model: str
    params: int
    input_size: tuple[int, int, int]


def families() -> dict[str, Family]:
    """All families by name, as committed; :func:`smallest_model` made each.

    Examples:
        >>> families()["mobilenetv3"].model
        'mobilenetv3_small_050'
    """
    rows = json.loads(_LIST.read_text(encoding="utf-8"))["families"]
    return {row["name"]: Family(**(row | {"input_size": tuple(row["input_size"])})) for row in rows}


def smallest_model(family: str) -> Family:
    """Look for the smallest model of a timm module; models are made without numbers.

    The networks that timm keeps for its own tests (``test_*``, a few hundred thousand params) stand for no family.

    Raises:
        OptionError: If timm has no such module; gives the closest names.
    """
    import timm

    if family not in timm.list_modules():
        raise OptionError(f"family={family!r} is no model module of timm.{closest(family, timm.list_modules())}")
    names = [name for name in timm.list_models(module=family) if not name.startswith("test_")]
    return min((_measured(family, name) for name in names), key=_order)


def _measured(family: str, name: str) -> Family:
    import timm

    with torch.device("meta"):
        model = timm.create_model(name, pretrained=False)
    config: Any = model.default_cfg
    params = sum(p.numel() for p in model.parameters())
    return Family(name=family, model=name, params=params, input_size=tuple(config["input_size"]))


def _order(found: Family) -> tuple[int, int, str]:
    return found.params, prod(found.input_size), found.model


def write_list(found: list[Family], timm_version: str) -> None:
    """Commit a new list; ``benchmarks/zoo.py --families`` does."""
    rows = [asdict(family) for family in sorted(found, key=lambda f: f.name)]
    _LIST.write_text(json.dumps({"timm": timm_version, "families": rows}, indent=1) + "\n", encoding="utf-8")
