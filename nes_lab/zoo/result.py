"""Hold the result of checking one backbone.

Such a result is one row in the table of all checked backbones. This file does not import torch.

Tests: tests/zoo/test_check.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from nes_lab.records.columns import columns
from nes_lab.records.record import Record
from nes_lab.records.table import Table
from nes_lab.text import format_share

__all__ = ["STAGES", "ZooRow", "zoo_table"]

STAGES = ("create", "plan", "compress", "count", "forward", "materialize", "backward", "save", "load")
"""The stages of checking a backbone, in order; the result of a backbone that did not pass names the stage it stopped at."""


@dataclass(frozen=True, repr=False)
class ZooRow(Record):
    """Result of checking one backbone with random weights.

    Args:
        model: Name of the backbone.
        status: ``"passed"``, ``"refused"`` (NES Lab does not support the backbone) or ``"failed"`` (an unexpected error was
            raised).
        stage: The stage at which the check stopped; empty if the backbone passed.
        reason: The error message of that stage; empty if the backbone passed.
        input_shape: Shape of the example input, a batch of one image.
        params, madds: Params and multiply-adds of the dense model.
        asked: Budget for params, as a share of the dense model's params; None if the check stopped before a budget was set.
        least: The smallest share of params that compression can reach; None if the requested budget could be met.
        reached_params, reached_madds: Params and multiply-adds of the compressed model.
        replaced, kept: Number of layers that became epitome layers, and number of layers with a weight that stay dense.
        gradients: Number of epitomes that got a gradient in a backward pass.
        agreement: How much the outputs of the compressed and the materialized model differ. It is their largest difference,
            divided by the largest difference between one model's outputs for two images. 0 means equal outputs. None if the
            check stopped earlier.
        seconds: Time in seconds of each stage, by name.
        note: Remarks, for example that a smaller input was used; empty if there are none.
        family: Name of the timm module whose models this backbone represents; empty if it represents none.

    Examples:
        >>> import nes_lab
        >>> row = nes_lab.ZooRow("small", "refused", stage="plan", reason="nothing to replace")
        >>> nes_lab.ZooRow.from_dict(row.to_dict()) == row, row.passed
        (True, False)
    """

    NAME = "result of a backbone"
    SCHEMA = None

    model: str
    status: str
    stage: str = ""
    reason: str = ""
    input_shape: tuple[int, ...] = ()
    params: int = 0
    madds: int = 0
    asked: float | None = None
    least: float | None = None
    reached_params: int = 0
    reached_madds: int = 0
    replaced: int = 0
    kept: int = 0
    gradients: int = 0
    agreement: float | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)
    note: str = ""
    family: str = ""

    @property
    def passed(self) -> bool:
        """Return whether the backbone passed all stages."""
        return self.status == "passed"

    def to_dict(self) -> dict[str, Any]:
        """Return the result as a dictionary of plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ZooRow:
        """Rebuild a result from the dictionary that :meth:`to_dict` returned. Unknown keys are ignored."""
        known: dict[str, Any] = {f.name: data[f.name] for f in fields(cls) if f.name in data}
        known["input_shape"] = tuple(known.get("input_shape", ()))
        return cls(**known)

    def table(self) -> Table:
        """Return the result as a table of one row."""
        return zoo_table([self])

    def __repr__(self) -> str:
        return f"ZooRow: {self}"

    def notebook_table(self) -> Table:
        """Return the table that a notebook shows: the result as one row."""
        return self.table()

    def __str__(self) -> str:
        if not self.passed:
            return f"{self.model}: {self.status} at {self.stage}: {self.reason}"
        share = self.reached_params / max(self.params, 1), self.reached_madds / max(self.madds, 1)
        return (
            f"{self.model}: passed; params {self.params:,} -> {self.reached_params:,} ({format_share(share[0])}), "
            f"madds {self.madds:,} -> {self.reached_madds:,} ({format_share(share[1])}), agreement {self.agreement:.1e}"
        )


def zoo_table(rows: Iterable[ZooRow]) -> Table:
    """Return the results of checking several backbones as a table with one row per backbone."""
    keys = ("backbone", "result", "params", "params_dense", "madds", "madds_dense", "agreement", "why")
    return Table(columns(*keys), [_row(row) for row in rows])


def _row(row: ZooRow) -> dict[str, Any]:
    return {
        "backbone": row.model,
        "result": row.status,
        "params": row.reached_params or None,
        "params_dense": row.params or None,
        "madds": row.reached_madds or None,
        "madds_dense": row.madds or None,
        "agreement": row.agreement,
        "why": row.reason or row.note,
    }
