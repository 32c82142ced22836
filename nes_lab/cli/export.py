"""``nes-lab export``: a saved model as one file for other runtimes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from nes_lab.cli.machine import print_json, words_aside
from nes_lab.cli.options import parse

__all__ = ["run"]


@dataclass(frozen=True)
class Export:
    """Export a saved model to ONNX or torch.export; the file is checked against PyTorch before it gets its name."""

    folder: tyro.conf.Positional[Annotated[Path, tyro.conf.arg(metavar="FOLDER")]]
    """Folder of a saved model, as nes-lab compress and nes-lab fit write it."""
    path: tyro.conf.Positional[Annotated[Path, tyro.conf.arg(metavar="FILE")]]
    """File to write, such as model.onnx or model.pt2."""
    format: Literal["onnx", "torch"] | None = None
    """onnx, or torch for a torch.export program; by default the file's ending decides."""
    form: Literal["materialized", "factored"] = "materialized"
    """Plain convolutions (materialized), or the reuse kept in the graph (factored): small and cheap."""
    opset: int | None = None
    """ONNX operator set; by default torch's own choice."""
    input: tuple[int, ...] | None = None
    """Shape of one input without its batch; by default that of the stored plan."""
    json: bool = False
    """Print one JSON value to standard output; all else goes to standard error."""


def run(words: Sequence[str]) -> int:
    """Export a folder."""
    options = parse(Export, "export", words)
    with words_aside():  # exporters talk
        from nes_lab.models.folders import export_folder

        report = export_folder(
            options.folder,
            options.path,
            format=options.format or ("torch" if options.path.suffix == ".pt2" else "onnx"),
            form=options.form,
            opset=options.opset,
            input_shape=options.input,
        )
    if options.json:
        print_json(report.to_dict())
    else:
        print(report)
    return 0
