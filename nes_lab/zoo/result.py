"""What came of one backbone in the zoo: one row of its table. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

__all__ = ["STAGES", "ZooRow"]

STAGES = ("create", "plan", "compress", "count", "forward", "materialize", "backward", "save", "load")
"""The stages of the check, in order; a row that did not pass names the stage it ended in."""


@dataclass(frozen=True)
class ZooRow:
    """Result of checking one backbone with random weights.

    Args:
        model: Name of the backbone.
        status: ``"passed"``; ``"refused"``: a stage said that it cannot do this; ``"failed"``: a stage went wrong.
        stage: The stage it ended in; empty if it passed.
        reason: The message of that stage; empty if it passed.
        input_shape: Shape of the example input, one image.
        params, madds: Counts of the dense model.
        asked: The params budget, as a share of the dense model.
        least: The smallest share of params that can be reached; None if the budget asked for could be met.
        reached_params, reached_madds: Counts of the compressed model.
        replaced, kept: Number of layers replaced, and of layers with a weight matrix that stay dense.
        gradients: Number of epitomes that a backward pass reached.
        agreement: Largest difference between compressed and materialized outputs, divided by the largest difference between the
            outputs for two images. 0: the outputs are equal; 1: they differ as much as those of another image.
        seconds: Time of each stage, by name.
        note: What a reader should know, such as a smaller input; empty if there is nothing.
        family: The timm module that the backbone represents; empty if it represents none.

    Examples:
        >>> row = ZooRow("small", "refused", stage="plan", reason="nothing to replace")
        >>> ZooRow.from_dict(row.to_dict()) == row, row.passed
        (True, False)
    """

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
        """Whether all stages passed."""
        return self.status == "passed"

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ZooRow:
        """Read the data of :meth:`to_dict`, before or after JSON; other keys are ignored."""
        known: dict[str, Any] = {f.name: data[f.name] for f in fields(cls) if f.name in data}
        known["input_shape"] = tuple(known.get("input_shape", ()))
        return cls(**known)

    def __str__(self) -> str:
        if not self.passed:
            return f"{self.model}: {self.status} at {self.stage}: {self.reason}"
        share = self.reached_params / max(self.params, 1), self.reached_madds / max(self.madds, 1)
        return (
            f"{self.model}: passed; params {self.params:,} -> {self.reached_params:,} ({share[0]:.1%}), "
            f"madds {self.madds:,} -> {self.reached_madds:,} ({share[1]:.1%}), agreement {self.agreement:.1e}"
        )
