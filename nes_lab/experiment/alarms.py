"""Find out what is wrong with a run while it trains, such as a loss that diverges, and what is well.

Tests: tests/experiment/test_alarms.py.
"""

from __future__ import annotations

import math
import shutil
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nes_lab.figures.start_moves import StartMoves
from nes_lab.records.result_notes import ONE_CLASS, notes_on_results
from nes_lab.runs.info import RunInfo
from nes_lab.text import format_bytes, format_percent

__all__ = ["healthy_signs", "run_alarms"]

LEAST_ROWS = 9
"""Number of training measurements below which nothing is said about progress."""
LEAST_PROGRESS = 0.1
"""Share of the training after which a start that has not moved is reported."""
ERRORS = 3.0
"""An accuracy counts as guessing if it is at most this many standard errors above that of guessing."""

CHECKPOINTS_AHEAD = 2
"""Number of checkpoints for which there should be room on the disk: the next one, and one more if it is the best so far."""
LEAST_ROOM = 10_000_000
"""Free bytes that a run needs before its first checkpoint is written."""
_DISK = ("No space left on device", "Disk quota exceeded", "free some space")
_DISK_FULL = "The disk is full. Free some space, then resume the run: it continues from its last checkpoint."


def run_alarms(
    info: RunInfo,
    metrics: Sequence[Mapping[str, Any]],
    events: Sequence[Mapping[str, Any]] = (),
    moves: StartMoves | None = None,
    folder: Path | None = None,
) -> tuple[str, ...]:
    """Return one sentence for each thing that is wrong with a run. Empty for an ordinary run.

    Args:
        info: The run.
        metrics: Rows of the run's metrics, in the order of their steps.
        events: Rows of the run's events. They say how many classes the data has.
        moves: How far the run's starts have moved; None: not known.
        folder: Folder of the run, whose disk needs room for the next checkpoints; None: the disk is not looked at.

    Examples:
        >>> run_alarms(RunInfo("a", state="failed", reason="loss is NaN at step 60"), [])
        ('The run failed: loss is NaN at step 60.',)
    """
    facts = _last(events, "data")
    classes = _classes(facts)
    training = info.config.get("training") or {}
    notes = notes_on_results(
        metrics,
        classes,
        own_loss=bool(_last(events, "task").get("own_loss")),
        distilled=bool(training.get("kd_weight")),
    )
    ended = {"failed": "The run failed", "lost": "The run was lost"}.get(info.state)
    found = [f"{ended}: {info.reason.rstrip('.')}." if info.reason else f"{ended}."] if ended else []
    if ended and any(words in info.reason for words in _DISK):
        found.append(_DISK_FULL)
    found += [_sentence(note) for note in notes]
    found += _no_room(info, events, folder)
    if info.state == "finished" and info.reason and not notes:
        found.append(_sentence(info.reason))
    if ONE_CLASS not in notes:
        found += [*_guessing(metrics, classes, facts.get("val")), *(() if notes else _no_progress(metrics))]
    if moves is not None and moves.can_move and info.progress >= LEAST_PROGRESS:
        found += _still(moves)
    return tuple(found)


def healthy_signs(
    info: RunInfo,
    metrics: Sequence[Mapping[str, Any]],
    events: Sequence[Mapping[str, Any]] = (),
    folder: Path | None = None,
) -> tuple[str, ...]:
    """Return one phrase for each thing that is well with a run: its losses, its accuracy, and the room on the disk.

    Args:
        info: The run.
        metrics: Rows of the run's metrics, in the order of their steps.
        events: Rows of the run's events.
        folder: Folder of the run; None: the disk is not looked at.

    Examples:
        >>> healthy_signs(RunInfo("a"), [{"split": "train", "loss": 0.5}])
        ('every loss is finite',)
    """
    losses = [row["loss"] for row in metrics if isinstance(row.get("loss"), int | float)]
    found = ["every loss is finite"] if losses and all(map(math.isfinite, losses)) else []
    facts = _last(events, "data")
    classes, best = _classes(facts), max(_top1(metrics), default=None)
    if best is not None and classes >= 2 and best > _guess_limit(classes, facts.get("val")):
        found.append(f"better than guessing ({100 / classes:.3g} %)")
    free, needed = _room(info, events, folder) or (0, 0)
    if needed and free >= needed:
        found.append(f"disk: {format_bytes(free)} free, needs {format_bytes(needed)}")
    return tuple(found)


