"""``nes-lab optimize``: find the fastest exact form of a saved network, or of the network that a run trained, on this machine.

Tests: tests/cli/test_optimize.py
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from nes_lab.cli.export import find_run
from nes_lab.cli.json_output import print_json, stdout_to_stderr
from nes_lab.cli.options import parse

if TYPE_CHECKING:
    from torch import nn

    from nes_lab.records.optimize_report import OptimizeReport

__all__ = ["OptimizeCommand", "run_command"]


@dataclass(frozen=True)
class OptimizeCommand:
    """Find the fastest exact form of a network on this machine: in PyTorch, compiled or in ONNX Runtime; with epitomes or dense.

    All forms are compared with the network and timed in turn. Nothing is changed. In Python, nes_lab.optimize returns the network.
    """

    source: tyro.conf.Positional[Annotated[Path, tyro.conf.arg(metavar="FOLDER|RUN")]]
    """Folder that nes-lab compress or nes-lab fit has written; or a run, by its id or its folder."""
    batch: int = 1
    """Number of inputs in one forward pass; give the number that the network will be used with."""
    seconds: float = 60.0
    """Approximate seconds for tuning and timing; compiling and exporting take their own time."""
    input: tuple[int, ...] | None = None
    """Shape of one input without the batch dimension; by default that of the stored plan or of the run's data."""
    keep_madds: bool = True
    """Choose only among forms within the planned multiply-adds; the report names a faster form that needs more."""
    write: Path | None = None
    """ONNX file to write if the fastest form runs in ONNX Runtime; other forms exist only in a Python process."""
    allow_import: bool = False
    """Import the function package.module:function that FOLDER names as its network. It runs code: only for a folder that you trust."""
    json: bool = False
    """Print the result as one JSON value on standard output; everything else goes to standard error."""


def run_command(words: Sequence[str]) -> int:
    """Find the fastest form of the network that the command line names, and print the report."""
    options = parse(OptimizeCommand, "optimize", words)
    with stdout_to_stderr():  # exporters print messages
        network, report = _optimized(options)
        if options.write is not None:
            _write(network, report, options.write)
    if options.json:
        print_json(report.to_dict())
    else:
        print(report)
    return 0


def _optimized(options: OptimizeCommand) -> tuple[nn.Module, OptimizeReport]:
    run = find_run(options.source)
    if run is not None:
        from nes_lab.experiment.optimize_run import optimize_run

        return optimize_run(
            run,
            batch=options.batch,
            seconds=options.seconds,
            input_shape=options.input,
            keep_madds=options.keep_madds,
            progress=True,
        )
    from nes_lab.models.folders import optimize_folder

    return optimize_folder(
        options.source,
        batch=options.batch,
        seconds=options.seconds,
        input_shape=options.input,
        keep_madds=options.keep_madds,
        allow_import=options.allow_import,
        progress=True,
    )


def _write(network: nn.Module, report: OptimizeReport, path: Path) -> None:
    from nes_lab.export.session import OnnxNetwork

    if isinstance(network, OnnxNetwork):
        print(f"wrote {network.save(path)}", file=sys.stderr)
        return
    print(
        f"{path} is not written: the fastest form here is {report.chosen!r}, which exists only in a Python process; "
        "call nes_lab.optimize there, or write an ONNX file with nes-lab export",
        file=sys.stderr,
    )
