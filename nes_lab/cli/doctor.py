"""``nes-lab doctor``: check what this machine has, and say how to install what is missing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby

from rich.text import Text

from nes_lab.cli.environment_checks import Finding, check_environment
from nes_lab.cli.json_output import print_json
from nes_lab.cli.options import parse
from nes_lab.cli.tables import printable
from nes_lab.runs import layout

__all__ = ["DoctorCommand", "run_command"]

MISSING = 1
STYLE = {"ok": "green", "note": "yellow", "missing": "red"}


@dataclass(frozen=True)
class DoctorCommand:
    """Check what this machine has, and say how to install what is missing. Exits with 1 if something essential is missing."""

    json: bool = False
    """Print the result as one JSON value on standard output."""


def run_command(words: Sequence[str]) -> int:
    """Check this machine, and print what it has and what is missing. Return 1 if something essential is missing, otherwise 0."""
    options = parse(DoctorCommand, "doctor", words)
    findings = list(check_environment(layout.default_root().absolute()))
    if options.json:
        print_json({"ok": not _missing(findings), "findings": [asdict(finding) for finding in findings]})
    else:
        _show(findings)
    return MISSING if _missing(findings) else 0


def _missing(findings: Iterable[Finding]) -> list[str]:
    return [finding.name for finding in findings if finding.state == "missing"]


def _show(findings: Sequence[Finding]) -> None:
    from rich.console import Console

    console = Console(soft_wrap=True, highlight=False)
    room = max(len(finding.name) for finding in findings)
    for part, group in groupby(findings, key=lambda finding: finding.part):
        console.print(Text(part, style="bold"))
        for finding in group:
            row = Text.assemble(f"  {finding.name:<{room}}  ", (f"{finding.state:<7}", STYLE[finding.state]))
            console.print(row + Text(f"  {printable(finding.value, 300)}"))
            if finding.advice:
                console.print(Text(f"  {'':<{room}}           {finding.advice}", style="dim"))
    missing = _missing(findings)
    console.print(f"missing and essential: {', '.join(missing)}" if missing else "everything essential is installed")
