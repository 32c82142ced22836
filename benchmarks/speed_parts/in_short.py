"""The first paragraph of docs/speed.md, and the table of what learned starts cost before and cost now."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.speed_parts.settings import FOR_SPEED
from benchmarks.speed_parts.words import rows_of, table

__all__ = ["before_and_now", "in_short"]

Data = dict[str, Any]
Row = dict[str, Any]


def in_short(data: Data) -> str:
    """Return when a network gets faster, by how much, and what to call, with the numbers of the result file."""
    return (
        "A network gets faster if most of its multiply-adds are in wide convolutions, as in ResNets. It gets smaller, but hardly faster, "
        f"if it consists of thin and depthwise convolutions, as MobileNets do. {_trained(data)} {_served(data)} For this, plan with "
        '`strategy="speed"` after `nes-lab calibrate-device`, train, and call `nes_lab.optimize(network, example)`; in the app, press '
        "*Optimize* on the page Run. If time is all that counts, a network with fewer channels is usually faster still at equal "
        "multiply-adds."
    )


def _trained(data: Data) -> str:
    found = [
        sentence
        for end, start in ((f", {FOR_SPEED}", "With a plan for speed"), ("", "With the default plan"))
        if (sentence := _steps(data, end, start))
    ]
    return " ".join(found) or "Training steps were not measured."


def _steps(data: Data, end: str, start: str) -> str:
    """Return a sentence about the training steps of one kind of plan; empty if they were not measured."""
    names = [f"{routing}{end}" for routing in ("tiled", "free", "learner")]
    steps = [row for row in rows_of(data, "starts/step") if row["contender"] in names]
    cases = dict.fromkeys(row["case"] for row in steps)
    parts = [f"{_list([row for row in steps if row['case'] == case])} of the dense step ({case})" for case in cases]
    words = (
        f"{start}, a training step with tiled starts, learned starts and an index learner takes {'; and '.join(parts)}."
    )
    return words if parts else ""


def _served(data: Data) -> str:
    best: dict[tuple[str, int], Row] = {}
    for row in rows_of(data, "optimized"):
        key = (row["case"], row["batch"])
        if row["keep_madds"] and (key not in best or row["ratio"] < best[key]["ratio"]):
            best[key] = row
    if not best:
        return "Optimized networks were not measured."
    parts = [f"{row['ratio']:.2f} ({case}, batch {batch})" for (case, batch), row in best.items()]
    return (
        "Served in its fastest form within its planned multiply-adds, a network takes this share of the time of the dense network in "
        f"its fastest form: {', '.join(parts)}."
    )


def _list(rows: Sequence[Row]) -> str:
    *first, last = [f"{row['ratio']:.2f}" for row in rows]
    return f"{', '.join(first)} and {last}" if first else last


def before_and_now(data: Data, before: Data | None) -> str:
    """Return the table of the jobs of learned starts, at an earlier commit and now.

    Args:
        data: The contents of the result files of today.
        before: The contents of results/before_speed.json; None if there is none.
    """
    if before is None:
        return "The earlier commit was not measured."
    now = {(row["case"], row["contender"]): row for row in rows_of(data, "starts")}
    lines = []
    for row in rows_of(before, "starts"):
        later = now.get((row["case"], row["contender"]))
        if later is not None:
            limit = "–" if later.get("target") is None else f"≤ {later['target']:.2f}"
            lines.append((row["case"], row["contender"], f"{row['ratio']:.2f}", f"{later['ratio']:.2f}", limit))
    facts = before["facts"]
    commits = ", ".join(dict.fromkeys(job["commit"].rstrip("+") for job in before["jobs"].values()))
    return (
        f"*before*: commit {commits}, measured by the same script on {facts['device']}, torch {facts['torch']}, {facts['date']}. All "
        f"numbers are ratios to dense.\n\n{table(('what', 'network or layer', 'before', 'now', 'target'), lines)}"
    )
