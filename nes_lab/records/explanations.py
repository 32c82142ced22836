"""Say in words and tables how far two networks look at the same parts of their inputs.

Tests: tests/records/test_explanations.py
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from nes_lab.records.columns import Column
from nes_lab.records.table import Table
from nes_lab.text import format_share

__all__ = ["LARGELY", "PARTLY", "explanation_finding", "explanation_table"]

LARGELY, PARTLY = 0.7, 0.4
"""Mean rank correlations from which two networks look at largely, or partly, the same places."""


def explanation_finding(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return what the numbers say about some inputs, in sentences.

    Args:
        rows: One dict per input with ``answers``, ``rank_correlation`` (None: not defined), ``overlap``, and the areas
            ``deletion_first``, ``deletion_second``, ``insertion_first`` and ``insertion_second``.

    Examples:
        >>> row = {"answers": [1, 1], "rank_correlation": 0.8, "overlap": 0.5}
        >>> row |= {f"{half}_{side}": 0.5 for half in ("deletion", "insertion") for side in ("first", "second")}
        >>> explanation_finding([row]).partition(". ")[0]
        'On this image, both networks look at largely the same places: rank correlation 0.80, 50 % of the top tenth shared'
    """
    count = len(rows)
    ranks = [row["rank_correlation"] for row in rows if row["rank_correlation"] is not None]
    same = sum(row["answers"][0] == row["answers"][1] for row in rows)
    where = "On this image" if count == 1 else f"On these {count} images"
    mean = "" if count == 1 else "mean "
    if ranks:
        rank = fmean(ranks)
        how = "largely the same" if rank >= LARGELY else "partly the same" if rank >= PARTLY else "mostly other"
        shared = format_share(fmean(row["overlap"] for row in rows), digits=0)
        first = f"{where}, both networks look at {how} places: {mean}rank correlation {rank:.2f}, {shared} of the top tenth shared."
    else:
        first = f"{where}, at least one map is the same everywhere, so the maps cannot be compared."
    answer = (
        "They give the same answer"
        if same == count == 1
        else "They give different answers"
        if count == 1
        else (f"They give the same answer on {same} of {count}")
    )
    return f"{first} {answer}. {_faithful(rows)}"


def _faithful(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return whether each map points at parts that its network uses, by the areas under the curves of deletion and insertion."""
    parts, right = [], 0
    for side, name in (("first", "reference"), ("second", "run")):
        low, high = (fmean(row[f"{half}_{side}"] for row in rows) for half in ("deletion", "insertion"))
        right += high > low
        parts.append(f"{low:.2f} and {high:.2f} for the {name}")
    verdict = "both maps point at" if right == 2 else "at least one map does not point at"
    return f"The areas under the curves of deletion and insertion are {' and '.join(parts)}: {verdict} parts that the network uses."


def explanation_table(rows: Sequence[Mapping[str, Any]], classes: Sequence[str]) -> Table:
    """Return the numbers of each input as a table.

    Args:
        rows: One dict per input, as the app's page Explain gets them.
        classes: Names of the classes.
    """
    columns = (
        Column("input", "image", "Number of the validation example, or name of the uploaded file."),
        Column("true_class", "label", "True class, if it is known."),
        Column("answer_reference", "reference", "Answer of the reference. Both maps explain it."),
        Column("answer_run", "run", "Answer of the run's network."),
        Column(
            "rank",
            "rank correlation",
            "Agreement of both maps: 1 for the same order of all places, 0 for unrelated ones.",
        ),
        Column("overlap", "top tenth shared", "Share of the most important tenth of the places that both maps share."),
        Column(
            "deletion",
            "deletion",
            "Area under the curve when the most important parts are deleted first: reference / run.",
        ),
        Column("insertion", "insertion", "The same when they are inserted first; larger is better: reference / run."),
    )

    def named(number: int | None) -> str:
        return "–" if number is None else classes[number] if number < len(classes) else str(number)

    return Table(
        columns,
        [
            {
                "input": row.get("name") or f"{row.get('index', 0):,}",
                "true_class": named(row.get("label")),
                "answer_reference": named(row["answers"][0]),
                "answer_run": named(row["answers"][1]),
                "rank": "–" if row["rank_correlation"] is None else f"{row['rank_correlation']:.2f}",
                "overlap": format_share(row["overlap"], digits=0),
                "deletion": f"{row['deletion_first']:.2f} / {row['deletion_second']:.2f}",
                "insertion": f"{row['insertion_first']:.2f} / {row['insertion_second']:.2f}",
            }
            for row in rows
        ],
    )
