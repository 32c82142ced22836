"""Ask the worker about a data set, and keep the answers until the files of the data set change."""

import threading
from collections.abc import Mapping
from typing import Any

from app.workers import ask_worker
from nes_lab.datasets.check.ready import folder_mark
from nes_lab.records.dataset_facts import DATASET_FACTS

__all__ = ["about_data", "forget_data", "known_about_data"]

MOST_KEPT = 32
"""Number of answers that are kept. One with figures has up to 2 MB."""
_LOCK = threading.Lock()
_ANSWERS: dict[tuple[str, ...], Any] = {}


def about_data(question: str, source: Mapping[str, Any], *, text: str, seconds: float = 600.0) -> Any:
    """Return what the worker says about a data set. The answer is kept until a folder of the data set changes.

    Args:
        question: ``"data"`` for a check with figures, ``"samples"`` for a few images.
        source: ``source`` (a folder, or the name of a data set) and ``root``, as the worker wants them.
        text: What the page shows while it waits.
        seconds: Time that the work may take.

    Raises:
        Refusal: If there is no such data set.
        WorkerError: If the worker fails or needs too long.
    """
    key = _key(question, source)
    with _LOCK:
        if key in _ANSWERS:
            return _ANSWERS[key]
    answer = ask_worker("jobs", question, source, text=text, seconds=seconds)
    with _LOCK:
        _ANSWERS[key] = answer
        while len(_ANSWERS) > MOST_KEPT:
            del _ANSWERS[next(iter(_ANSWERS))]
    return answer


def known_about_data(question: str, source: Mapping[str, Any]) -> bool:
    """Return whether the answer is kept, so that nobody has to wait for it."""
    return _key(question, source) in _ANSWERS


def forget_data() -> None:
    """Forget all answers, because a file can change without its folder."""
    with _LOCK:
        _ANSWERS.clear()


def _key(question: str, source: Mapping[str, Any]) -> tuple[str, ...]:
    name, root = str(source["source"]), source.get("root")
    place = root or (None if name in DATASET_FACTS else name)
    return (question, name, str(root), folder_mark(place) if place else "")
