"""Write the page docs/zoo.md from the rows of results/zoo.json."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nes_lab.text import format_number, format_shape
from nes_lab.zoo.result import ZooRow

GROWN = "in float32 rounding grows to"
HEAD = """# The zoo: one model of every timm family, from plan to saved folder

<!-- Written by benchmarks/zoo.py from benchmarks/results/zoo.json; do not edit. -->

**{passed} of {total} families pass ({share:.1%}).** Each row is the smallest model of a family, with random weights and its default input
(a smaller one if a note says so). The model is planned at 60 % of its params. If the layers that must stay dense hold more than that, it is
planned at the least reachable share plus a tenth. Then it is compressed, run forward and backward, materialized, saved and loaded.

A row passes if all of this is true:

* The counts of the compressed network are those that the plan predicted.
* A gradient reaches every epitome whose dense weight had a gradient.
* The materialized network has plain layers only, has the state dict of the dense network, and gives the outputs of the compressed network.
* The loaded network gives the outputs of the saved one, bit for bit.

Columns: *share* is the budget of params. *params left* and *madds left* are counted after compressing, as shares of the dense
model. *agreement* is the largest difference between compressed and materialized outputs, divided by the largest difference between the
outputs for two images. Made with {versions}. `python -m benchmarks.zoo` makes the missing rows (`--redo` also those that
did not pass, `--only FAMILY` chosen ones); `python -m benchmarks.zoo --page` only writes this page.

| family | model | input | params | madds | share | params left | madds left | layers replaced / kept | agreement | outcome |
|---|---|---|---|---|---|---|---|---|---|---|
"""


def page(rows: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the page for the rows of results/zoo.json."""
    results = {family: ZooRow.from_dict(row) for family, row in sorted(rows.items())}
    passed = sum(row.passed for row in results.values())
    made_with = sorted({f"torch {row['torch']}, timm {row['timm']}, seed {row['seed']}" for row in rows.values()})
    head = HEAD.format(
        passed=passed, total=len(results), share=passed / max(len(results), 1), versions=" and ".join(made_with)
    )
    return head + "".join(f"{line(family, row)}\n" for family, row in results.items()) + notes(results)


def line(family: str, row: ZooRow) -> str:
    """Return one row of the table."""
    stopped = not row.reached_params
    cells = (
        family,
        row.model,
        format_shape(row.input_shape[1:]),
        format_number(row.params) if row.params else "",
        format_number(row.madds) if row.madds else "",
        "" if row.asked is None else f"{row.asked:.1%}" + ("" if row.least is None else " *"),
        "" if stopped else f"{row.reached_params / row.params:.1%}",
        "" if stopped else f"{row.reached_madds / row.madds:.1%}",
        f"{row.replaced} / {row.kept}" if row.replaced else "",
        "" if row.agreement is None else f"{row.agreement:.0e}",
        row.status if row.passed else f"**{row.status}** at {row.stage}: {one_line(row.reason)}",
    )
    return "| " + " | ".join(cells) + " |"


def one_line(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


def notes(results: Mapping[str, ZooRow]) -> str:
    """Return the notes of all rows; families with the same note share a line."""
    said: dict[str, list[str]] = {}
    grown = []
    for family, row in results.items():
        for note in filter(None, row.note.split("; ")):
            if note.startswith(GROWN):
                grown.append(f"{family} {note.removeprefix(GROWN).split()[0].rstrip(',')}")
            elif note != "compared in float64":  # the note that begins with GROWN says this too
                said.setdefault(one_line(note), []).append(family)
    lines = [f"- {note[0].upper()}{note[1:]}: {', '.join(names)}." for note, names in sorted(said.items())]
    if grown:
        why = "because the networks are deep and untrained; *agreement* is therefore measured in float64"
        lines.append(f"- {GROWN.capitalize()} the value given here, {why}: {', '.join(grown)}.")
    least = [f for f, row in results.items() if row.least is not None]
    if least:
        lines.insert(0, f"- \\* 60 % cannot be reached, because too much must stay dense: {', '.join(least)}.")
    return "\n## Notes\n\n" + "\n".join(lines) + "\n" if lines else ""
