"""Draw what ``nes-lab watch`` shows: one run in detail, or several runs.

Several runs are drawn as a table, or in a narrow terminal as a few lines per run.

Tests: tests/cli/test_watch.py
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.cells import cell_len
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from nes_lab.cli.tables import SHORT_ID, printable, state_style, tail
from nes_lab.cli.terminal_plot import plot, sparkline
from nes_lab.errors import RunError
from nes_lab.progress_bar import event_text
from nes_lab.runs import layout
from nes_lab.runs.checkpoint_score import Score, best_of
from nes_lab.runs.deciding_metric import DecidingMetric
from nes_lab.runs.files import read_json, read_tail
from nes_lab.runs.info import RunInfo
from nes_lab.runs.run_progress import RunProgress
from nes_lab.runs.states import STATES
from nes_lab.runs.store import RunStore
from nes_lab.text import format_bytes, format_seconds, shorten_middle

__all__ = ["run_frame", "run_line", "runs_frame"]

HEADS = ("run", "label", "state", "progress", "", "epoch", "loss", "top-1", "", "images/s", "left")
NUMBERS = (4, 5, 6, 7, 9, 10)
WIDE, MOST_LABEL = 110, 200
CURVE_LINES, LOG_LINES, CHECKPOINTS = 8, 6, 3


def runs_frame(
    runs: Sequence[RunProgress], waiting: Sequence[str], infos: Sequence[RunInfo], width: int
) -> RenderableType:
    """Draw several runs for ``nes-lab watch``, one below the other.

    Args:
        runs: The runs to show, in this order.
        waiting: Ids of the queued runs, in the order of the queue.
        infos: All runs, also those that are not shown. The first line gives the number of runs in each state, such as
            ``running``.
        width: Number of columns of the terminal.
    """
    counts = Counter(info.state for info in infos)
    states = ", ".join(f"{counts[state]} {state}" for state in STATES if counts[state])
    more = len(infos) - len(runs)
    end = f"; {more} more not shown, nes-lab runs lists them" if more else ""
    body = _table(runs, waiting, width) if width >= WIDE else _blocks(runs, waiting, width)
    return Group(Text(f"{time.strftime('%X')}  {states}{end}", style="dim"), *body)


def _table(runs: Sequence[RunProgress], waiting: Sequence[str], width: int) -> list[RenderableType]:
    rows = [_cells(run, waiting) for run in runs]
    needed = [max(cell_len(str(cell)) for cell in column) for column in zip(HEADS, *rows, strict=True)]
    room = width - sum(needed[2:]) - 2 * (len(HEADS) - 1)
    ids = min(needed[0], max(SHORT_ID, room - needed[1]))
    labels = min(needed[1], max(len(HEADS[1]), room - ids))
    table = Table(box=None, pad_edge=False)
    for index, (head, least) in enumerate(zip(HEADS, (ids, labels, *needed[2:]), strict=True)):
        side = "right" if index in NUMBERS else "left"
        table.add_column(head, justify=side, no_wrap=True, overflow="ellipsis", min_width=least)
    for row in rows:
        table.add_row(tail(str(row[0]), ids), shorten_middle(str(row[1]), labels), *row[2:])
    stages = [f"{info.id}: {event_text(info.stage)}" for run in runs if (info := run.info).stage]
    return [table, *map(Text, stages), *_reasons([run.info for run in runs if _needs_reason(run.info)])]


def _cells(run: RunProgress, waiting: Sequence[str]) -> tuple[str | Text, ...]:
    info = run.info
    return (
        info.id,
        printable(info.label, MOST_LABEL),
        _state(info),
        _bar(info, 12),
        f"{info.progress:.0%}",
        _epoch(run),
        _loss(run),
        _metric(run).removeprefix("top-1 "),
        Text(sparkline([y for _, y in run.values], 10), style="blue"),
        f"{run.images_per_s:,.0f}" if info.is_active and run.images_per_s else "",
        _left(run, waiting),
    )


def _blocks(runs: Sequence[RunProgress], waiting: Sequence[str], width: int) -> list[RenderableType]:
    parts: list[RenderableType] = []
    for run in runs:
        info = run.info
        bar = Text.assemble(_state(info), " ", _bar(info, 12), f" {info.progress:.0%}  ")
        first = Text.assemble(bar, (tail(info.id, max(SHORT_ID, width - bar.cell_len)), "bold"))
        speed = f"{run.images_per_s:,.0f} images/s" if info.is_active and run.images_per_s else ""
        loss, metric = _loss(run), _metric(run)
        words = [
            event_text(info.stage) if info.stage else "",
            f"epoch {_epoch(run)}" if _epoch(run) else "",
            f"loss {loss}" if loss else "",
            f"{metric} {sparkline([y for _, y in run.values], 8)}" if metric else "",
            speed,
            f"{_left(run, waiting)} left" if run.seconds_left is not None else "",
            f"waits as {_left(run, waiting)}" if info.id in waiting else "",
        ]
        label = [Text(shorten_middle(printable(info.label, MOST_LABEL), width), style="dim")] * bool(info.label)
        numbers = [Text("  ".join(filter(None, words)))] * any(words)
        parts += [first, *label, *numbers]
        if _needs_reason(info):
            parts.append(Text(printable(info.reason, 300), style="red"))
        parts.append(Text())
    return parts[:-1]


def run_frame(store: RunStore, run: RunProgress, waiting: Sequence[str], width: int) -> RenderableType:
    """Draw one run in detail: its progress, a curve, its checkpoints and the last lines of its log.

    The curve shows the validation top-1, or the run's first metric. Before the second validation it shows the training loss.
    """
    info = run.info
    parts = _blocks([run], waiting, width)
    if info.id not in str(parts[0]):  # the first line shows a shortened id
        parts.insert(0, Text(info.id, style="bold"))
    facts = [f"attempt {info.attempt}" if info.attempt > 1 else "", f"process {info.pid}" if info.is_active else ""]
    facts += [f"step {info.step:,} of {info.total:,}" if info.total else ""]
    parts.append(Text("  ".join(filter(None, facts)), style="dim"))
    what, curve, number = (f"val {printable(run.metric, 40)}", run.values, "{:.4g}")
    if run.metric == "top-1":
        what, number = "val top-1, %", "{:.1f}"
    if len(curve) < 2:
        what, curve, number = ("train loss", run.losses, "{:.3f}")
    if curve:
        parts += [Text(), Text(f"{what}, by step", style="dim")]
        parts += [Text(row, no_wrap=True) for row in plot(curve, min(width, 100), CURVE_LINES, number)]
    parts += [Text(), *_checkpoints(store.root / info.id)]
    log = read_tail(store.root / info.id / layout.LOG, LOG_LINES).splitlines()
    if log:
        parts += [Text(), Text(f"last lines of {layout.LOG}", style="dim")]
        parts += [Text(printable(row, 500), no_wrap=True, overflow="ellipsis") for row in log]
    return Group(*parts)


def _checkpoints(folder: Path) -> list[RenderableType]:
    try:
        entries = read_json(folder / layout.CHECKPOINTS / layout.MANIFEST)["checkpoints"]
        best, averaged = best_of(entries), best_of(entries, averaged=True)
        lines = [
            f"step {item['step']:,}, {format_bytes(sum(about['size'] for about in item['files'].values()))}, "
            f"{format_seconds(time.time() - item['time'])} ago" + _best_text(item, best, averaged)
            for item in reversed(entries)
        ]
    except (FileNotFoundError, RunError, KeyError, TypeError, AttributeError, ValueError):
        return [Text("checkpoints: their list is missing or damaged", style="red")]
    head = "checkpoints" if lines else "no checkpoint yet"
    return [Text(head, style="dim"), *(Text(row) for row in lines[:CHECKPOINTS])]


def _best_text(item: Mapping[str, Any], best: object, averaged: object) -> str:
    """Return a text such as ``, the best: 61.2 %`` for the best checkpoint of a run, and an empty text for any other one.

    There may be two best checkpoints. ``best`` is the one with the best trained weights. ``averaged`` is the one with the best
    averaged weights.
    """
    score = Score.of(item)
    if score is None:
        return ""
    metric = DecidingMetric(score.metric, score.better)
    texts = [
        f", the best{' averaged' * flag}: {printable(metric.text(value), 40)}"
        for entry, flag in ((best, False), (averaged, True))
        if item is entry and (value := score.value(flag)) is not None
    ]
    return "".join(texts)


def run_line(run: RunProgress) -> str:
    """Return one line of text about the progress of a run, without colors, for a file or a pipe.

    Examples:
        >>> run_line(RunProgress(RunInfo("a-1", state="running", step=5, total=10), epoch=2, epochs=4, losses=((5, 0.25),)))
        'a-1  running  50%  epoch 2/4  loss 0.250'
    """
    info, epoch, loss = run.info, _epoch(run), _loss(run)
    words = [
        info.id,
        info.state,
        f"{info.progress:.0%}",
        event_text(info.stage) if info.stage else "",
        f"epoch {epoch}" if epoch else "",
    ]
    words += [f"loss {loss}" if loss else "", _metric(run)]
    words += [printable(info.reason, 300) if _needs_reason(info) else ""]
    return "  ".join(filter(None, words))


def _state(info: RunInfo) -> Text:
    return Text(info.state, style=state_style(info.state))


def _bar(info: RunInfo, width: int) -> Text:
    done = int(info.progress * width)
    return Text.assemble(("━" * done, state_style(info.state)), ("─" * (width - done), "dim"))


def _epoch(run: RunProgress) -> str:
    return "" if run.epoch is None else f"{run.epoch}/{run.epochs or '?'}"


def _loss(run: RunProgress) -> str:
    return "" if run.loss is None else f"{run.loss:.3f}"


def _metric(run: RunProgress) -> str:
    if not run.values or run.metric == "loss":  # the loss has a place of its own
        return ""
    value = run.values[-1][1]
    return f"top-1 {value:.1f}" if run.metric == "top-1" else f"{printable(run.metric, 40)} {value:.4g}"


def _left(run: RunProgress, waiting: Sequence[str]) -> str:
    if run.seconds_left is not None:
        return format_seconds(run.seconds_left)
    return f"no. {waiting.index(run.info.id) + 1}" if run.info.id in waiting else ""


def _needs_reason(info: RunInfo) -> bool:
    return (info.is_resumable or info.state == "finished") and bool(info.reason)


def _reasons(infos: Sequence[RunInfo]) -> list[RenderableType]:
    """Return lines of text that say why runs ended early. Runs with the same state and reason share one line."""
    groups: dict[tuple[str, str], list[str]] = {}
    for info in infos:
        groups.setdefault((info.state, printable(info.reason, 300)), []).append(info.id)
    lines: list[RenderableType] = []
    for (state, reason), ids in groups.items():
        who = f"{ids[0]} is" if len(ids) == 1 else f"{ids[0]} and {len(ids) - 1} more are"
        style = "" if STATES[state].tone != "bad" else "red"
        lines.append(Text.assemble((f"{who} {state}: ", style), reason, overflow="fold"))
    return lines
