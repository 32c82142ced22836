"""Count the params and multiply-adds of every backbone, and write the list that the app's picker shows.

    python -m benchmarks.backbones            # about a quarter of an hour on one core; networks that are counted already are skipped
    python -m benchmarks.backbones --redo     # count all again

Networks are made on torch's device meta, which stores no weights, and are counted at their own default input. Each is counted
with 1,000 classes; our own networks with 10. Numbers of the smaller inputs and other classes of a data set come from the plan.
"""

from __future__ import annotations

import argparse
import json
import warnings
from typing import Any

import torch
from rich.progress import track

import nes_lab
from nes_lab.backbones.registry import backbone_names, create_backbone
from nes_lab.records.backbone_list import BACKBONE_LIST, OWN_FAMILY, OWN_INPUTS, USUAL_INPUT
from nes_lab.runs.replace import write_target

SAVE_EVERY = 20
OWN_CLASSES = 10
SIDES = (8, 32, 64, 128, 192)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks/backbones.py", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--redo", action="store_true", help="count all networks again")
    options = parser.parse_args(arguments)
    import timm

    names = [name for name in backbone_names() if not name.startswith("test_")]
    rows = {} if options.redo else _kept(timm.__version__)
    for name in names:  # also a list that was broken off holds every name
        rows.setdefault(name, facts_of(name))
    waiting = [name for name in names if "params" not in rows[name] and "error" not in rows[name]]
    for number, name in enumerate(track(waiting, "backbones")):
        rows[name] = describe(name)
        if number % SAVE_EVERY == 0:
            _write(rows, names, timm.__version__)
    _write(rows, names, timm.__version__)
    return 0


def _kept(version: str) -> dict[str, Any]:
    kept = json.loads(BACKBONE_LIST.read_text(encoding="utf-8")) if BACKBONE_LIST.exists() else {}
    return kept["backbones"] if kept.get("timm") == version else {}


def describe(name: str) -> dict[str, Any]:
    """Return the facts about a backbone.

    Returns:
        ``input``: its own input; ``smallest``: smallest side of an image that it takes, and ``fixed`` if it takes no other;
        ``family``; ``pretrained``: whether weights can be downloaded; ``params`` and ``madds``, or ``error``.
    """
    own, row = name in OWN_INPUTS, facts_of(name)
    shape = tuple(row["input"])
    try:
        with warnings.catch_warnings(), torch.device("meta"):
            warnings.simplefilter("ignore")
            network = create_backbone(name, in_channels=shape[0], num_classes=OWN_CLASSES if own else None).eval()
            cost = nes_lab.count(network, torch.zeros(1, *shape))
            smallest = shape[-1] if row.get("fixed") or name == "m5" else _smallest(network, shape)
    except Exception as error:  # noqa: BLE001 - a network that cannot be counted is listed without numbers
        return row | {"error": f"{type(error).__name__}: {error}"[:120]}
    return row | {"smallest": smallest, "params": cost.params, "madds": cost.madds}


def facts_of(name: str) -> dict[str, Any]:
    """Return the facts about a backbone that need no counting: its family, its own input, and whether weights are published."""
    import timm

    if name in OWN_INPUTS:
        return {"family": OWN_FAMILY, "input": list(OWN_INPUTS[name])}
    config = timm.get_pretrained_cfg(name)
    family = timm.models.model_entrypoint(name).__module__.rpartition(".")[2]
    if config is None:
        return {"family": family, "input": [3, 224, 224]}
    row = {"family": family, "input": list(config.input_size), "tag": config.tag}
    return row | {key: True for key, holds in _marks(config).items() if holds}


def _marks(config: Any) -> dict[str, bool]:
    return {"pretrained": config.has_weights, "fixed": config.fixed_input_size}


def _smallest(network: torch.nn.Module, shape: tuple[int, ...]) -> int:
    """Return the smallest of some sides of an image with which a network runs; at most the side of its own input."""
    for side in (side for side in SIDES if side < shape[-1]):
        try:
            with torch.no_grad():
                network(torch.zeros(1, shape[0], side, side))
        except Exception:  # noqa: BLE001 - what a network raises at a side that it cannot take is its own choice
            continue
        return side
    return shape[-1]


def _short(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row without the most frequent input, which is left out in the file."""
    return {key: value for key, value in row.items() if (key, value) != ("input", list(USUAL_INPUT))}


def _write(rows: dict[str, Any], names: list[str], version: str) -> None:
    kept = {name: _short(rows[name]) for name in names if name in rows}
    listed = ",\n".join(f'"{name}":{json.dumps(row, separators=(",", ":"))}' for name, row in kept.items())
    write_target(BACKBONE_LIST, f'{{"timm": "{version}", "backbones": {{\n{listed}\n}}}}\n')


if __name__ == "__main__":
    raise SystemExit(main())
