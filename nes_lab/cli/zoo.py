"""``nes-lab zoo``: test that a backbone can be planned, compressed, trained for a step, materialized, saved and loaded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated

import tyro

from nes_lab.cli.json_output import print_json, stdout_to_stderr
from nes_lab.cli.options import parse
from nes_lab.cli.tables import print_table, printable
from nes_lab.errors import BudgetError
from nes_lab.records.budget import parse_quantity
from nes_lab.text import format_number

if TYPE_CHECKING:
    from nes_lab.zoo.result import ZooRow

__all__ = ["run_command"]


@dataclass(frozen=True)
class ZooCommand:
    """Test backbones with random weights: plan, compress, run forward and backward, materialize, save and load each one."""

    backbones: tyro.conf.Positional[Annotated[tuple[str, ...], tyro.conf.arg(metavar="BACKBONE")]] = ()
    """Names of networks: small_mobilenetv2, m5, or any model name of timm. Without names, the known families are listed."""
    params: str = "60%"
    """Parameter budget as a share of the dense network. If it is out of reach, the smallest reachable budget plus a tenth is used."""
    json: bool = False
    """Print one JSON value to standard output; all else goes to standard error."""


def run_command(words: Sequence[str]) -> int:
    """Test backbones, or list the families that can be tested."""
    options = parse(ZooCommand, "zoo", words)
    if not options.backbones:
        return _list(options.json)
    share = _share(options.params)
    with stdout_to_stderr():
        from nes_lab.zoo.check import check_backbone

        rows = [check_backbone(name, params=share) for name in options.backbones]
    if options.json:
        print_json([row.to_dict() for row in rows])
    else:
        head = ("backbone", "result", "params", "dense", "madds", "dense", "agreement", "why")
        print_table(head, [_cells(row) for row in rows], numbers=range(2, 7))
    return 0 if all(row.passed for row in rows) else 1


def _share(text: str) -> float:
    share = parse_quantity(text, "--params")
    if share is None or share > 1:
        raise BudgetError(f"--params {text} should be a share of the dense network, such as 60%")
    return share


def _list(as_json: bool) -> int:
    from nes_lab.backbones.families import families

    known_families = families()
    if as_json:
        print_json({name: asdict(family) for name, family in known_families.items()})
    else:
        print_table(
            ("family", "smallest backbone", "params"),
            [(n, f.model, format_number(f.params)) for n, f in known_families.items()],
            [2],
        )
    return 0


def _cells(row: ZooRow) -> list[str]:
    counts = [format_number(n) if n else "" for n in (row.reached_params, row.params, row.reached_madds, row.madds)]
    agreement = "" if row.agreement is None else f"{row.agreement:.0e}"
    return [row.model, row.status, *counts, agreement, printable(row.reason or row.note, 80)]
