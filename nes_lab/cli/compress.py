"""``nes-lab compress``: compress a backbone to a budget, and save it in a folder that can be trained, exported and shared.

Tests: tests/cli/test_models.py
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from nes_lab.cli.json_output import print_json, stdout_to_stderr
from nes_lab.cli.options import parse
from nes_lab.cli.plan_flags import SaveFlags, saving_arguments
from nes_lab.cli.tables import print_counts
from nes_lab.import_spec import is_import_spec
from nes_lab.records.options import InitialWeights

if TYPE_CHECKING:
    from nes_lab.models.jobs import SavedModel

__all__ = ["CompressCommand", "print_saved", "run_command"]


@dataclass(frozen=True, kw_only=True)
class CompressCommand(SaveFlags):
    """Compress a backbone to a budget and save it in a folder."""

    initial_weights: InitialWeights | None = None
    """Fit each epitome to the layer's weights (fit) or draw random ones (reset); by default only pretrained weights are fitted."""


def run_command(words: Sequence[str]) -> int:
    """Compress the backbone that the command line names, and save it in a folder."""
    options = parse(CompressCommand, "compress", words, renamed={"--weights": "--initial-weights"})
    arguments = saving_arguments(options)
    with stdout_to_stderr():
        from nes_lab.models.jobs import compress_to_folder

        saved = compress_to_folder(**arguments, initial_weights=options.initial_weights)
    print_saved(options, saved)
    return 0


def print_saved(options: SaveFlags, saved: SavedModel) -> None:
    """Print the params, the multiply-adds and the folder of a compressed network that was just saved, as text or as JSON."""
    if options.json:
        print_json(saved.to_dict())
        return
    if saved.fit is not None:
        print(saved.fit)
    print_counts(saved.plan.dense, replace(saved.plan.predicted, params=saved.params, madds=saved.madds))
    for note in (*saved.plan.notes, *saved.notes):
        print(note)
    allow = " --allow-import" if is_import_spec(options.backbone) else ""
    print(
        f"saved in {saved.folder} ({saved.file_bytes:,} bytes); go on with: nes-lab export {saved.folder} model.onnx{allow}"
    )
