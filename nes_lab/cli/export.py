"""``nes-lab export``: a saved model, or the network of a run, as one file for other runtimes."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from nes_lab.cli.json_output import print_json, stdout_to_stderr
from nes_lab.cli.options import parse
from nes_lab.errors import OptionError, RunError
from nes_lab.runs import layout
from nes_lab.runs.store import RunStore

if TYPE_CHECKING:
    from nes_lab.export.report import ExportReport

__all__ = ["run_command"]


@dataclass(frozen=True)
class ExportCommand:
    """Export a saved model, or the network that a run has trained; a file is checked against PyTorch before it gets its name."""

    source: tyro.conf.Positional[Annotated[Path, tyro.conf.arg(metavar="FOLDER|RUN")]]
    """Folder of a saved model, as nes-lab compress and nes-lab fit write it; or a run, by its id or folder."""
    path: tyro.conf.Positional[Annotated[Path, tyro.conf.arg(metavar="FILE")]]
    """File to write, such as model.onnx or model.pt2; with --format folder, the folder."""
    format: Literal["onnx", "torch", "folder"] | None = None
    """onnx, torch for a torch.export program, or (of a run) folder for a saved model; by default the file's ending decides."""
    averaged: bool = False
    """Of a run: its averaged weights, where training.ema_decay kept some."""
    best: bool = False
    """Of a run: its best checkpoint by validation top-1, instead of its newest."""
    form: Literal["materialized", "factored"] = "materialized"
    """Plain convolutions (materialized), or the reuse kept in the graph (factored): small and cheap."""
    opset: int | None = None
    """ONNX operator set; by default torch's own choice."""
    input: tuple[int, ...] | None = None
    """Shape of one input without its batch; by default that of the stored plan or the run's data."""
    json: bool = False
    """Print one JSON value to standard output; all else goes to standard error."""


def run_command(words: Sequence[str]) -> int:
    """Export a folder or a run."""
    options = parse(ExportCommand, "export", words)
    found = _run_of(options.source)
    if found is None and (options.averaged or options.best or options.format == "folder"):
        raise OptionError(f"--averaged, --best and --format folder are for runs, and {options.source} is none")
    with stdout_to_stderr():  # exporters talk
        report = _export(options, options.source, options.input) if found is None else _export_run(options, *found)
    if options.json:
        print_json({"folder": str(options.path)} if report is None else report.to_dict())
    else:
        print(f"saved in {options.path}" if report is None else report)
    return 0


def _run_of(source: Path) -> tuple[RunStore, str] | None:
    """Find the run that is meant, by its id or folder; None for the folder of a saved model."""
    if (source / layout.RUN).is_file():
        return RunStore(source.absolute().parent), source.absolute().name
    if source.exists():
        return None
    store = RunStore()
    try:
        return store, store.find_id(str(source))
    except RunError as error:
        raise RunError(f"{source} is no folder of a saved model, and no run: {error}") from error


def _export_run(options: ExportCommand, store: RunStore, run_id: str) -> ExportReport | None:
    from nes_lab.experiment.trained import save_trained

    if options.format == "folder":
        save_trained(store, run_id, options.path, averaged=options.averaged, best=options.best)
        return None
    with tempfile.TemporaryDirectory(prefix="nes-lab-") as place:
        shape = save_trained(store, run_id, Path(place) / "model", averaged=options.averaged, best=options.best)
        return _export(options, Path(place) / "model", options.input or shape)


def _export(options: ExportCommand, folder: Path, shape: tuple[int, ...] | None) -> ExportReport:
    from nes_lab.models.folders import export_folder

    return export_folder(
        folder,
        options.path,
        format=options.format or ("torch" if options.path.suffix == ".pt2" else "onnx"),
        form=options.form,
        opset=options.opset,
        input_shape=shape,
    )
