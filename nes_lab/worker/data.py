"""Answer the questions for a check of a data set, and for a few of its images.

Tests: tests/worker/test_data.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nes_lab.datasets.check.check import check_files, list_dataset
from nes_lab.datasets.check.listing import DatasetFiles
from nes_lab.datasets.examples import examples_by_class
from nes_lab.figures.contact_sheet import contact_sheet, thumbnails
from nes_lab.figures.data_statistics import data_statistics
from nes_lab.figures.theme import figure_json
from nes_lab.progress_bar import OnProgress

__all__ = ["check_for_page", "samples_for_form"]

SAMPLES = 8
"""Number of images beside the form."""


def check_for_page(question: Mapping[str, Any], on_progress: OnProgress | None = None) -> dict[str, Any]:
    """Check a data set and draw it.

    Args:
        question: ``source`` (a folder, or the name of a data set), and optionally ``root``, ``skip_broken`` and ``everything``.
        on_progress: Called before each file that is read. An error that it raises ends the work.

    Returns:
        ``report`` as data for JSON, its ``summary``, and the figures ``sheet`` and ``statistics``; None where there is nothing to draw.

    Raises:
        DataError: If there is no such folder or data set, or the layout of the folder is not known.
    """
    files = _list(question)
    report = check_files(
        files,
        everything=bool(question.get("everything")),
        skip_broken=question.get("skip_broken") or 0.0,
        on_progress=on_progress,
    )
    examples = examples_by_class(files)
    has_examples = bool(report.classes) and any(split.total for split in report.splits)
    return {
        "report": report.to_dict(),
        "summary": report.summary,
        "sheet": figure_json(contact_sheet(examples)) if examples else None,
        "statistics": figure_json(data_statistics(report)) if has_examples else None,
    }


def samples_for_form(question: Mapping[str, Any], on_progress: OnProgress | None = None) -> list[tuple[str, str]]:
    """Return a few images of a data set, each as a class name and a ``data:`` URL. Sounds give an empty list.

    Args:
        question: ``source`` (a folder, or the name of a data set), and optionally ``root``.
        on_progress: Called before the images are read. An error that it raises ends the work.

    Raises:
        DataError: If there is no such folder or data set, or the layout of the folder is not known.
    """
    files = _list(question)
    if on_progress is not None:
        on_progress({"phase": "samples", "done": 0, "total": 1, "label": ""})
    return thumbnails(examples_by_class(files, classes=SAMPLES, each=2), SAMPLES) if files.kind == "image" else []


def _list(question: Mapping[str, Any]) -> DatasetFiles:
    root = question.get("root")
    return list_dataset(question["source"], root=None if root is None else Path(root))
