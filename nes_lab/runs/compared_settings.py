"""Make a table of the settings in which some runs differ, with names that people can read.

Tests: tests/runs/test_query.py.
"""

from __future__ import annotations

from collections.abc import Sequence

from nes_lab.records.columns import Column
from nes_lab.records.field_names import choice_words, label_of
from nes_lab.records.table import Table
from nes_lab.runs.info import RunInfo
from nes_lab.runs.query import config_difference
from nes_lab.text import format_value

__all__ = ["compared_settings"]

DENSE = "dense"
_GIVEN = ("name", "root", "checkpoint", "kd_checkpoint", "start", "label", "class_order", "extended_from", "optimizer")
"""Settings whose text is a name or a path."""


def compared_settings(runs: Sequence[RunInfo]) -> Table:
    """Return a table with one row per setting in which the runs differ, and one column per run.

    Settings of the compression are compared among the runs that are compressed. Values are words: ``both axes``, ``yes``, ``no``.

    Examples:
        >>> runs = [RunInfo("a", label="first", config={"seed": 0}), RunInfo("b", config={"seed": 1})]
        >>> print(compared_settings(runs).text())
        setting    first    b
        ---------  -------  ---
        Seed       0        1
    """
    shown = [Column("field", "setting", "Name of the setting.")]
    shown += [Column(f"run-{place}", info.label or info.id, "Value in this run.") for place, info in enumerate(runs)]
    compressed = [place for place, info in enumerate(runs) if info.config.get("compression")]
    rows = []
    for path, values in config_difference(runs).items():
        if path == "compression.routing":
            values = [values[place] if place in compressed else DENSE for place in range(len(runs))]
        elif path.startswith("compression"):
            # a dense run has none of these settings, which its row for the routing says
            among = [values[place] for place in compressed]
            if all(value == among[0] for value in among):
                continue
        if path == "label":  # the heads of the columns
            continue
        texts = {f"run-{place}": _text(path, value) for place, value in enumerate(values)}
        rows.append({"field": label_of(path)} | texts)
    return Table(shown, rows)


def _text(path: str, value: object) -> str:
    """Return the value of a setting as people write it. Names that a user gives stay as they are."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str) and path.rpartition(".")[2] not in _GIVEN:
        return choice_words(path, value).replace("_", " ")
    return format_value(value)
