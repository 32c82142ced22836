"""Make a table of many runs, average its rows over seeds, and find its Pareto front.

Also list the differences between the configurations of runs.
"""

from __future__ import annotations

import hashlib
import json
import math
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nes_lab.errors import check_choice
from nes_lab.records.renamed_fields import current_tree
from nes_lab.records.table import csv_text
from nes_lab.runs.flatten import flatten
from nes_lab.runs.info import RunInfo

__all__ = [
    "COLUMNS",
    "RunTable",
    "config_difference",
    "dense_reference",
    "epitome_reference",
    "group_rows",
    "pareto",
    "run_table",
    "nondominated",
]

SETTINGS = ("id", "label", "group", "dataset", "backbone", "width", "routing", "scope", "seed")
RECIPE = ("epochs", "extended_from", "lr", "limit", "recipe", "setting")
NUMBERS = ("params", "madds", "top1", "top5", "latency_ms", "val_loss", "stored_bytes")
COLUMNS = (*SETTINGS, *RECIPE, *NUMBERS, "state")


@dataclass(frozen=True)
class RunTable:
    """A table with one row per run. All rows have the same columns.

    Attributes:
        rows: One mapping per run, from the name of a column to the run's value; None where the run has no value.
    """

    rows: tuple[dict[str, Any], ...]

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.rows[index]

    def to_csv(self) -> str:
        """Return the table of runs as CSV text.

        A spreadsheet would run text that begins with ``=`` as a formula. Such text gets a leading apostrophe.

        Examples:
            >>> run_table([RunInfo("a", label="=1+1")]).to_csv().splitlines()[1].split(",")[1]
            "'=1+1"
        """
        return csv_text(COLUMNS, ([row[column] for column in COLUMNS] for row in self.rows))


def run_table(infos: Iterable[RunInfo]) -> RunTable:
    """Return a table with one row per run and the columns that ``COLUMNS`` names, in the order of ``infos``.

    Four columns need an explanation:

    - ``routing`` is None for a network that was not compressed.
    - ``extended_from`` says where a run was given more epochs than planned, such as ``epoch 20``; None if it never was.
    - ``recipe`` is a short hash of the data and training sections of the configuration.
    - ``setting`` is a short hash of the configuration without seed and label.
    """
    return RunTable(tuple(_row(info) for info in infos))


def _row(info: RunInfo) -> dict[str, Any]:
    config = current_tree(info.config, warn=False)  # so that runs of older versions average with runs of this one
    backbone, data, training = (_section(config, name) for name in ("backbone", "data", "training"))
    compression = _section(config, "compression")
    summary = info.summary  # a network that was compressed before the run says there how
    extra = _extension(info) | ({"given": info.given} if info.given else {})
    settings = {
        "id": info.id,
        "label": info.label,
        "group": info.group,
        "dataset": info.given.get("data") or data.get("name"),
        "backbone": info.given.get("network") or backbone.get("name"),
        "width": backbone.get("width"),
        "routing": compression.get("routing") if compression else summary.get("routing"),
        "scope": compression.get("scope") if compression else summary.get("scope"),
        "seed": config.get("seed"),
        "epochs": training.get("epochs"),
        "extended_from": info.extended_from or None,
        "lr": training.get("lr"),
        "limit": data.get("limit"),
        "recipe": _fingerprint({"data": data, "training": training} | extra if data or training else {}),
        "setting": _fingerprint({key: value for key, value in config.items() if key not in ("seed", "label")} | extra),
    }
    return settings | {name: _finite(info.summary.get(name)) for name in NUMBERS} | {"state": info.state}


