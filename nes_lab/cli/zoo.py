"""``nes-lab zoo``: test that a backbone can be planned, compressed, trained for a step, materialized, saved and loaded.

Tests: tests/cli/test_models.py
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Annotated

import tyro

from nes_lab.cli.json_output import print_json, stdout_to_stderr
from nes_lab.cli.options import parse
from nes_lab.cli.tables import print_table
from nes_lab.errors import BudgetError
from nes_lab.records.budget import parse_quantity
from nes_lab.records.columns import columns
from nes_lab.records.table import Table

__all__ = ["ZooCommand", "run_command"]


@dataclass(frozen=True)
class ZooCommand:
    """Test backbones with random weights: each is planned, compressed, run forward and backward, materialized, saved and loaded."""

    backbones: tyro.conf.Positional[Annotated[tuple[str, ...], tyro.conf.arg(metavar="BACKBONE")]] = ()
    """Names of networks: ours, timm's, or your own function as package.module:function. Without names, the known families are listed."""
    params: str = "60%"
    """Parameter budget as a share of the dense network. If a network cannot shrink that much, its smallest size plus a tenth is used."""
    json: bool = False
    """Print one JSON value to standard output; all else goes to standard error."""


def run_command(words: Sequence[str]) -> int:
    """Test the backbones that the command line names. If it names none, list the known families of backbones."""
    options = parse(ZooCommand, "zoo", words)
    if not options.backbones:
        return _list(options.json)
    share = _share(options.params)
    with stdout_to_stderr():
        from nes_lab.zoo.check import check_backbone
        from nes_lab.zoo.result import zoo_table

        rows = [check_backbone(name, params=share) for name in options.backbones]
    if options.json:
        print_json([row.to_dict() for row in rows])
    else:
        print_table(zoo_table(rows))
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
        rows = [
            {"family": n, "backbone": family.model, "params": family.params} for n, family in known_families.items()
        ]
        print_table(Table(columns("family", "backbone", "params"), rows))
    return 0
