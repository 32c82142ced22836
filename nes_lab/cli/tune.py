"""``nes-lab tune``: measure which execution plan (way to compute a layer) is fastest for each layer of a saved network.

Tests: tests/cli/test_models.py
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from nes_lab.cli.json_output import print_json, stdout_to_stderr
from nes_lab.cli.options import parse

__all__ = ["TuneCommand", "run_command"]


@dataclass(frozen=True)
class TuneCommand:
    """Measure on this machine which execution plan (way to compute a layer) is fastest for each layer of a saved network.

    The choice is stored in the network's folder.
    """

    folder: tyro.conf.Positional[Annotated[Path, tyro.conf.arg(metavar="FOLDER")]]
    """Folder that nes-lab compress or nes-lab fit has written."""
    batch: int = 1
    """Number of inputs in one forward pass; give the number that the network will be used with."""
    seconds: float = 60.0
    """Approximate limit on the seconds that tuning takes."""
    input: tuple[int, ...] | None = None
    """Shape of one input without the batch dimension; by default that of the stored plan."""
    keep_madds: bool | None = None
    """Whether no layer may get more multiply-adds, even if that is faster; by default if the network was planned for multiply-adds."""
    dry_run: bool = False
    """Only measure; do not change the folder."""
    allow_import: bool = False
    """Import the function package.module:function that FOLDER names as its network. It runs code: only for a folder that you trust."""
    json: bool = False
    """Print the result as one JSON value on standard output; everything else goes to standard error."""


def run_command(words: Sequence[str]) -> int:
    """Measure the execution plans (ways to compute a layer) of a saved network, and store the fastest plan of each layer."""
    options = parse(TuneCommand, "tune", words)
    with stdout_to_stderr():
        from nes_lab.models.folders import tune_folder

        report = tune_folder(
            options.folder,
            batch=options.batch,
            seconds=options.seconds,
            input_shape=options.input,
            keep_madds=options.keep_madds,
            save=not options.dry_run,
            allow_import=options.allow_import,
            progress=True,
        )
    if options.json:
        print_json(report.to_dict())
    else:
        print(report)
    return 0
