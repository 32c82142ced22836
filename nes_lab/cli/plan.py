"""``nes-lab plan``: show how a backbone would be compressed to a budget, before anything is trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nes_lab.cli.json_output import print_json, stdout_to_stderr
from nes_lab.cli.options import parse
from nes_lab.cli.plan_flags import PlanFlags, compression_config, dense_source, search_options
from nes_lab.cli.tables import print_counts, print_table, printable
from nes_lab.errors import OptionError
from nes_lab.runs.replace import write_target

if TYPE_CHECKING:
    from nes_lab.records.compression_plan import CompressionPlan

__all__ = ["PlanCommand", "run_command"]


@dataclass(frozen=True, kw_only=True)
class PlanCommand(PlanFlags):
    """Show how a backbone would be compressed to a budget: the epitome of each layer, and what the network would cost."""

    explain: bool = False
    """For each layer, print its ratio, its multiply-adds with each execution plan, and the reason for its epitome shape."""
    json: bool = False
    """Print the plan as JSON on standard output; everything else goes to standard error."""
    output: Path | None = None
    """Also write the plan to this file, for nes-lab compress --plan."""


def run_command(words: Sequence[str]) -> int:
    """Make the compression plan that the command line asks for, and print it."""
    options = parse(PlanCommand, "plan", words)
    compression, dense = compression_config(options), dense_source(options)
    with stdout_to_stderr():  # so that the output of other libraries does not end up in the JSON
        from nes_lab.models.jobs import plan_backbone

        plan = plan_backbone(dense, compression, **search_options(options))
    if options.output is not None:
        _write(options.output, plan.to_json())
    if options.json:
        print_json(plan.to_dict() | {"rows": plan.rows()})
    elif options.explain:
        _explain(plan)
    else:
        _show(plan, options.backbone)
    return 0


def _write(path: Path, text: str) -> None:
    try:
        write_target(path, text)
    except OSError as error:
        raise OptionError(f"--output {path} cannot be written: {error.strerror or error}") from error


def _show(plan: CompressionPlan, backbone: str) -> None:
    print(f"{backbone}: {len(plan.layers)} layers compressed, {len(plan.kept)} kept dense")
    print_table(plan.table())
    _show_totals(plan)


def _show_totals(plan: CompressionPlan) -> None:
    print_counts(plan.dense, plan.predicted)
    for note in (*plan.notes, *(f"advice: {sentence}" for sentence in plan.advice)):
        print(note)


def _explain(plan: CompressionPlan) -> None:
    print("\n".join(printable(line, 400) for line in plan.explain().splitlines()))
    print()
    _show_totals(plan)
