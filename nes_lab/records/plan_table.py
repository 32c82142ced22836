"""Make the tables of a compression plan from the dicts that :meth:`CompressionPlan.rows` returns.

The app can show these tables without the plan itself.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from nes_lab.records.columns import columns, madds_as
from nes_lab.records.counts import QUANTITIES
from nes_lab.records.table import Table, merge_rows
from nes_lab.text import list_some

__all__ = ["explanation", "layer_table", "notebook_table"]

_NOT_IN_NOTEBOOKS = ("kind", "routing", "stored_bytes", "stored_bytes_dense", "reason")
Rows = Sequence[Mapping[str, Any]]


def layer_table(rows: Rows, **around: Any) -> Table:
    """Return a compression plan as a table: one row per layer, with its shapes and its counts before and after.

    Args:
        rows: One dict per layer, from :meth:`CompressionPlan.rows`.
        around: Further arguments of :class:`Table`: ``total``, ``before`` and ``after``.
    """
    counts = [key for name in QUANTITIES for key in (name, f"{name}_dense")]
    shown = ("name", "kind", "weight_shape", "epitome_shape", "routing", "ratio", *counts, "execution", "reason")
    return Table(columns(*shown), rows, **around)


def notebook_table(table: Table, rows: Rows) -> Table:
    """Return the table of a compression plan for notebooks.

    Layers that stay dense for the same reason are merged into one row. To save width, the columns of bytes, kind, routing and
    reasons are left out. The reasons are listed below the table.

    Args:
        table: Table of the plan, from :meth:`CompressionPlan.table`.
        rows: One dict per layer, from :meth:`CompressionPlan.rows`.
    """
    few = merge_rows(rows, lambda row: row["reason"], [key for name in QUANTITIES for key in (name, f"{name}_dense")])
    shown = [column for column in table.columns if column.key not in _NOT_IN_NOTEBOOKS]
    dense: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        dense[row["reason"]].append(row["name"])
    after = [f"{list_some(names, 3)}: kept dense ({reason})" for reason, names in dense.items() if reason]
    return replace(table, columns=shown, few=few, after=after)


_MATRIX_PRODUCT = "_matmul"


def explanation(rows: Rows, before: Sequence[str] = ()) -> Table:
    """Return a table that says why each layer has its epitome shape or stays dense.

    The table also shows the multiply-adds of each execution plan (way to compute the layer). An execution plan that only replaces
    the convolution of another one by a matrix product has the same multiply-adds, and no column of its own.

    Args:
        rows: One dict per layer, from :meth:`CompressionPlan.rows`. The rows of older plans lack
            the multiply-adds of the execution plans.
        before: Lines of text to show above the table.
    """
    used = {row["execution"] for row in rows}
    names = list(dict.fromkeys(name for row in rows for name in row["executions"]))
    names = [name for name in names if not name.endswith(_MATRIX_PRODUCT) or name in used]
    shown = columns("name", "weight_shape", "epitome_shape", "params", "ratio")
    return Table(
        (*shown, *map(madds_as, names), *columns("why")), [_explain(r) for r in rows], None, before, _notes(rows)
    )


def _explain(row: Mapping[str, Any]) -> dict[str, Any]:
    madds = row["executions"] if row["epitome_shape"] else {"materialize": row["madds"]}
    why = row["why"] or f"shrunk by the plan, computed by {row['execution']}"
    why = f"kept dense: {row['reason']}" if row["reason"] else why
    unavailable = "; ".join(f"{name}: {reason}" for name, reason in row["unavailable"].items())
    return {**row, "why": why, "unavailable": unavailable} | {f"madds_{name}": count for name, count in madds.items()}


def _notes(rows: Rows) -> list[str]:
    """Return the lines of text below the table that explains a compression plan.

    One line says that a star in the table marks the execution plan in use. An execution plan is a way to compute a
    layer. Each other line names an execution plan, the layers that cannot use it, and the reason.
    """
    layers: dict[tuple[str, str], list[str]] = defaultdict(list)
    for row in rows:
        for name, reason in row["unavailable"].items():
            if name.endswith(_MATRIX_PRODUCT):
                continue
            layers[name, reason].append(row["name"])
    star = ["", "* marks the execution plan in use"] if any(row["executions"] for row in rows) else []
    return star + [f"{name} cannot run layer {list_some(held, 3)}: {reason}" for (name, reason), held in layers.items()]
