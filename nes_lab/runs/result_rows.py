"""Give the results of a run names and units for people.

Tests: tests/runs/test_result_rows.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from nes_lab.text import NO_VALUE, format_bytes, format_ms, format_percent, format_seconds, format_share, format_value

__all__ = ["result_rows"]


def _percent(value: float) -> str:
    return format_percent(value, 2)


_NAMES: dict[str, tuple[str, Callable[[Any], str]]] = {
    "top1": ("Top-1 of the last weights", _percent),
    "best_top1": ("Best top-1", _percent),
    "top5": ("Top-5 of the last weights", _percent),
    "ema_top1": ("Top-1 of the averaged weights", _percent),
    "best_ema_top1": ("Best top-1 of the averaged weights", _percent),
    "ema_top5": ("Top-5 of the averaged weights", _percent),
    "val_loss": ("Validation loss of the last weights", format_value),
    "stored_bytes": ("Size of its file", format_bytes),
    "fit_agreement": ("Fit: agreement with the dense outputs", format_value),
    "fit_output_error": ("Fit: relative error of the outputs", format_value),
    "note": ("Note", str),
    "params": ("Params", format_value),
    "dense_params": ("Params of the dense network", format_value),
    "madds": ("MAdds", format_value),
    "dense_madds": ("MAdds of the dense network", format_value),
    "learner_params": ("Params of the index learner, training only", format_value),
    "latency_ms": ("Time of one image, median", format_ms),
    "latency_p90_ms": ("Time of one image, 90th percentile", format_ms),
    "threads": ("Threads", format_value),
    "epochs": ("Epochs", format_value),
    "seconds": ("Time of training", format_seconds),
    "device": ("Device", str),
    "precision": ("Precision", str),
    "processes": ("Processes", format_value),
    "torch": ("Version of PyTorch", str),
    "seed": ("Seed", str),
    "peak_memory_bytes": ("Largest memory on the device", format_bytes),
    "extended_from": ("Trained further from", str),
    "routing": ("Routing", str),
    "scope": ("Scope", str),
}
_OF_DENSE = {"params": "dense_params", "madds": "dense_madds"}


def result_rows(summary: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return one row per result of a run: its name and its value, with a unit. A missing value is a dash.

    Args:
        summary: The run's summary.

    Examples:
        >>> result_rows({"best_top1": 71.8, "madds": 225, "dense_madds": 300, "latency_ms": None})[1:]
        [{'result': 'MAdds', 'value': '225 (75.0 % of dense)'}, {'result': 'MAdds of the dense network', 'value': '300'}, ...]
    """
    rows = []
    for key, value in summary.items():
        name, text = _NAMES.get(key, (key.replace("_", " ").capitalize(), format_value))
        is_missing = value is None or (isinstance(value, float) and not math.isfinite(value))
        shown = NO_VALUE if is_missing else text(value) if _fits(value, text) else format_value(value)
        dense = summary.get(_OF_DENSE.get(key, ""))
        if dense and isinstance(value, int | float) and not is_missing:
            shown += f" ({format_share(value, dense)} of dense)"
        rows.append({"result": name, "value": shown})
    return rows


def _fits(value: object, text: Callable[[Any], str]) -> bool:
    return text is str or (isinstance(value, int | float) and not isinstance(value, bool))
