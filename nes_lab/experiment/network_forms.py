"""Compare the forms in which a trained network can be used: dense, as trained, fused and tuned.

Tests: tests/worker/test_exports.py.
"""

from __future__ import annotations

import warnings
from dataclasses import asdict
from typing import Any

import torch
from torch import nn

from nes_lab.cost.count import count
from nes_lab.cost.measure import measure_latency
from nes_lab.cost.probe import run_example
from nes_lab.errors import NesLabError, OptionError
from nes_lab.experiment.initial_network import is_compressed
from nes_lab.experiment.kept_answers import needed_objects
from nes_lab.experiment.run import Run, Which
from nes_lab.experiment.trained import trained_network
from nes_lab.nn.copy_network import copy_network
from nes_lab.progress_bar import OnProgress
from nes_lab.records.cost_report import LatencyReports
from nes_lab.surgery.for_inference import for_inference
from nes_lab.surgery.fuse import fuse
from nes_lab.surgery.replace import materialize
from nes_lab.training.device import pick_device
from nes_lab.tuning.tune import tune

__all__ = ["compare_forms"]

ROUNDS = 60
"""Number of timed calls of each form."""


def compare_forms(
    run: Run, which: Which = "last", batch: int = 1, seconds: float = 20.0, on_progress: OnProgress | None = None
) -> dict[str, Any]:
    """Make the forms of a run's network, count and time them, and compare their outputs with those of the trained network.

    The forms are: dense (an ordinary layer in place of each epitome layer), as trained, fused (batch norms folded into the layers),
    and tuned (fused, and each epitome layer computed in the way that is fastest here). A dense network has two forms. All forms run
    in turn, on the GPU if there is one.

    Args:
        run: The run.
        which: Which network, as for :meth:`nes_lab.Run.network`.
        batch: Number of examples in a call.
        seconds: About how long the tuning may take.
        on_progress: Called as the work goes on. An error that it raises ends the work.

    Returns:
        Data for JSON: ``forms``, a list of dicts with ``form``, ``params``, ``madds``, ``stored_bytes``, ``median_ms``, ``p90_ms``,
        ``low_ms`` and ``high_ms`` (quartiles), ``ratio`` (of its time and that of the trained network, with the spread; None for the
        trained network) and ``difference`` (of the outputs from those of the trained network, relative to the largest). Also
        ``batch``, ``repeats``, ``device``, ``threads``, ``dtype``, ``weights``, ``which`` and ``notes``.

    Raises:
        OptionError: If the network was given in memory, or ``batch`` is below 1.
        NesLabError: If the run has no checkpoint.
    """
    if reason := needed_objects(run, "network"):
        raise OptionError(reason)
    if batch < 1:
        raise OptionError(f"batch={batch!r} should be at least 1")
    trained = trained_network(run.store, run.id, averaged=True if "averaged" in which else None, best="best" in which)
    device = pick_device("auto")
    example = trained.example().repeat(batch, *[1] * len(trained.input_shape)).to(device)
    forms, notes = _forms(trained.network.to(device), example, seconds, on_progress)
    ready = {}
    for name, network in forms.items():
        _tell(on_progress, "preparing", name)
        ready[name] = for_inference(network)
    _tell(on_progress, "timing", "all forms in turn")
    times = measure_latency(ready, example, pairs=ROUNDS)
    _tell(on_progress, "comparing outputs", "")
    with torch.no_grad():
        expected = _outputs(forms["as trained"], example)
        rows = [
            _row(name, network, example, times, _outputs(ready[name], example), expected)
            for name, network in forms.items()
        ]
    first = times["as trained"]
    about = {"device": first.device, "threads": first.threads, "dtype": first.dtype, "repeats": first.repeats}
    return {"forms": rows, "batch": batch, "which": which, "weights": trained.text, "notes": notes, **about}


def _forms(
    network: nn.Module, example: torch.Tensor, seconds: float, on_progress: OnProgress | None
) -> tuple[dict[str, nn.Module], list[str]]:
    """Return the forms by name, and sentences about those that could not be made."""
    forms, notes = {}, []
    compressed = is_compressed(network)
    if compressed:
        _tell(on_progress, "making", "dense")
        forms["dense"] = materialize(network)
    forms["as trained"] = network
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            _tell(on_progress, "making", "fused")
            forms["fused"] = fuse(network, example)
            if compressed:
                forms["tuned"] = tuned = copy_network(forms["fused"])
                tuned.nes_lab_plan = getattr(network, "nes_lab_plan", None)  # type: ignore[assignment]
                tune(tuned, example, seconds=seconds, on_progress=on_progress)
        except NesLabError as error:
            notes.append(str(error))
    return forms, notes + [str(each.message) for each in caught if issubclass(each.category, UserWarning)]


def _row(
    name: str,
    network: nn.Module,
    example: torch.Tensor,
    times: LatencyReports,
    outputs: torch.Tensor,
    expected: torch.Tensor,
) -> dict[str, Any]:
    cost = count(network, example[:1])
    scale, time = float(expected.abs().max()) or 1.0, times[name]
    return {
        "form": name,
        "params": cost.params,
        "madds": cost.madds,
        "stored_bytes": cost.stored_bytes,
        "median_ms": time.median_ms,
        "p90_ms": time.p90_ms,
        "low_ms": time.low_ms,
        "high_ms": time.high_ms,
        "ratio": None if name == "as trained" else asdict(times.compare(name, "as trained")),
        "difference": None if name == "as trained" else float((outputs - expected).abs().max()) / scale,
    }


def _outputs(network: nn.Module, example: torch.Tensor) -> torch.Tensor:
    outputs = run_example(network, example)
    return outputs if isinstance(outputs, torch.Tensor) else next(iter(outputs.values()))


def _tell(on_progress: OnProgress | None, phase: str, label: str) -> None:
    if on_progress is not None:
        on_progress({"phase": phase, "done": 0, "total": 1, "label": label})