def _fingerprint(tree: Mapping[str, Any]) -> str | None:
    """Return a short hash of some settings, or None if the mapping is empty. The order of the keys does not change the hash."""
    if not tree:
        return None
    text = json.dumps(tree, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _section(config: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    section = config.get(name)
    return section if isinstance(section, Mapping) else {}


def _finite(value: Any) -> float | int | None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return value if number and math.isfinite(value) else None


def pareto(rows: Iterable[Mapping[str, Any]], cost: str = "madds", value: str = "top1") -> list[bool]:
    """Return for each row whether it is on the Pareto front of two columns, one to keep low and one to keep high.

    A row is not on the front if another row is at least as good in both columns and better in at least one. A row without a
    finite cost and value is never on the front. Of rows that are equal in both columns, all are on the front or none.

    Args:
        rows: Rows of a table of runs.
        cost: Column to keep low.
        value: Column to keep high.

    Examples:
        >>> pareto([{"madds": 1, "top1": 60}, {"madds": 2, "top1": 70}, {"madds": 3, "top1": 65}])
        [True, True, False]
    """
    pairs = ((_finite(row.get(cost)), _finite(row.get(value))) for row in rows)
    return nondominated([(math.nan, math.nan) if x is None or y is None else (x, -y) for x, y in pairs])


def nondominated(points: Sequence[tuple[float, ...]]) -> list[bool]:
    """Return for each point whether it is on the Pareto front. Smaller coordinates are better.

    A point is a tuple of numbers. It is not on the front if another point is smaller in at least one coordinate
    and larger in none. A point with a coordinate that is not finite is never on the front. Of equal points, all are on the
    front or none.

    Examples:
        >>> nondominated([(1, 5, 5), (5, 1, 5), (5, 5, 5), (math.nan, 0, 0)])
        [True, True, False, False]
    """
    best: set[tuple[float, ...]] = set()
    for point in sorted(
        {point for point in points if all(map(math.isfinite, point))}
    ):  # sorted: a better point comes before the points that it beats
        if not any(all(left <= right for left, right in zip(other, point, strict=True)) for other in best):
            best.add(point)
    return [point in best for point in points]


def group_rows(rows: Iterable[Mapping[str, Any]], by: str | Sequence[str]) -> list[dict[str, Any]]:
    """Group the rows that are equal in the columns ``by``, and return one row with the means of each group.

    For example, average the runs of one setting over their seeds. A run that was extended (given more epochs than planned) is
    never in one group with runs that were planned that long.

    Args:
        rows: Rows of a table of runs.
        by: Column or columns to group by.

    Returns:
        One row per group, in order of first appearance. It has the columns that ``by`` names, and the column
        ``extended_from`` if a run was extended.
        The column ``n`` is the number of rows in the group. A column of results such as ``top1`` holds the mean of the group,
        or None if no row has a value. The column ``<column>_std`` holds the sample standard deviation, or None if fewer than
        two rows have a value.

    Raises:
        OptionError: If ``by`` names an unknown column.

    Examples:
        >>> rows = [{"routing": "free", "top1": 90.0}, {"routing": "free", "top1": 92.0}]
        >>> group_rows(rows, by="routing")[0]["top1"]
        91.0
    """
    columns = [by] if isinstance(by, str) else list(by)
    for column in columns:
        check_choice("by", column, COLUMNS)
    rows = list(rows)
    if any(row.get("extended_from") for row in rows) and "extended_from" not in columns:
        columns.append("extended_from")
    groups: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault(tuple(row.get(column) for column in columns), []).append(row)
    return [dict(zip(columns, key, strict=True)) | _average(members, columns) for key, members in groups.items()]


def _average(members: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> dict[str, Any]:
    means: dict[str, Any] = {"n": len(members)}
    for name in NUMBERS:
        if name in columns:
            continue
        values = [value for row in members if (value := _finite(row.get(name))) is not None]
        means[name] = statistics.fmean(values) if values else None
        means[f"{name}_std"] = statistics.stdev(values) if len(values) > 1 else None
    return means


def config_difference(infos: Sequence[RunInfo]) -> dict[str, list[Any]]:
    """Return the fields of the configuration in which the runs differ.

    The keys are the dotted paths of the fields. For runs that were extended, ``extended_from`` counts as a
    field. Each value is the list of the runs' values, in the order of the runs.

    Examples:
        >>> config_difference([RunInfo("a", config={"seed": 0, "x": 1}), RunInfo("b", config={"seed": 1, "x": 1})])
        {'seed': [0, 1]}
    """
    flat = [flatten(info.config) | _extension(info) for info in infos]
    paths = list(dict.fromkeys(path for tree in flat for path in tree))
    columns = {path: [tree.get(path) for tree in flat] for path in paths}
    return {path: values for path, values in columns.items() if any(value != values[0] for value in values)}


def dense_reference(info: RunInfo, infos: Iterable[RunInfo]) -> RunInfo | None:
    """Return the dense run to compare a run with: the best finished one of the same group, data and backbone. None if there is none.

    Examples:
        >>> here = {"group": "g", "state": "finished"}
        >>> dense = RunInfo("dense", summary={"top1": 90.0}, **here)
        >>> dense_reference(RunInfo("a", config={"compression": {"madds": "60%"}}, **here), [dense]).id
        'dense'
    """
    if not info.group or info.config.get("compression") is None:
        return None
    mine, best = _row(info), None
    for other in infos:
        top1 = _finite(other.summary.get("top1"))
        if other.group != info.group or other.config.get("compression") or other.state != "finished" or top1 is None:
            continue
        theirs = _row(other)
        same = all(mine[name] == theirs[name] for name in ("dataset", "backbone", "limit"))
        if same and (best is None or top1 > best[0]):
            best = (top1, other)
    return None if best is None else best[1]


def epitome_reference(info: RunInfo, infos: Iterable[RunInfo]) -> RunInfo | None:
    """Return the finished compressed run to look at beside a dense one: of the same data and backbone, of the same group if there is one.

    Examples:
        >>> small = RunInfo("a", config={"compression": {"madds": "60%"}}, state="finished")
        >>> epitome_reference(RunInfo("dense"), [small]).id
        'a'
        >>> epitome_reference(small, [small]) is None
        True
    """
    if info.config.get("compression") is not None:
        return None
    mine = _row(info)
    fitting = [
        other
        for other in infos
        if other.config.get("compression")
        and other.state == "finished"
        and all(mine[name] == _row(other)[name] for name in ("dataset", "backbone"))
    ]
    return min(fitting, key=lambda other: other.group != info.group, default=None)


def _extension(info: RunInfo) -> dict[str, str]:
    return {"extended_from": info.extended_from} if info.extended_from else {}
