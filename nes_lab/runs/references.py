"""Find what the network of a run can be compared with: runs on the same data, and the dense network that it began with.

Tests: tests/runs/test_references.py
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from nes_lab.runs import layout
from nes_lab.runs.info import RunInfo

__all__ = ["ORIGIN", "can_explain", "has_checkpoint", "names_of_pair", "origin_text", "references_of"]

ORIGIN = "origin"
"""Word that stands for the dense network that a run began with, in place of the id of a run."""


def can_explain(info: RunInfo) -> bool:
    """Return True if the network of a run is trained, and its files can make it again.

    Examples:
        >>> can_explain(RunInfo("a", state="finished")), can_explain(RunInfo("b", state="running"))
        (True, False)
    """
    return info.state in ("finished", "cancelled") and not info.given


def has_checkpoint(folder: Path) -> bool:
    """Return True if a run's folder holds the tensors of a checkpoint. Most runs of the bundled demo come without.

    Args:
        folder: The folder of the run.
    """
    return any((folder / layout.CHECKPOINTS).glob("*.safetensors"))


def names_of_pair(chosen: RunInfo, reference: RunInfo | None) -> tuple[str, str]:
    """Return short names of the reference and of a run's network, for figures.

    Args:
        chosen: The run.
        reference: The run that it is compared with; None: the dense network that it began with.

    Examples:
        >>> names_of_pair(RunInfo("small", config={"compression": {"madds": "50%"}}), RunInfo("large"))
        ('dense', 'compressed')
    """
    is_dense = reference is None or not reference.config.get("compression")
    if is_dense and chosen.config.get("compression"):
        return "dense", "compressed"
    return "reference", "this run"


def references_of(chosen: RunInfo, runs: Iterable[RunInfo]) -> list[RunInfo]:
    """Return the other runs on the same data, those of dense networks first, then those most like the chosen run.

    Args:
        chosen: The run to compare.
        runs: Other runs, newest first.

    Examples:
        >>> data = {"data": {"name": "digits"}}
        >>> chosen = RunInfo("small", config=data | {"compression": {"madds": "50%"}})
        >>> others = [RunInfo("other", config=chosen.config), RunInfo("dense", config=data), RunInfo("cats", config={})]
        >>> [info.id for info in references_of(chosen, others)]
        ['dense', 'other']
    """
    others = [info for info in runs if info.id != chosen.id and _data(info) == _data(chosen)]
    return sorted(others, key=lambda info: (bool(info.config.get("compression")), -_likeness(info, chosen)))


def origin_text(config: Mapping[str, Any]) -> str:
    """Return what dense network a run's configuration names as trained already; empty if it names none.

    Examples:
        >>> origin_text({"compression": {"madds": "50%"}, "backbone": {"pretrained": True}})
        'the pretrained network that it began with'
    """
    backbone, training = config.get("backbone") or {}, config.get("training") or {}
    if not config.get("compression"):
        return ""
    if training.get("kd_weight") and training.get("kd_checkpoint"):
        return "the teacher of its distillation"
    if backbone.get("new_head"):
        return ""  # the classifier of that network knows other classes
    if backbone.get("pretrained") or backbone.get("checkpoint"):
        return "the pretrained network that it began with"
    return ""


def _data(info: RunInfo) -> tuple[Any, ...]:
    data = info.config.get("data") or {}
    return tuple(data.get(name) for name in ("name", "root", "image_size", "class_order"))


def _likeness(info: RunInfo, chosen: RunInfo) -> int:
    same = [info.config.get(name) == chosen.config.get(name) for name in ("backbone", "seed")]
    return sum([*same, info.group == chosen.group])
