"""Answer the questions of the page Explain: on which images two networks disagree, and which parts of images they look at.

Tests: tests/worker/test_explanations.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nes_lab.experiment.explanation import Pair, disagreements, explain_images
from nes_lab.experiment.kept_answers import keep_answer
from nes_lab.experiment.open_runs import open_run
from nes_lab.experiment.run import Run
from nes_lab.experiment.uploaded_images import decode_uploads
from nes_lab.progress_bar import OnProgress
from nes_lab.runs.references import ORIGIN

__all__ = ["disagreements_of", "explain_run"]


def disagreements_of(question: Mapping[str, Any], on_progress: OnProgress | None = None) -> dict[str, Any]:
    """Return on which validation examples the networks of two runs disagree most.

    Args:
        question: ``root`` (the folder of all runs), ``run`` (id), ``reference`` (id of another run, or ``"origin"``),
            ``reference_root`` (folder of its run; by default the same), and ``keep``: True writes the answer into the run's folder.
        on_progress: Called as the work goes on. An error that it raises ends the work.

    Raises:
        NesLabError: If a network or the data cannot be loaded, or the two do not fit together.
    """
    run = open_run(str(question["run"]), root=question["root"])
    found = disagreements(_pair(run, question, on_progress), on_progress)
    return _kept(run, "disagreements", found, question, "run", "reference")


def explain_run(question: Mapping[str, Any], on_progress: OnProgress | None = None) -> dict[str, Any]:
    """Attribute the answers of two networks on some images.

    Args:
        question: The entries that :func:`disagreements_of` takes, and ``method``, ``indices`` of validation examples or ``uploads``
            (dicts with ``name`` and ``data`` in base64).
        on_progress: Called as the work goes on. An error that it raises ends the work.

    Raises:
        NesLabError: If a network or the data cannot be loaded, an image is refused, or captum is not installed.
    """
    run = open_run(str(question["run"]), root=question["root"])
    uploads = decode_uploads(question.get("uploads") or [])  # refused before anything is loaded
    indices = [int(index) for index in question.get("indices") or []]
    found = explain_images(
        _pair(run, question, on_progress), question["method"], indices, uploads, on_progress=on_progress
    )
    return _kept(run, "explanation", found, question, "run", "reference", "method", "indices", "marks")


def _pair(run: Run, question: Mapping[str, Any], on_progress: OnProgress | None) -> Pair:
    if on_progress is not None:
        on_progress({"phase": "loading the networks", "done": 0, "total": 1, "label": ""})
    reference = str(question["reference"])
    if reference == ORIGIN:
        return Pair(run, reference)
    return Pair(run, open_run(reference, root=question.get("reference_root") or question["root"]))


def _kept(run: Run, name: str, found: dict[str, Any], question: Mapping[str, Any], *asked: str) -> dict[str, Any]:
    """Add what was asked to an answer, and write it into the run's folder if that is wanted."""
    answer = found | {"asked": {each: question.get(each) for each in asked}}
    return keep_answer(run, name, answer) if question.get("keep") else answer
