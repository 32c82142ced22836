"""``nes-lab tune``: the fastest execution plan of every layer, by measurement on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from nes_lab.cli.json_output import print_json, stdout_to_stderr
from nes_lab.cli.options import parse

__all__ = ["run_command"]


@dataclass(frozen=True)
class TuneCommand:
    """Choose each layer's execution plan by measurement here, and store the choice in the model's folder."""

    folder: tyro.conf.Positional[Annotated[Path, tyro.conf.arg(metavar="FOLDER")]]
    """Folder of a saved model, as nes-lab compress and nes-lab fit write it."""
    batch: int = 1
    """Inputs a forward, as the model will be served."""
    seconds: float = 60.0
    """About how long it may take."""
    input: tuple[int, ...] | None = None
    """Shape of one input without its batch; by default that of the stored plan."""
    dry_run: bool = False
    """Only measure; leave the folder as it is."""
    json: bool = False
    """Print one JSON value to standard output; all else goes to standard error."""


def run_command(words: Sequence[str]) -> int:
    """Tune a folder."""
    options = parse(TuneCommand, "tune", words)
    with stdout_to_stderr():
        from nes_lab.models.folders import tune_folder

        report = tune_folder(
            options.folder,
            batch=options.batch,
            seconds=options.seconds,
            input_shape=options.input,
            save=not options.dry_run,
            progress=True,
        )
    if options.json:
        print_json(report.to_dict())
    else:
        print(report)
    return 0
