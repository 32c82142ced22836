"""Say what the forms of a network differ in: dense, as trained, fused and tuned. The numbers come from a worker, as data.

Tests: tests/records/test_network_forms.py
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nes_lab.records.columns import Column
from nes_lab.records.spread import Ratio
from nes_lab.records.table import Table
from nes_lab.text import NO_VALUE, format_bytes, format_ms, format_share

__all__ = ["forms_finding", "forms_table", "forms_text"]

_NAMES = {
    "dense": "Dense layers of the same shapes",
    "as trained": "As trained",
    "fused": "Fused",
    "tuned": "Fused and tuned",
}
_COLUMNS = (
    Column("form", "network", "Form in which the network is used."),
    Column("params", "params", "Stored numbers.", "count"),
    Column("madds", "MAdds", "Multiply-adds of one input.", "count"),
    Column("size", "file size", "Bytes of its parameters and buffers in a file."),
    Column("time", "time of a call", "Median of the timed calls."),
    Column("most", "9 of 10 calls within", "90th percentile of the timed calls."),
    Column("share", "time against as trained", "Median ratio of the times in one round, with two standard errors."),
    Column(
        "differs", "outputs differ by", "Largest difference from the trained network, relative to the largest output."
    ),
)


def forms_table(found: Mapping[str, Any]) -> Table:
    """Return the forms of a network as a table: their params, MAdds, file size, time, and how much their outputs differ.

    Args:
        found: The answer of :func:`nes_lab.experiment.network_forms.compare_forms`.
    """
    trained = _form(found, "as trained")["median_ms"]
    rows = [_shown(row, trained) for row in found["forms"]]
    return Table(_COLUMNS, rows)


def _shown(row: Mapping[str, Any], trained: float) -> dict[str, Any]:
    difference = row.get("difference")
    return {
        "form": _NAMES.get(row["form"], row["form"]),
        "params": row["params"],
        "madds": row["madds"],
        "size": format_bytes(row["stored_bytes"]),
        "time": format_ms(row["median_ms"]),
        "most": format_ms(row["p90_ms"]),
        "share": _share(row, trained),
        "differs": NO_VALUE if difference is None else f"{difference:.0e}",
    }


def _share(row: Mapping[str, Any], trained: float) -> str:
    ratio = _ratio(row)
    if ratio is None:
        return format_share(row["median_ms"], trained, digits=0)
    return f"{format_share(ratio.median, digits=0)} ± {format_share(ratio.uncertainty, digits=0)}"


def _ratio(row: Mapping[str, Any]) -> Ratio | None:
    """Return the time of a form / that of the trained network, with its spread; None in answers of older versions."""
    given = row.get("ratio")
    return None if given is None else Ratio(**given)


def forms_finding(found: Mapping[str, Any]) -> str:
    """Return the finding of the comparison in one or two sentences.

    Whether a difference counts is decided by :mod:`nes_lab.records.spread`. In answers of older versions it counts if the slower
    median is above the 90th percentile of the faster form.

    Examples:
        >>> trained, ratio = {"form": "as trained", "median_ms": 2.0}, {"low": 0.49, "high": 0.51, "rounds": 60}
        >>> fused = {"form": "fused", "median_ms": 1.0, "ratio": ratio | {"median": 0.5, "error": 0.01}}
        >>> forms_finding({"forms": [trained, fused]})
        'The fastest form is “Fused”: 1 ms, 50 % of the time as trained.'
        >>> forms_finding({"forms": [trained, fused | {"ratio": ratio | {"median": 0.95, "error": 0.1}}]})
        'The machine was too busy to tell the forms apart: no form is clearly faster than as trained. Measure again when it is idle.'
    """
    trained = _form(found, "as trained")
    others = [row for row in found["forms"] if row["form"] != "as trained"]
    fastest = min(others, key=lambda row: row["median_ms"], default=trained)
    ratio = _ratio(fastest)
    if ratio is not None and ratio.too_busy:
        return (
            "The machine was too busy to tell the forms apart: no form is clearly faster than as trained. "
            "Measure again when it is idle."
        )
    if not ratio.is_faster() if ratio else trained["median_ms"] <= fastest.get("p90_ms", 0.0):
        return "No form is faster than as trained by more than the times of single calls differ."
    share = format_share(fastest["median_ms"], trained["median_ms"], digits=0)
    told = f"The fastest form is “{_NAMES[fastest['form']]}”: {format_ms(fastest['median_ms'])}, {share} of the time as trained."
    if fastest["form"] == "dense":
        told += " Fewer multiply-adds do not save time here: sampling the weights has a cost of its own."
    return told


def forms_text(found: Mapping[str, Any]) -> str:
    """Return where and how the forms were measured, in sentences."""
    threads = f", {found['threads']} thread{'s' * (found['threads'] != 1)}" if found["device"] == "cpu" else ""
    told = (
        f"Measured on {found['device']}{threads}, {found['dtype']}, with {found['batch']} input{'s' * (found['batch'] != 1)} a "
        f"call: {found['repeats']} calls of each form in turn, with the {found['weights']}."
    )
    return " ".join([told, *found["notes"]])


def _form(found: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    return next(row for row in found["forms"] if row["form"] == name)
