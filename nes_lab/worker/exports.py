"""Answer the questions about a trained network: write it into a file, compare and optimize it, and predict its validation data.

Tests: tests/worker/test_exports.py, tests/worker/test_predictions.py.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nes_lab.errors import ExportError
from nes_lab.experiment.kept_answers import answers_folder, keep_answer
from nes_lab.experiment.network_forms import compare_forms
from nes_lab.experiment.open_runs import open_run
from nes_lab.experiment.optimize_run import optimize_run
from nes_lab.experiment.predictions import predict_validation
from nes_lab.export.report import ExportReport
from nes_lab.progress_bar import OnProgress, report_phase
from nes_lab.text import format_bytes, format_ms

__all__ = ["compare_run_forms", "export_run", "optimize_run_network", "predict_run"]

_ENDINGS = {"onnx": ".onnx", "torch": ".pt2", "folder": ""}


def export_run(question: Mapping[str, Any], on_progress: OnProgress | None = None) -> dict[str, Any]:
    """Export the network of a run into the run's folder, check the file, and return what was written as data for JSON.

    Args:
        question: ``root`` and ``run`` (the folder of all runs, and the id), ``which`` as in :meth:`nes_lab.Run.network`, ``format``
            (``"onnx"``, ``"torch"`` or ``"folder"``) and ``form`` (``"materialized"`` or ``"factored"``).
        on_progress: Called before each part of the work. An error that it raises ends the work.

    Returns:
        ``path`` of the file, ``text`` with its size and how it was checked. A folder is packed into a zip file.

    Raises:
        NesLabError: If the run has no checkpoint, or the file does not compute what the network computes.
    """
    run = open_run(str(question["run"]), root=question["root"])
    which, kind = question["which"], question["format"]
    folder = answers_folder(run)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ExportError(f"{folder} cannot be made: {error.strerror or error}") from error
    words = [run.id, *str(which).split()] + ([question["form"]] if kind != "folder" else [])
    target = folder / ("-".join(words) + _ENDINGS[kind])
    report_phase(on_progress, "reading the network", 0, 4)
    if kind == "folder":
        packed = {"path": str(_packed(run, which, target)), "text": _folder_text(target)}
        return keep_answer(run, "export", packed)
    report = run.export(target, which=which, format=kind, form=question["form"], on_progress=on_progress)
    assert isinstance(report, ExportReport)  # other formats than a folder give one
    return keep_answer(run, "export", {"path": str(target), "text": _report_text(report)})


def compare_run_forms(question: Mapping[str, Any], on_progress: OnProgress | None = None) -> dict[str, Any]:
    """Compare the dense, trained, fused and tuned forms of a run's network, and keep the result in the run's folder.

    Args:
        question: ``root`` and ``run`` as in :func:`export_run`, ``which`` as in :meth:`nes_lab.Run.network`, ``batch`` and
            ``seconds`` as in :func:`nes_lab.experiment.network_forms.compare_forms`, which says what the answer holds.
        on_progress: Called as the work goes on. An error that it raises ends the work.

    Raises:
        NesLabError: If the run has no checkpoint, or its network cannot be made from its files.
    """
    run = open_run(str(question["run"]), root=question["root"])
    found = compare_forms(run, question["which"], int(question["batch"]), float(question["seconds"]), on_progress)
    return keep_answer(run, "forms", found)


def optimize_run_network(question: Mapping[str, Any], on_progress: OnProgress | None = None) -> dict[str, Any]:
    """Find the fastest exact form of a run's network on this machine, and keep the report in the run's folder.

    Args:
        question: ``root`` and ``run`` as in :func:`export_run`, ``which`` as in :meth:`nes_lab.Run.network`, ``batch``, ``seconds`` and
            ``keep_madds`` as in :func:`nes_lab.experiment.optimize_run.optimize_run`.
        on_progress: Called as the work goes on. An error that it raises ends the work.

    Returns:
        ``report``: the report of :func:`nes_lab.optimize`, as data for JSON.

    Raises:
        NesLabError: If the run has no checkpoint, or its network cannot be made from its files.
    """
    run = open_run(str(question["run"]), root=question["root"])
    _, report = optimize_run(
        run,
        question["which"],
        batch=int(question["batch"]),
        seconds=float(question["seconds"]),
        keep_madds=bool(question["keep_madds"]),
        on_progress=on_progress,
    )
    return keep_answer(run, "optimize", {"report": json.loads(report.to_json())})


def predict_run(question: Mapping[str, Any], on_progress: OnProgress | None = None) -> dict[str, Any]:
    """Predict the validation data of a run, and keep the result in the run's folder.

    Args:
        question: ``root`` and ``run`` as in :func:`export_run`, and ``which`` as in :meth:`nes_lab.Run.network`. The answer is that
            of :func:`nes_lab.experiment.predictions.predict_validation`.
        on_progress: Called after each batch. An error that it raises ends the work.

    Raises:
        NesLabError: If the run has no checkpoint, or its data or its network cannot be loaded.
    """
    run = open_run(str(question["run"]), root=question["root"])
    return keep_answer(run, "predictions", predict_validation(run, question["which"], on_progress))


def _packed(run: Any, which: str, target: Path) -> Path:
    """Save the network in a folder, pack the folder into a zip file, and return the path of this file."""
    shutil.rmtree(target, ignore_errors=True)
    run.export(target, which=which, format="folder")
    packed = shutil.make_archive(str(target), "zip", target)
    shutil.rmtree(target)
    return Path(packed)


def _folder_text(target: Path) -> str:
    size = format_bytes(Path(f"{target}.zip").stat().st_size)
    return f"The folder is {size} as a zip file. Unpack it, and load it with nes_lab.from_pretrained(folder)."


def _report_text(report: ExportReport) -> str:
    """Return what an export wrote and how it was checked, in sentences.

    Examples:
        >>> _report_text(ExportReport("a.onnx", "onnx", "factored", 2048, 500, None))
        'The file has 2.0 kB and 500 params. Its outputs were not compared with those of PyTorch.'
    """
    madds = "" if report.madds is None else f"; one image needs {report.madds:,} MAdds"
    told = [f"The file has {format_bytes(report.file_bytes)} and {report.params:,} params{madds}."]
    if report.relative_difference is None or report.tolerance is None:
        told.append("Its outputs were not compared with those of PyTorch.")
    else:
        batches = ", ".join(map(str, report.batches))
        told.append(
            f"Checked: it was run with batches of {batches}, and its outputs differ from those of PyTorch by at most "
            f"{report.relative_difference:.1e} of the largest output; {report.tolerance:.0e} is allowed."
        )
    if report.exported_ms is not None and report.torch_ms is not None:
        told.append(
            f"One call takes {format_ms(report.exported_ms)}, with PyTorch {format_ms(report.torch_ms)} "
            f"({report.threads} thread{'' if report.threads == 1 else 's'})."
        )
    return " ".join(told)
