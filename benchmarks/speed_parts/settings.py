"""Settings that every part of the benchmark reads, and the jobs that the parts return."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from benchmarks.speed_parts.timing import Effort

__all__ = ["DEFAULT", "FOR_SPEED", "RELU_MIB", "Job", "Settings", "plan_options"]

DEFAULT, FOR_SPEED = "default plan", "plan for speed"
"""Two kinds of plan for a budget: by the planner's defaults, and by the options that ran fastest on the CPU."""

_FOR_SPEED: dict[tuple[str, float], dict[str, Any]] = {
    ("mobilenetv2_100", 0.75): {"wiring": "narrow_axis", "min_channels": 96, "round_to": 16},
    ("mobilenetv2_100", 0.5): {"wiring": "narrow_axis"},
    ("resnet50", 0.5): {"wiring": "narrow_axis", "min_channels": 256, "round_to": 32},
    ("resnet18", 0.55): {"wiring": "input_axis", "min_channels": 128, "round_to": 32},
}


def plan_options(network: str, share: float, kind: str) -> dict[str, Any]:
    """Return the arguments of :func:`nes_lab.plan_for_budget` besides budget and routing."""
    if kind == DEFAULT:
        return {}
    return _FOR_SPEED.get((network, share), {"wiring": "input_axis", "round_to": 32})


RELU_MIB = 49
"""Size in MiB of the tensor that shows the effect of the allocator's settings."""


@dataclass(frozen=True)
class Settings:
    """Settings of one run of the benchmark.

    Args:
        quick: Whether to run few rounds on small inputs, which shows that everything works but measures nothing.
        seed: Seed of weights, inputs and starts.
    """

    quick: bool = False
    seed: int = 0

    @property
    def pixels(self) -> int:
        """Return the image size for complete networks."""
        return 64 if self.quick else 224

    def effort(self, seconds: float, most: int = 60) -> Effort:
        """Return how long to measure: at least 20 rounds, and more until ``seconds`` have passed."""
        return Effort(2, 2, 0.0, 1) if self.quick else Effort(20, most, seconds)

    def batch(self, size: int) -> int:
        """Return the batch size, or 2 if ``quick`` is set and it is larger."""
        return min(size, 2) if self.quick else size


@dataclass(frozen=True)
class Job:
    """A part of the benchmark that is measured and stored as a unit.

    Args:
        name: Its name in the result file, which ``--only`` compares.
        measure: A function that measures and returns the rows.
        why_not: The reason why this machine cannot measure it. None: it can.
    """

    name: str
    measure: Callable[[], list[dict[str, Any]]]
    why_not: str | None = None
