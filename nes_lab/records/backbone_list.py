"""List every backbone (a network before compression) with its cost, for a person who chooses one. This file does not import torch.

``benchmarks/backbones.py`` counts the networks and writes ``backbones.json``. ``published_top1.csv`` holds accuracies that timm
reports for its pretrained weights; its first lines name the source.

Tests: tests/records/test_backbone_list.py.
"""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from nes_lab.records.columns import columns
from nes_lab.records.dataset_facts import DATASET_FACTS
from nes_lab.records.table import Table
from nes_lab.text import format_number, format_percent

__all__ = [
    "BACKBONE_LIST",
    "OWN_FAMILY",
    "OWN_INPUTS",
    "USUAL_INPUT",
    "BackboneFacts",
    "backbone_list",
    "backbone_table",
    "published_top1",
]

BACKBONE_LIST = Path(__file__).with_name("backbones.json")
PUBLISHED = Path(__file__).with_name("published_top1.csv")
OWN_FAMILY = "NES Lab"
USUAL_INPUT = (3, 224, 224)
"""Input of a backbone whose row in the file names none."""
_AUDIO = DATASET_FACTS["audio_folder"]
OWN_INPUTS: dict[str, tuple[int, ...]] = {
    "small_mobilenetv2": (3, 32, 32),
    "m5": _AUDIO.input_shape,
    **{f"cifar_resnet{depth}": (3, 32, 32) for depth in (14, 20, 32, 44, 56)},
}
"""Name of each backbone of this library -> the input for which it is listed: channels, and pixels or samples."""


@dataclass(frozen=True)
class BackboneFacts:
    """Facts about a backbone (a network before compression) that are known before it is made.

    Attributes:
        name: Name of the backbone.
        family: Family of the backbone: a module of timm, or ``NES Lab`` for a backbone of this library.
        input: The backbone's own input: channels, height and width in pixels; or channels and samples.
        params: Number of params with 1,000 classes, or with 10 for a backbone of this library. None: it could not be counted.
        madds: Multiply-adds of one forward pass of the own input. None: they could not be counted.
        pretrained: Whether timm publishes weights for it.
        smallest: Smallest side of an image that it takes, in pixels, of the sides that were tried.
        fixed: Whether it takes no other side than its own.
        top1: Top-1 accuracy on ImageNet in percent that timm reports for its default weights at the own input; None: none is listed.
        error: Why the backbone could not be counted; empty if it was counted, or was not tried.
    """

    name: str
    family: str
    input: tuple[int, ...]
    params: int | None = None
    madds: int | None = None
    pretrained: bool = False
    smallest: int = 0
    fixed: bool = False
    top1: float | None = None
    error: str = ""

    @property
    def uncounted(self) -> str:
        """Why params and multiply-adds are not known; empty if they are."""
        if self.params is not None:
            return ""
        return f"not counted, as it failed: {self.error}" if self.error else "not counted yet"

    @property
    def side(self) -> int:
        """Side of the own input in pixels, or its length in samples."""
        return self.input[-1]

    @property
    def is_audio(self) -> bool:
        """True if the input is sound."""
        return len(self.input) == 2

    def needed_side(self, side: int) -> int | None:
        """Return the side of an image that the backbone needs instead of another one; None if it takes that one.

        Args:
            side: Height and width of the images in pixels.

        Examples:
            >>> vit = BackboneFacts("vit", "vision_transformer", (3, 224, 224), smallest=224, fixed=True)
            >>> vit.needed_side(8), vit.needed_side(224)
            (224, None)
        """
        takes = side == self.side if self.fixed else side >= self.smallest
        return None if self.is_audio or takes else self.side

    @property
    def summary(self) -> str:
        """Params, multiply-adds and published accuracy in one line of text."""
        unit = "samples" if self.is_audio else "px"
        cost = f"{format_number(self.params)} params · {format_number(self.madds)} MAdds at {self.side:,} {unit}"
        if self.params is None:
            cost = f"{self.uncounted} · input of {self.side:,} {unit}"
        return (
            cost
            if self.top1 is None
            else f"{cost} · ImageNet top-1 {format_percent(self.top1)}, as reported by timm at {self.side} px"
        )


@cache
def backbone_list() -> dict[str, BackboneFacts]:
    """Return the facts about every known backbone, by name. Those of this library come first.

    Examples:
        >>> backbone_list()["mobilenetv2_100"].madds
        300774272
    """
    rows = json.loads(BACKBONE_LIST.read_text(encoding="utf-8"))["backbones"]
    published = {model: top1 for model, (_, top1) in published_top1().items()}
    return {name: _facts(name, row, published) for name, row in rows.items()}


def published_top1() -> dict[str, tuple[int, float]]:
    """Return what timm reports on ImageNet: name and tag of the weights -> side of the images in pixels, and top-1 in percent.

    Examples:
        >>> published_top1()["resnet18.a1_in1k"]
        (224, 71.488)
    """
    lines = PUBLISHED.read_text(encoding="utf-8").splitlines()
    rows = csv.DictReader(line for line in lines if not line.startswith("#"))
    return {row["model"]: (int(row["image_size"]), float(row["top1"])) for row in rows}


def _facts(name: str, row: dict[str, object], published: dict[str, float]) -> BackboneFacts:
    known = {key: row[key] for key in ("params", "madds", "pretrained", "smallest", "fixed", "error") if key in row}
    top1 = published.get(f"{name}.{row.get('tag')}")
    return BackboneFacts(name, str(row["family"]), tuple(row.get("input", USUAL_INPUT)), top1=top1, **known)  # type: ignore[arg-type]


def backbone_table(search: str = "") -> Table:
    """Return a table of the known backbones.

    Args:
        search: Words separated by spaces. Only backbones are listed whose name or family contains all of them.

    Examples:
        >>> [row["backbone"] for row in backbone_table("cifar 56").rows]
        ['cifar_resnet56']
    """
    words = search.lower().split()
    rows = [
        {
            "backbone": facts.name,
            "params": facts.params,
            "madds": facts.madds,
            "side": facts.side,
            "published_top1": facts.top1,
            "pretrained": "yes" if facts.pretrained else "no",
            "family": facts.family,
        }
        for facts in backbone_list().values()
        if all(word in f"{facts.name} {facts.family}".lower() for word in words)
    ]
    return Table(
        columns("backbone", "params", "madds", "side", "published_top1", "pretrained", "family"),
        rows,
    )
