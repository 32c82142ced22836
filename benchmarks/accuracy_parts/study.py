"""Read a study from its YAML file, and list its trainings in the order in which they run.

A study has parts, each with one backbone, one kind of budget and some contenders. For each part, the learning rate of every contender
is chosen at the part's first budget, with the first seed, on held-out training images. All other trainings of the contender use it.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.accuracy_parts.rows import Row
from nes_lab.packages import need

__all__ = ["COSTS", "OPPONENTS", "Part", "Study", "Training", "chosen_lr", "read_study", "trainings"]

OPPONENTS = ("width", "int8", "generated", "lowrank")
"""What a contender without epitomes can be: a narrower network, one with weights in int8, one whose weights are generated, or one with
split convolutions of low rank."""

COSTS = ("madds", "params", "stored_bytes")
"""What can be equal for all contenders of a part. Stored bytes are those of all parameters and buffers in the saved file."""


@dataclass(frozen=True)
class Part:
    """Contenders of equal cost on one network.

    Attributes:
        name: Short name, part of every id, such as ``"resnet14-madds"``.
        cost: What is equal: ``"madds"``, ``"params"`` or ``"stored_bytes"``.
        budgets: Shares of the dense network's cost, such as ``"25%"``; the first one is that at which learning rates are chosen.
        contenders: Names of contenders of the study.
        seeds: Seeds of the final trainings.
        lrs: Learning rates among which each contender's is chosen.
        config: Sections of the experiment for this part, laid over those of the study.
        dense: Whether the dense network is trained too, with the same learning rates.
        joins: Name of a part of the same network and cost, whose narrower network the contenders are compared with; empty: this part.
    """

    name: str
    cost: str
    budgets: tuple[str, ...]
    contenders: tuple[str, ...]
    seeds: tuple[int, ...]
    lrs: tuple[float, ...]
    config: Mapping[str, Any] = field(default_factory=dict)
    dense: bool = False
    joins: str = ""


@dataclass(frozen=True)
class Study:
    """A study: its parts in order, its contenders and the settings that all trainings share."""

    name: str
    about: str
    base: Mapping[str, Any]
    contenders: Mapping[str, Mapping[str, Any]]
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class Training:
    """One training of a study.

    Attributes:
        part: The part that it belongs to.
        contender: Name of the contender; ``"dense"`` for the uncompressed network.
        budget: Share of the dense network's cost; empty for the dense network.
        seed: Seed of the training.
        lr: Learning rate; None until one is chosen.
    """

    part: Part
    contender: str
    budget: str
    seed: int
    lr: float | None

    @property
    def id(self) -> str:
        """Name of the training in results and runs, such as ``resnet14-madds/tiled/25%/seed0/lr0.1``."""
        budget = self.budget or "100%"
        return (
            f"{self.part.name}/{self.contender}/{budget}/seed{self.seed}/lr{'?' if self.lr is None else f'{self.lr:g}'}"
        )

    def config(self, study: Study) -> dict[str, Any]:
        """Return the sections of the experiment, without what depends on measured widths."""
        tree = overlaid(study.base, self.part.config)
        if self.contender != "dense":
            tree = overlaid(tree, study.contenders[self.contender])
        if self.is_compressed(study):
            tree = overlaid(tree, {"compression": {self.part.cost: self.budget}})
        return overlaid(tree, {"seed": self.seed, "label": self.id, "training": {"lr": self.lr}})

    def opponent(self, study: Study) -> str:
        """Return how a contender without epitomes meets the budget, one of ``OPPONENTS``; empty for the dense network and epitomes."""
        if self.contender == "dense" or self.is_compressed(study):
            return ""
        return study.contenders[self.contender].get("opponent", "width")

    def is_compressed(self, study: Study) -> bool:
        """Return whether epitomes meet the budget; otherwise a narrower network does, or there is none."""
        return self.contender != "dense" and "compression" in study.contenders[self.contender]


def read_study(path: Path) -> Study:
    """Read a study from a YAML file.

    Raises:
        MissingPackageError: If PyYAML is not installed.
        ValueError: If a part names a contender that the study does not define, or a cost that is not in ``COSTS``.
    """
    tree = need("yaml", "reading a study").safe_load(path.read_text(encoding="utf-8"))
    shared = {"seeds": tree["seeds"], "lrs": tree["lrs"]}
    parts = tuple(_part(shared | part) for part in tree["parts"])
    for part in parts:
        if unknown := sorted(set(part.contenders) - set(tree["contenders"])):
            raise ValueError(f"{path.name}: part {part.name!r} names {unknown[0]!r}, which is not among the contenders")
        if part.joins not in ("", *(other.name for other in parts)):
            raise ValueError(
                f"{path.name}: part {part.name!r} has joins={part.joins!r}; this study has no part of that name"
            )
        if part.cost not in COSTS:
            raise ValueError(
                f"{path.name}: part {part.name!r} has cost={part.cost!r}; it should be one of {', '.join(COSTS)}"
            )
    for name, contender in tree["contenders"].items():
        if (kind := contender.get("opponent", "width")) not in OPPONENTS:
            raise ValueError(f"{path.name}: {name!r} has opponent={kind!r}; it should be one of {', '.join(OPPONENTS)}")
    return Study(path.stem, tree["about"], tree["base"], tree["contenders"], parts)


def _part(tree: Mapping[str, Any]) -> Part:
    lists = {name: tuple(tree[name]) for name in ("budgets", "contenders", "seeds", "lrs")}
    rest = {name: tree[name] for name in ("config", "dense", "joins") if name in tree}
    return Part(tree["name"], tree["cost"], **lists, **rest)


def trainings(study: Study, rows: Mapping[str, Row]) -> list[Training]:
    """List all trainings of a study in order. Those whose learning rate is not chosen yet have ``lr=None``.

    Args:
        study: The study.
        rows: The results so far, by id.
    """
    return [training for part in study.parts for training in _of_part(part, rows)]


def _of_part(part: Part, rows: Mapping[str, Row]) -> Iterator[Training]:
    cells = [(name, part.budgets[0]) for name in part.contenders] + ([("dense", "")] if part.dense else [])
    first, *other_seeds = part.seeds
    for lr in part.lrs:
        yield from (Training(part, name, budget, first, lr) for name, budget in cells)
    chosen = {cell: chosen_lr(part, *cell, rows) for cell in cells}
    for seed in other_seeds:
        yield from (Training(part, *cell, seed, lr) for cell, lr in chosen.items())
    for budget in part.budgets[1:]:
        for seed in part.seeds:
            yield from (Training(part, name, budget, seed, chosen[name, part.budgets[0]]) for name in part.contenders)


def chosen_lr(part: Part, contender: str, budget: str, rows: Mapping[str, Row]) -> float | None:
    """Return the learning rate with the best accuracy on held-out images; None until all of them are trained.

    A single one needs no training.

    Only ``holdout_top1`` is read, never the accuracy on test images. Of equal ones, the smaller learning rate is chosen.
    """
    if len(part.lrs) == 1:
        return part.lrs[0]
    tried = [rows.get(Training(part, contender, budget, part.seeds[0], lr).id) for lr in part.lrs]
    if any(row is None for row in tried):
        return None
    scores = [row["holdout_top1"] for row in tried if row is not None]
    return part.lrs[max(range(len(scores)), key=lambda number: (scores[number], -part.lrs[number]))]


def overlaid(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Return nested settings with others laid over them.

    Examples:
        >>> overlaid({"data": {"name": "digits", "limit": 8}}, {"data": {"limit": 4}, "seed": 1})
        {'data': {'name': 'digits', 'limit': 4}, 'seed': 1}
    """
    tree = copy.deepcopy(dict(below))
    for key, value in above.items():
        inner = tree.get(key)
        tree[key] = overlaid(inner, value) if isinstance(inner, dict) and isinstance(value, Mapping) else value
    return tree
