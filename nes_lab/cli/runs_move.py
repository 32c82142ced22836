"""``nes-lab runs pack`` and ``nes-lab runs import``: carry a run to another machine, as one file.

Tests: tests/runs/test_pack.py
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from nes_lab.cli.json_output import print_json
from nes_lab.cli.options import parse
from nes_lab.experiment.open_runs import import_run, open_run
from nes_lab.experiment.run import Run
from nes_lab.import_spec import own_names
from nes_lab.text import format_bytes

__all__ = ["ImportCommand", "PackCommand", "import_command", "pack_command"]

PATHS = ("data.root", "backbone.checkpoint", "training.kd_checkpoint")
"""Fields of a configuration that name files outside the run."""


@dataclass(frozen=True)
class PackCommand:
    """Pack a run that has ended into one file. The command "nes-lab runs import" opens the file on another machine."""

    run: tyro.conf.Positional[Annotated[str, tyro.conf.arg(metavar="RUN")]]
    """Id of the run; the beginning or end of it is enough if no other run has it."""
    file: tyro.conf.Positional[Annotated[Path | None, tyro.conf.arg(metavar="FILE")]] = None
    """File to write; by default RUN.run.zip in the present folder."""
    json: bool = False
    """Print the result as one JSON value."""


@dataclass(frozen=True)
class ImportCommand:
    """Import a run from a file that the command "nes-lab runs pack" has written on another machine."""

    file: tyro.conf.Positional[Annotated[Path, tyro.conf.arg(metavar="FILE")]]
    """The packed run."""
    new_id: bool = False
    """Give the run a new id; by default it keeps its id, which must not exist here."""
    allow_import: bool = False
    """Let the run import the functions package.module:function that its configuration names. Only for a run that you trust."""
    json: bool = False
    """Print everything that is known about the imported run, as JSON."""


def pack_command(words: Sequence[str]) -> int:
    """Pack the run that the command line names into one file."""
    options = parse(PackCommand, "runs pack", words)
    path = open_run(options.run).pack(options.file)
    size = path.stat().st_size
    if options.json:
        print_json({"file": str(path), "bytes": size})
    else:
        print(f"packed in {path} ({format_bytes(size)}); on the other machine: nes-lab runs import {path.name}")
    return 0


def import_command(words: Sequence[str]) -> int:
    """Import the packed run that the command line names."""
    options = parse(ImportCommand, "runs import", words)
    run = import_run(options.file, new_id=options.new_id, allow_import=options.allow_import)
    if options.json:
        print_json(run.info.to_dict())
        return 0
    print(f"imported {run.id}, which is {run.state}")
    for note in _notes(run, options.allow_import):
        print(note)
    return 0


def _notes(run: Run, allow_import: bool) -> list[str]:
    """Return sentences about what an imported run needs before this machine can resume it, such as missing files."""
    config, notes = run.info.config, []
    if (names := own_names(config)) and not allow_import:
        given = ", ".join(names.values())
        notes.append(f"It names code of its author ({given}), which is not imported; --allow-import would allow it.")
    for path in PATHS:
        section, _, field = path.partition(".")
        values = config.get(section)
        place = values.get(field) if isinstance(values, dict) else None
        if isinstance(place, str) and not Path(place).expanduser().exists():
            notes.append(f"{path}={place!r:.200} is not found from this folder; resuming the run needs it.")
    return notes
