"""Read the accuracies that were measured at equal cost, from ``nes_lab/planning/measured_accuracy.jsonl``. Advice and figures use them.

Tests: tests/planning/test_advice.py, tests/figures/test_measured_study.py
"""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import Any

__all__ = ["measured", "study_rows"]


@cache
def measured() -> tuple[dict[str, Any], ...]:
    """Return the rows of the measured accuracies: network, budget, contender and accuracies in percent, one per training."""
    text = files("nes_lab").joinpath("planning", "measured_accuracy.jsonl").read_text(encoding="utf-8")
    return tuple(json.loads(line) for line in text.splitlines() if line)


def study_rows() -> list[dict[str, Any]]:
    """Return the rows that a study measured, with all seeds and the costs of the networks. First looks are left out.

    Examples:
        >>> all(row["status"].startswith("study") for row in study_rows())
        True
    """
    return [row for row in measured() if row["status"].startswith("study")]
