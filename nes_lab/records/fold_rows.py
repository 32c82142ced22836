"""Fold the rows of a plan with many layers by stages of the network, so that one look shows them all.

Tests: tests/records/test_fold_rows.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nes_lab.records.overrides_text import pattern_of

__all__ = ["MOST_BARS", "Bar", "bars_of"]

MOST_BARS = 30
"""Number of layers above which they are folded by stages."""


@dataclass(frozen=True)
class Bar:
    """One layer of a plan, or a stage of several layers.

    Args:
        name: Name of the layer, or the beginning of the names of the stage's layers.
        layers: Rows of the layers, from :meth:`CompressionPlan.rows`.
    """

    name: str
    layers: tuple[Mapping[str, Any], ...]

    @property
    def is_stage(self) -> bool:
        """Return True if the bar stands for several layers."""
        return len(self.layers) > 1

    @property
    def pattern(self) -> str:
        """The pattern that names exactly these layers in the option ``overrides``."""
        return pattern_of(self.name, self.is_stage)

    @property
    def compressed(self) -> list[str]:
        """Names of the layers that the plan compresses."""
        return [str(row["name"]) for row in self.layers if row["epitome_shape"]]

    def total(self, key: str) -> int:
        """Return the sum of one count of the layers, such as ``"madds"`` or ``"madds_dense"``."""
        return sum(row[key] for row in self.layers)


def bars_of(rows: Sequence[Mapping[str, Any]], fold: bool = True) -> list[Bar]:
    """Return one bar per layer, or one per stage if there are more than 30 layers.

    A stage has the layers whose names begin with the same parts, such as ``blocks.2.0``. Of all ways to cut the names, the one with
    the most stages is taken that has at most 30 of them.

    Args:
        rows: Rows of a plan, from :meth:`CompressionPlan.rows`.
        fold: Whether to fold; False returns one bar per layer.

    Examples:
        >>> rows = [{"name": f"blocks.{number // 2}.conv{number % 2}", "madds": 1} for number in range(40)]
        >>> len(bars_of(rows)), bars_of(rows)[3].pattern, bars_of(rows)[3].total("madds")
        (20, 'blocks.3.*', 2)
    """
    single = [Bar(str(row["name"]), (row,)) for row in rows]
    if not fold or len(rows) <= MOST_BARS:
        return single
    deepest = max(bar.name.count(".") for bar in single)
    for depth in range(deepest, 0, -1):
        stages: dict[str, list[Mapping[str, Any]]] = {}
        for row in rows:
            stages.setdefault(".".join(str(row["name"]).split(".")[:depth]), []).append(row)
        if len(stages) <= MOST_BARS or depth == 1:
            return [_bar(name, layers) for name, layers in stages.items()]
    return single


def _bar(name: str, layers: Sequence[Mapping[str, Any]]) -> Bar:
    return Bar(str(layers[0]["name"]) if len(layers) == 1 else name, tuple(layers))
