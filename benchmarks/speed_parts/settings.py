"""What every part of the benchmark is given, and what it gives back: jobs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from benchmarks.speed_parts.timing import Effort

__all__ = ["DEFAULT", "FOR_SPEED", "RELU_MIB", "Job", "Settings", "plan_options"]

DEFAULT, FOR_SPEED = "default plan", "plan for speed"
"""Two ways to reach a budget: the planner's defaults, and what was found to run fastest on the CPU."""

_FOR_SPEED: dict[tuple[str, float], dict[str, Any]] = {
    ("mobilenetv2_100", 0.75): {"wiring": "narrow_axis", "min_channels": 64},
    ("mobilenetv2_100", 0.5): {"wiring": "narrow_axis"},
}


def plan_options(network: str, share: float, kind: str) -> dict[str, Any]:
    """Arguments of :func:`nes_lab.plan_for_budget` besides budget and routing."""
    if kind == DEFAULT:
        return {}
    return _FOR_SPEED.get((network, share), {"wiring": "input_axis", "round_to": 32})


RELU_MIB = 49
"""Size of the tensor on which the allocator's part is shown."""


@dataclass(frozen=True)
class Settings:
    """How to run.

    Args:
        quick: Few rounds on small inputs: shows that everything works, measures nothing.
        seed: Of weights, inputs and starts.
    """

    quick: bool = False
    seed: int = 0

    @property
    def pixels(self) -> int:
        """Image size of whole networks."""
        return 64 if self.quick else 224

    def effort(self, seconds: float, most: int = 60) -> Effort:
        """At least 20 rounds, more while ``seconds`` last."""
        return Effort(2, 2, 0.0, 1) if self.quick else Effort(20, most, seconds)

    def batch(self, size: int) -> int:
        """A batch, smaller when in a hurry."""
        return min(size, 2) if self.quick else size


@dataclass(frozen=True)
class Job:
    """A part that is measured and kept as a whole.

    Args:
        name: In the result file; ``--only`` matches it.
        measure: Gives the rows.
        why_not: Why it cannot be measured here, or None.
    """

    name: str
    measure: Callable[[], list[dict[str, Any]]]
    why_not: str | None = None