def _last(events: Sequence[Mapping[str, Any]], kind: str) -> Mapping[str, Any]:
    return next((event for event in reversed(events) if event.get("kind") == kind), {})


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:].rstrip(".") + "."


def _classes(facts: Mapping[str, Any]) -> int:
    """Return among how many classes a guess would choose: those of the data. A network's further outputs are never right."""
    classes = facts.get("classes")
    return classes if isinstance(classes, int) else 0


def _top1(metrics: Sequence[Mapping[str, Any]]) -> list[float]:
    return [row["top1"] for row in metrics if row.get("split") == "val" and isinstance(row.get("top1"), int | float)]


def _guess_limit(classes: int, samples: object) -> float:
    """Return the top-1 in percent up to which a network may only guess; infinity if the number of samples is not known."""
    if not isinstance(samples, int) or samples < 1:
        return math.inf
    chance = 1 / classes
    return 100 * (chance + ERRORS * math.sqrt(chance * (1 - chance) / samples))


def _guessing(metrics: Sequence[Mapping[str, Any]], classes: int, samples: object) -> list[str]:
    values, limit = _top1(metrics), _guess_limit(classes, samples) if classes >= 2 else math.inf
    if len(values) < 2 or not math.isfinite(limit) or max(values) > limit:
        return []
    return [
        f"The network only guesses: its best top-1 is {format_percent(max(values))}, and guessing among {classes:,} classes "
        f"gives {format_percent(100 / classes)}. Check the labels of the data, and try another learning rate."
    ]


def _room(info: RunInfo, events: Sequence[Mapping[str, Any]], folder: Path | None) -> tuple[int, int] | None:
    """Return the free bytes of the run's disk, and how many the next checkpoints need. None if the run writes none."""
    if folder is None or not (info.is_active or info.state == "queued"):
        return None
    size = _last(events, "checkpoint").get("bytes")
    needed = CHECKPOINTS_AHEAD * size if isinstance(size, int) else LEAST_ROOM
    try:
        return shutil.disk_usage(folder).free, needed
    except OSError:
        return None


def _no_room(info: RunInfo, events: Sequence[Mapping[str, Any]], folder: Path | None) -> list[str]:
    free, needed = _room(info, events, folder) or (0, 0)
    if free >= needed:
        return []
    return [
        f"The disk is nearly full: {format_bytes(free)} are free, and the next checkpoints need {format_bytes(needed)}. "
        "Free some space now; a run that cannot save its checkpoint fails."
    ]


def _no_progress(metrics: Sequence[Mapping[str, Any]]) -> list[str]:
    rows = [row for row in metrics if row.get("split") == "train" and isinstance(row.get("loss"), int | float)]
    losses = [float(row["loss"]) for row in rows if math.isfinite(row["loss"])]
    if len(losses) < LEAST_ROWS:
        return []
    third = len(losses) // 3
    begin, end = statistics.fmean(losses[:third]), statistics.fmean(losses[-third:])
    if end < begin or begin < 1e-3:  # a loss near zero cannot fall
        return []
    return [
        f"There is no progress: the training loss was {begin:.4g} at first and is {end:.4g} now. "
        "Try another learning rate, and check that the labels fit the inputs."
    ]


def _still(moves: StartMoves) -> list[str]:
    found = []
    if moves.dead:
        found.append(
            f"{moves.dead:,} of {moves.starts:,} starts have not moved since the first step. "
            "A larger step size of the starts moves them; if the accuracy is good, nothing needs to be done."
        )
    if moves.collapsed:
        found.append(
            f"{moves.collapsed:,} of {moves.starts:,} starts have come close to others, so they read nearly the same "
            "cells. A smaller step size of the starts keeps them apart."
        )
    return found
