"""Write the report of the demo: a table of its networks, its result in words, and figures of one compressed network.

Tests: tests/experiment/test_demo.py
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from nes_lab.figures.accuracy_vs_madds import accuracy_vs_madds
from nes_lab.figures.inputs import largest_layers
from nes_lab.figures.layer_bars import layer_bars
from nes_lab.figures.live_run import live_run
from nes_lab.figures.report import Section, report_html
from nes_lab.figures.run_report import layer_sections, plan_rows
from nes_lab.runs.compare import Contest, tally
from nes_lab.runs.difference import RULE, Difference
from nes_lab.runs.query import run_table
from nes_lab.text import NO_VALUE

if TYPE_CHECKING:
    from nes_lab.runs.store import RunStore

__all__ = ["demo_report", "verdict_text"]


def demo_report(
    store: RunStore,
    runs: Mapping[str, Sequence[str]],
    table: Sequence[Mapping[str, Any]],
    contests: Sequence[Contest],
    facts: Mapping[str, Any],
    shown: str,
) -> str:
    """Return the report of the demo as one HTML document.

    Args:
        store: The store that holds the runs.
        runs: Name of each network -> ids of its runs.
        table: Accuracy and cost, one row per network.
        contests: Comparisons of compressed networks with narrower dense ones of equal multiply-adds.
        facts: How the demo was measured: seeds, epochs, device and versions.
        shown: Id of the run whose layers, training curves and largest epitome are drawn.
    """
    rows = list(run_table([store.get(run) for ids in runs.values() for run in ids]))
    history = [(step, store.snapshot(shown, step)) for step in store.snapshots(shown)]
    label = store.get(shown).label
    sections = [
        Section("Result", text=verdict_text(contests, facts), table=table, note=_measured(facts)),
        Section("Accuracy against multiply-adds", figure=accuracy_vs_madds(rows)),
        Section("At equal multiply-adds", table=[_contest_row(c) for c in contests]),
        Section(f"Layers of {label}", figure=layer_bars(plan_rows(store, shown))),
        Section(f"Training of {label}", figure=live_run(store.metrics(shown), store.events(shown))),
    ]
    for name in largest_layers(history[-1][1], most=1):
        sections += layer_sections(name, history)
    settings = [{"fact": name, "value": str(value)} for name, value in facts.items()]
    return report_html(
        "NES Lab demo: compressed and narrower networks on handwritten digits",
        [*sections, Section("How it was measured", table=settings)],
    )


def verdict_text(contests: Sequence[Contest], facts: Mapping[str, Any]) -> str:
    """Return the demo's result in words: which epitome networks are more accurate than narrower dense ones.

    Both networks of a comparison have equal multiply-adds. The text also says how large the noise is.
    """
    noise = (
        f"{RULE} It is at least as wide as {facts['seeds']} seeds of 360 test digits allow: about 1.5 points to either side at "
        "98 %, so the demo cannot show small effects."
    )
    return "\n\n".join([tally(contests), "\n".join(c.sentence() for c in contests), noise])


def _contest_row(contest: Contest) -> dict[str, Any]:
    return {
        "epitome network": contest.name,
        "narrower network": contest.rival,
        "difference, points": round(contest.difference.value, 2),
        "95 % interval": _interval(contest.difference),
        "verdict": contest.verdict,
    }


def _interval(difference: Difference) -> str:
    return NO_VALUE if difference.low is None else f"{difference.low:+.2f} to {difference.high:+.2f}"


def _measured(facts: Mapping[str, Any]) -> str:
    return (
        "(0.7): as many madds as the dense network of width 0.7. Lowest and highest are over seeds. ms x64: median time of one "
        f"forward pass of 64 images on {facts['processor']}, {facts['threads']} threads, torch {facts['torch']}, with all networks "
        "timed in turn. Networks this small spend most of their time on depthwise convolutions, norms and the overhead of "
        "each operation, which epitomes do not reduce."
    )
