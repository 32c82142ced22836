"""Make a short curve of a run's accuracy for a table of many runs.

Tests: tests/runs/test_overview.py.
"""

from __future__ import annotations

from dataclasses import dataclass

from nes_lab.errors import RunError
from nes_lab.runs.kept_curve import KeptCurve, read_curve
from nes_lab.runs.store import RunStore

__all__ = ["ShortCurve", "short_curve", "shortened"]

MOST_VALUES = 60


@dataclass(frozen=True)
class ShortCurve:
    """Holds a short curve of a run.

    Attributes:
        values: Values of the run's first metric in validation, usually top-1 in percent, in order of steps.
        metric: Name of the metric.
        seconds: Seconds from the first measurement to the latest one; None if there are fewer than two.
    """

    values: tuple[float, ...] = ()
    metric: str = "top1"
    seconds: float | None = None


def short_curve(store: RunStore, run_id: str, most: int = MOST_VALUES) -> ShortCurve:
    """Read the validations of a run, evenly spaced if there are more than ``most``. Damaged lines are left out.

    Examples:
        >>> import tempfile
        >>> from nes_lab.runs.writer import RunWriter
        >>> store = RunStore(tempfile.mkdtemp())
        >>> run_id = store.create({})
        >>> with RunWriter(store, run_id) as writer:
        ...     for step in (1, 2, 3):
        ...         writer.metric(step=step, split="val", top1=20.0 * step)
        >>> short_curve(store, run_id).values
        (20.0, 40.0, 60.0)
    """
    try:
        return shortened(read_curve(store.path(run_id)), most)
    except RunError:
        return ShortCurve()


def shortened(curve: KeptCurve, most: int = MOST_VALUES) -> ShortCurve:
    """Return the validations of kept curves, evenly spaced if there are more than ``most``.

    Examples:
        >>> shortened(KeptCurve())
        ShortCurve(values=(), metric='top1', seconds=None)
    """
    values = [float(point.value) for point in curve.points("val") if point.value is not None]
    if len(values) > most:
        values = [values[index * (len(values) - 1) // (most - 1)] for index in range(most)]
    return ShortCurve(tuple(values), curve.metric or "top1", curve.seconds())
