"""``nes-lab export``: write a saved network, or the network that a run trained, to a file for programs such as ONNX Runtime.

Tests: tests/cli/test_models.py, tests/experiment/test_trained.py
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from nes_lab.cli.json_output import print_json, stdout_to_stderr
from nes_lab.cli.options import parse
from nes_lab.errors import OptionError, RunError
from nes_lab.experiment.open_runs import open_run
from nes_lab.experiment.run import Run, Which
from nes_lab.records.options import ExportForm, ExportFormat
from nes_lab.runs import layout
from nes_lab.runs.files import read_json

if TYPE_CHECKING:
    from nes_lab.export.report import ExportReport

__all__ = ["ExportCommand", "find_run", "run_command"]


@dataclass(frozen=True)
class ExportCommand:
    """Export a saved network, or the network that a run trained. Nothing is written if the exported outputs differ from PyTorch's."""

    source: tyro.conf.Positional[Annotated[Path, tyro.conf.arg(metavar="FOLDER|RUN")]]
    """Folder that nes-lab compress or nes-lab fit has written; or a run, by its id or its folder."""
    path: tyro.conf.Positional[Annotated[Path, tyro.conf.arg(metavar="FILE")]]
    """File to write, such as model.onnx or model.pt2; with --format folder, the folder to write."""
    format: ExportFormat | Literal["folder"] | None = None
    """onnx, torch (a torch.export program), or folder (a saved network; for runs only); by default the ending of FILE decides."""
    averaged: bool = False
    """Export the averaged weights of a run; training.ema_decay must have been set."""
    best: bool = False
    """Export the weights with the best validation instead of the newest: averaged or not, whichever is better. It prints which."""
    form: ExportForm = "materialized"
    """Write plain convolutions (materialized), or compute with the epitomes themselves (factored), which needs less space and time."""
    opset: int | None = None
    """Version of the ONNX operator set; by default torch chooses."""
    input: tuple[int, ...] | None = None
    """Shape of one input without the batch dimension; by default that of the stored plan or of the run's data."""
    allow_import: bool = False
    """Import the function package.module:function that FOLDER names as its network. It runs code: only for a folder that you trust."""
    verbose: bool = False
    """Let torch print its messages and the traced graph on standard error."""
    json: bool = False
    """Print the result as one JSON value on standard output; everything else goes to standard error."""


def run_command(words: Sequence[str]) -> int:
    """Export the network that the command line names: a saved one, or the one that a run trained."""
    options = parse(ExportCommand, "export", words)
    run = find_run(options.source)
    if run is None and (options.averaged or options.best or options.format == "folder"):
        raise OptionError(f"--averaged, --best and --format folder need a run, and {options.source} is not a run")
    with stdout_to_stderr():  # exporters print messages
        report = _export_folder(options) if run is None else _export_run(options, run)
    if not isinstance(report, Path):
        print_json(report.to_dict()) if options.json else print(report)
        return 0
    source = read_json(report / "config.json")["metadata"]["source"]
    print_json({"folder": str(report), "source": source}) if options.json else print(f"saved in {report} ({source})")
    return 0


def find_run(source: Path) -> Run | None:
    """Find the run that the command line names. Return None if it names a folder that does not belong to a run.

    Args:
        source: Id of a run, folder of a run, or folder of a saved network.

    Raises:
        RunError: If ``source`` is neither a folder nor the id of a run.
    """
    if source.exists() and not (source / layout.RUN).is_file():
        return None
    try:
        return open_run(str(source))
    except RunError as error:
        raise RunError(f"{source} is neither the folder of a saved network nor a run: {error}") from error


def _export_run(options: ExportCommand, run: Run) -> ExportReport | Path:
    which: dict[tuple[bool, bool], Which] = {
        (True, True): "best averaged",
        (True, False): "best",
        (False, True): "averaged",
    }
    return run.export(
        options.path,
        which=which.get((options.best, options.averaged), "last"),
        format=_format(options),
        form=options.form,
        opset=options.opset,
        input_shape=options.input,
        verbose=options.verbose,
    )


def _export_folder(options: ExportCommand) -> ExportReport:
    from nes_lab.models.folders import export_folder

    chosen = _format(options)
    assert chosen != "folder"  # run_command refuses it
    return export_folder(
        options.source,
        options.path,
        format=chosen,
        form=options.form,
        opset=options.opset,
        input_shape=options.input,
        allow_import=options.allow_import,
        verbose=options.verbose,
    )


def _format(options: ExportCommand) -> ExportFormat | Literal["folder"]:
    return options.format or ("torch" if options.path.suffix == ".pt2" else "onnx")
