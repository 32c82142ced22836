"""Answer the question which settings of a sweep mattered most.

Tests: tests/sweeps/test_form.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nes_lab.progress_bar import OnProgress
from nes_lab.runs.store import RunStore
from nes_lab.sweeps.importances import importances

__all__ = ["importances_of"]


def importances_of(question: Mapping[str, Any], on_progress: OnProgress | None = None) -> dict[str, float]:
    """Return the share of each varied setting, as :func:`nes_lab.sweeps.importances.importances` does.

    Args:
        question: ``root`` (the folder of all runs), ``sweep`` (its name) and ``objective``.
        on_progress: Not called; the answer takes about a second.

    Raises:
        RunError: If there are too few finished trials.
    """
    del on_progress
    return importances(RunStore(question["root"]), str(question["sweep"]), str(question["objective"]))
