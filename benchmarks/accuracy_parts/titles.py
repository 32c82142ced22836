"""Name networks, contenders, costs and differences in words, for the page and for README."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.accuracy_parts.cells import Cell
from benchmarks.accuracy_parts.study import Part, Study, overlaid
from nes_lab.runs.difference import Difference

__all__ = ["COSTS", "contender", "interval", "minutes", "network", "not_run", "shortened"]

NAMES = {
    "dense": "dense network",
    "width": "narrower network",
    "tiled": "epitomes, tiled starts",
    "stride": "epitomes, starts in steps",
    "free": "epitomes, learned starts (`free`)",
    "learner": "epitomes, index learner",
    "joint": "epitomes, joint scope, tiled starts",
    "random": "epitomes, joint scope, random starts",
    "shared": "one shared epitome, sums of two windows",
    "patch2": "epitomes, index learner, patches of 2 channels",
    "patch8": "epitomes, index learner, patches of 8 channels",
    "input_axis": "epitomes on input channels only, tiled starts",
    "output_axis": "epitomes on output channels only, tiled starts",
    "random_axes": "epitomes, separable, random starts",
    "joint_free": "epitomes, joint scope, learned starts (`free`)",
    "separable": "epitomes, separable, tiled starts",
    "separable_int8": "epitomes in int8, separable, tiled starts",
    "shared8": "one shared epitome, two windows, patches of 8 channels",
    "shared_stage": "one shared epitome per stage, two windows",
    "shared_one": "one shared epitome, one window",
    "shared_four": "one shared epitome, four windows",
    "width_int8": "narrower network, weights in int8",
    "shared_int8": "one shared epitome in int8, sums of two windows",
    "generated": "weights generated from random bases",
    "lowrank": "split convolutions of low rank (Tucker)",
}
COSTS = {"madds": "multiply-adds", "params": "params", "stored_bytes": "stored bytes"}
NETWORKS = {"small_mobilenetv2": "MobileNetV2", "m5": "M5 (1-D convolutions)"}
DATA = {"cifar10": "CIFAR-10", "esc10": "ESC-10", "digits": "digits"}


def contender(name: str) -> str:
    """Return what a contender is in words."""
    return NAMES.get(name, name)


def network(study: Study, part: Part) -> str:
    """Return the network and the data set of a part in words.

    Args:
        study: The study.
        part: One of its parts.
    """
    title, epochs = _title_and_epochs(study, part)
    return f"{title}, {epochs} epoch{'' if epochs == 1 else 's'}" if shortened(study, part) else title


def shortened(study: Study, part: Part) -> bool:
    """Return whether another part of the study trains the same network on the same data for more epochs."""
    title, epochs = _title_and_epochs(study, part)
    others = (_title_and_epochs(study, other) for other in study.parts)
    return any(other == title and more > epochs for other, more in others)


def _title_and_epochs(study: Study, part: Part) -> tuple[str, int]:
    tree: Mapping[str, Any] = overlaid(study.base, part.config)
    name = str(tree["backbone"]["name"])
    shown = NETWORKS.get(name, name.replace("cifar_resnet", "ResNet-"))
    data = str(tree["data"]["name"]).rpartition(":")[2]
    size = tree["data"].get("image_size")
    return f"{shown} on {DATA.get(data, data)}{f' at {size} px' if size else ''}", tree.get("training", {}).get(
        "epochs", 0
    )


def interval(difference: Difference | None) -> str:
    """Return a difference in points with its interval, such as ``+0.30 (-0.10 to +0.70)``."""
    if difference is None:
        return "–"
    if not difference.is_known:
        return f"{difference.value:+.2f} (no interval)"
    return f"{difference.value:+.2f} ({difference.low:+.2f} to {difference.high:+.2f})"


def minutes(seconds: float) -> str:
    """Return processor seconds as text with a fitting unit, such as ``"25 min"``."""
    return f"{seconds / 3600:.1f} h" if seconds >= 5400 else f"{max(seconds / 60, 1):.0f} min"


def not_run(cell: Cell) -> str:
    """Return that a cell was not run, with the processor time that its missing trainings would take."""
    price = "price not known" if cell.price is None else f"about {minutes(cell.price)}"
    return f"not run ({cell.missing} training{'' if cell.missing == 1 else 's'}, {price})"
