"""List the smallest model of every timm family. A family is a module of timm with related models."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path
from typing import Any

import torch

from nes_lab.errors import OptionError, closest
from nes_lab.runs.replace import write_target

__all__ = ["FAMILIES_FILE", "Family", "families", "smallest_model", "write_list"]

FAMILIES_FILE = Path(__file__).with_name("families.json")


@dataclass(frozen=True)
class Family:
    """A timm family (a module of timm with related models) and its smallest model.

    Args:
        name: Name of timm's module, such as ``"mobilenetv3"``.
        model: Name of the model with the fewest params. If several models have equally few params, the one with the smallest
            input is taken. If these inputs are equal too, the first name in the alphabet is taken.
        params: Number of params of the model.
        input_size: Default input of the model, ``(channels, height, width)``.
    """

    name: str
    model: str
    params: int
    input_size: tuple[int, int, int]


def families() -> dict[str, Family]:
    """Return the timm families listed in the file ``families.json``, by name.

    Examples:
        >>> families()["mobilenetv3"].model
        'mobilenetv3_small_050'
    """
    rows = json.loads(FAMILIES_FILE.read_text(encoding="utf-8"))["families"]
    return {row["name"]: Family(**(row | {"input_size": tuple(row["input_size"])})) for row in rows}


def smallest_model(family: str) -> Family:
    """Return a timm family (a module of timm with related models) and facts about its model with the fewest params.

    Models that timm keeps for its own tests (``test_*``) are ignored.

    Args:
        family: Name of the family, which is the name of timm's module, such as ``"mobilenetv3"``.

    Raises:
        OptionError: If timm has no such module; the message names the closest ones.
    """
    import timm

    if family not in timm.list_modules():
        raise OptionError(f"family={family!r} is not a model module of timm.{closest(family, timm.list_modules())}")
    names = [name for name in timm.list_models(module=family) if not name.startswith("test_")]
    return min((_describe(family, name) for name in names), key=_order)


def _describe(family: str, name: str) -> Family:
    import timm

    # on the meta device weights need no memory
    with torch.device("meta"):
        model = timm.create_model(name, pretrained=False)
    config: Any = model.default_cfg
    params = sum(p.numel() for p in model.parameters())
    return Family(name=family, model=name, params=params, input_size=tuple(config["input_size"]))


def _order(family: Family) -> tuple[int, int, str]:
    return family.params, prod(family.input_size), family.model


def write_list(measured: list[Family], timm_version: str) -> None:
    """Write ``families.json``, the list of timm families with their smallest models.

    Args:
        measured: The families with their smallest models.
        timm_version: Version of timm that the families were read from.
    """
    rows = [asdict(family) for family in sorted(measured, key=lambda f: f.name)]
    write_target(FAMILIES_FILE, json.dumps({"timm": timm_version, "families": rows}, indent=1) + "\n")
