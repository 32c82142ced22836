"""``nes-lab compress``: a backbone compressed to a budget, as a folder that can be trained, exported and shared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from nes_lab.cli.json_output import print_json, stdout_to_stderr
from nes_lab.cli.options import parse
from nes_lab.cli.plan_flags import PlanFlags, compression_config, dense_source, read_plan, search_options

if TYPE_CHECKING:
    from nes_lab.models.jobs import SavedModel

__all__ = ["run_command", "show_saved"]


@dataclass(frozen=True, kw_only=True)
class CompressCommand(PlanFlags):
    """Compress a backbone to a budget and save it; pretrained weights are fitted, fresh ones keep their distribution."""

    folder: tyro.conf.Positional[Annotated[Path, tyro.conf.arg(metavar="FOLDER")]]
    """Where to save it; must not exist yet."""
    plan: Path | None = None
    """A plan that nes-lab plan --output wrote, instead of a budget."""
    initial_weights: Literal["fit", "reset"] | None = None
    """Epitomes nearest to the layers' weights (fit), or of their distribution only (reset); by default as the weights deserve."""
    overwrite: bool = False
    """Replace a saved model."""
    json: bool = False
    """Print one JSON value to standard output; all else goes to standard error."""


def run_command(words: Sequence[str]) -> int:
    """Compress and save."""
    options = parse(CompressCommand, "compress", words, renamed={"--weights": "--initial-weights"})
    plan = None if options.plan is None else read_plan(options.plan, options)
    wanted, dense = None if plan else compression_config(options), dense_source(options)
    with stdout_to_stderr():
        from nes_lab.models.jobs import compress_to_folder

        chosen = {"initial_weights": options.initial_weights, "overwrite": options.overwrite}
        saved = compress_to_folder(dense, options.folder, wanted=wanted, plan=plan, **chosen, **search_options(options))
    if options.json:
        print_json(saved.to_dict())
    else:
        show_saved(saved)
    return 0


def show_saved(saved: SavedModel) -> None:
    """Print what was saved, in a few lines."""
    dense = saved.plan.dense
    for name, now, before in (("params", saved.params, dense.params), ("madds", saved.madds, dense.madds)):
        print(f"{name:<6} {before:>15,} -> {now:>15,}  ({now / before:.1%} of the dense network)")
    for note in saved.plan.notes:
        print(note)
    print(f"saved in {saved.folder} ({saved.bytes:,} bytes); go on with: nes-lab export {saved.folder} model.onnx")
