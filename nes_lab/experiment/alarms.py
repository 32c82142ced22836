"""Find out what is wrong with a run while it trains: it failed, it diverged, it only guesses, it does not learn, its starts stand still.

Tests: tests/experiment/test_alarms.py.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from nes_lab.figures.start_moves import StartMoves
from nes_lab.records.result_notes import ONE_CLASS, notes_on_results
from nes_lab.runs.info import RunInfo

__all__ = ["run_alarms"]

LEAST_ROWS = 9
"""Number of training measurements below which nothing is said about progress."""
LEAST_PROGRESS = 0.1
"""Share of the training after which a start that has not moved is reported."""
ERRORS = 3.0
"""An accuracy counts as guessing if it is at most this many standard errors above that of guessing."""


def run_alarms(
    info: RunInfo,
    metrics: Sequence[Mapping[str, Any]],
    events: Sequence[Mapping[str, Any]] = (),
    moves: StartMoves | None = None,
) -> tuple[str, ...]:
    """Return one sentence for each thing that is wrong with a run. Empty for an ordinary run.

    Args:
        info: The run.
        metrics: Rows of the run's metrics, in the order of their steps.
        events: Rows of the run's events. They say how many classes the data has.
        moves: How far the run's starts have moved; None: not known.

    Examples:
        >>> run_alarms(RunInfo("a", state="failed", reason="loss is NaN at step 60"), [])
        ('The run failed: loss is NaN at step 60.',)
    """
    facts = _last(events, "data")
    classes = facts.get("classes") if isinstance(facts.get("classes"), int) else 0
    training = info.config.get("training") or {}
    notes = notes_on_results(
        metrics,
        classes or 0,
        own_loss=bool(_last(events, "task").get("own_loss")),
        distilled=bool(training.get("kd_weight")),
    )
    ended = {"failed": "The run failed", "lost": "The run was lost"}.get(info.state)
    found = [f"{ended}: {info.reason.rstrip('.')}." if info.reason else f"{ended}."] if ended else []
    found += [_sentence(note) for note in notes]
    if info.state == "finished" and info.reason and not notes:
        found.append(_sentence(info.reason))
    if ONE_CLASS not in notes:
        found += [*_guessing(metrics, classes or 0, facts.get("val")), *(() if notes else _no_progress(metrics))]
    if moves is not None and moves.can_move and info.progress >= LEAST_PROGRESS:
        found += _still(moves)
    return tuple(found)


def _last(events: Sequence[Mapping[str, Any]], kind: str) -> Mapping[str, Any]:
    return next((event for event in reversed(events) if event.get("kind") == kind), {})


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:].rstrip(".") + "."


def _guessing(metrics: Sequence[Mapping[str, Any]], classes: int, samples: object) -> list[str]:
    values = [row["top1"] for row in metrics if row.get("split") == "val" and isinstance(row.get("top1"), int | float)]
    if classes < 2 or not isinstance(samples, int) or samples < 1 or len(values) < 2:
        return []
    chance = 1 / classes
    limit = 100 * (chance + ERRORS * math.sqrt(chance * (1 - chance) / samples))
    if max(values) > limit:
        return []
    return [
        f"The network only guesses: its best top-1 is {max(values):.1f} %, and guessing among {classes:,} classes "
        f"gives {100 * chance:.1f} %."
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
    return [f"There is no progress: the training loss was {begin:.4g} at first and is {end:.4g} now."]


def _still(moves: StartMoves) -> list[str]:
    found = []
    if moves.dead:
        found.append(f"{moves.dead:,} of {moves.starts:,} starts have not moved since the first step.")
    if moves.collapsed:
        found.append(f"{moves.collapsed:,} of {moves.starts:,} starts have come close to others.")
    return found
