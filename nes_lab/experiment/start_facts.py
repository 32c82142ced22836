"""Say what a run would start from, before it is created: the network's name, its classes, and whether it is compressed.

Nothing here imports torch, so the app can check a start beside its field.

Tests: tests/worker/test_launches.py.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nes_lab.errors import CheckpointError, OptionError
from nes_lab.export.saved_config import CONFIG, read_saved_config
from nes_lab.records.dataset_facts import DATASET_FACTS
from nes_lab.runs import checkpoints, layout
from nes_lab.runs.store import RunStore

__all__ = ["StartFacts", "folder_facts", "run_facts"]


@dataclass(frozen=True)
class StartFacts:
    """Facts about a network from which a run can start.

    Attributes:
        name: Name of the backbone.
        width: Width of the backbone.
        options: Further options of the backbone.
        classes: Number of classes; None: not known.
        compressed: Whether the network has epitomes. It is then trained as it is, without a new plan.
    """

    name: str
    width: float = 1.0
    options: dict[str, Any] = field(default_factory=dict)
    classes: int | None = None
    compressed: bool = False


def folder_facts(folder: str | Path) -> StartFacts:
    """Return the facts about a saved network.

    Args:
        folder: A folder that :func:`nes_lab.save_pretrained`, ``nes-lab fit`` or ``nes-lab compress`` wrote.

    Raises:
        CheckpointError: If the folder holds no saved network, or does not say how to make it.

    Examples:
        >>> folder_facts("nowhere")
        Traceback (most recent call last):
        nes_lab.errors.CheckpointError: nowhere holds no saved model: config.json is missing; give a folder written by ...
    """
    config = read_saved_config(Path(folder).expanduser())
    backbone = config.get("backbone") or {}
    if not backbone.get("name"):
        raise CheckpointError(f"{folder} does not say how its network is made; start from it in Python, with network=")
    shape = {key: backbone[key] for key in ("width", "options") if backbone.get(key) is not None}
    return StartFacts(
        backbone["name"], classes=backbone.get("num_classes"), compressed=bool(config["epitome_layers"]), **shape
    )


def run_facts(run_id: str, store: RunStore) -> StartFacts:
    """Return the facts about the network of a run.

    Args:
        run_id: Id of the run.
        store: The store that holds the run.

    Raises:
        RunError: If there is no such run.
        OptionError: If a run cannot start from it: it has saved no network, or its network was given in memory.
    """
    info, folder = store.get(run_id), store.path(run_id)
    if not checkpoints.has_any(folder):
        raise OptionError(f"run {run_id} has saved no network yet")
    if info.given.get("network"):
        raise OptionError(f"the network of run {run_id} was given in memory, and its files cannot make it again")
    backbone = info.config.get("backbone") or {}
    start = folder / layout.START
    began = folder_facts(start) if (start / CONFIG).is_file() else None
    data = DATASET_FACTS.get((info.config.get("data") or {}).get("name", ""))
    known = data is not None and data.source != "files"
    return StartFacts(
        backbone.get("name", "small_mobilenetv2"),
        backbone.get("width", 1.0),
        backbone.get("options") or {},
        data.classes if known and data is not None else None,
        info.config.get("compression") is not None or bool(began and began.compressed),
    )
