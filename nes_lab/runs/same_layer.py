"""Find runs whose network has the same layer as a given run, so that the page Epitomes can draw them side by side.

Tests: tests/runs/test_same_layer.py
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from nes_lab.errors import RunError
from nes_lab.runs import layout
from nes_lab.runs.info import RunInfo
from nes_lab.runs.query import run_table
from nes_lab.runs.snapshots import snapshot_path, weight_shapes
from nes_lab.runs.store import RunStore
from nes_lab.text import format_number, format_percent

__all__ = ["column_facts", "gradient_note", "one_per_routing", "runs_with_layer"]


def runs_with_layer(
    store: RunStore, chosen: RunInfo, infos: Iterable[RunInfo], layer: str, weight_shape: tuple[int, ...]
) -> list[RunInfo]:
    """Return the other runs of the same backbone whose network has the layer, with a weight of the same shape.

    The first ones are most like the chosen run: of the same group, budget and seed.

    Args:
        store: The folder of all runs.
        chosen: The run to compare with.
        infos: All runs, newest first.
        layer: Name of the layer.
        weight_shape: Shape of the layer's weight.
    """
    backbone = _section(chosen, "backbone").get("name")
    others = [info for info in infos if info.id != chosen.id and _section(info, "backbone").get("name") == backbone]
    found = [info for info in others if _shapes(store, info).get(layer) == weight_shape]
    return sorted(found, key=lambda info: -sum(_likeness(info, chosen)))


def one_per_routing(chosen: RunInfo, candidates: Iterable[RunInfo], most: int = 2) -> list[str]:
    """Return the ids of the first runs of each routing (way to set starts) that the chosen run does not have.

    Args:
        chosen: The run to compare with.
        candidates: Other runs, best first.
        most: Largest number of ids.

    Examples:
        >>> runs = [RunInfo(name, config={"compression": {"routing": name[:-1]}}) for name in ("free1", "tiled1", "tiled2")]
        >>> one_per_routing(RunInfo("x", config={"compression": {"routing": "free"}}), runs)
        ['tiled1']
    """
    firsts: dict[str, str] = {}
    for info in candidates:
        firsts.setdefault(str(_section(info, "compression").get("routing")), info.id)
    firsts.pop(str(_section(chosen, "compression").get("routing")), None)
    return list(firsts.values())[:most]


def column_facts(info: RunInfo) -> list[str]:
    """Return the top-1 accuracy and the multiply-adds of a run as short texts.

    Examples:
        >>> column_facts(RunInfo("a", summary={"top1": 98.125, "madds": 363_000}))
        ['top-1 98.1 %', '363 k MAdds']
    """
    (row,) = run_table([info])
    top1, madds = row["top1"], row["madds"]
    facts = ["top-1 –" if top1 is None else f"top-1 {format_percent(top1)}"]
    return [*facts, *([] if madds is None else [f"{format_number(madds)} MAdds"])]


def gradient_note(info: RunInfo) -> str:
    """Return why a run has no gradients to draw, and how a later run can have them."""
    if _section(info, "training").get("keep_gradients"):
        return (
            "This run was asked to keep gradients. It has none: its epitomes are too large (a run keeps at most 2 MB), or the first "
            "epoch is not over."
        )
    return (
        "This run did not keep the gradients of its epitomes. To see them, switch on “Keep gradients” among the training options "
        "of the page Compress (training.keep_gradients), and train again."
    )


def _section(info: RunInfo, name: str) -> Mapping[str, Any]:
    section = info.config.get(name)
    return section if isinstance(section, Mapping) else {}


def _shapes(store: RunStore, info: RunInfo) -> dict[str, tuple[int, ...]]:
    steps = store.snapshots(info.id)
    try:
        return weight_shapes(snapshot_path(store.path(info.id) / layout.SNAPSHOTS, steps[-1])) if steps else {}
    except RunError:  # a damaged file of another run: it cannot be compared
        return {}


def _likeness(info: RunInfo, chosen: RunInfo) -> tuple[bool, ...]:
    budgets = [
        {name: _section(each, "compression").get(name) for name in ("madds", "params")} for each in (info, chosen)
    ]
    seeds = info.config.get("seed") == chosen.config.get("seed")
    return info.group == chosen.group, budgets[0] == budgets[1], seeds, info.state == "finished"
