"""What became of one backbone on its way through the zoo. Torch-free."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

__all__ = ["STAGES", "ZooRow"]

STAGES = ("create", "plan", "compress", "count", "forward", "materialize", "backward", "save", "load")
"""In this order; a row that did not pass names the one it ended in."""


@dataclass(frozen=True)
class ZooRow:
    """A backbone with random weights, taken all the way or stopped.

    Args:
        model: Its name.
        status: ``"passed"``; ``"refused"``: a stage said what it cannot do; ``"failed"``: it went wrong.
        stage: The stage it ended in; empty when it passed.
        reason: What that stage said.
        input_shape: Of the example, one image.
        params, madds: Of the dense model.
        asked: The params budget, as a share of the dense model.
        least: The least share of params that could be reached; None where the budget asked for could be.
        reached_params, reached_madds: After compressing, counted.
        replaced, kept: Layers replaced, and layers with a weight matrix that stay dense.
        gradients: Epitomes that a backward pass reached.
        agreement: Largest difference between compressed and materialized outputs, over the largest difference between the
            outputs for two images: 0 is the same, 1 as far off as another image.
        seconds: Time of each stage.
        note: What a reader should know, such as a smaller input or norms set up first.
        family: Module of timm, where it stands for one.

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
        """Whether it went all the way."""
        return self.status == "passed"

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ZooRow:
        """Read :meth:`to_dict`, also after a trip through JSON; what else it holds is left out."""
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
