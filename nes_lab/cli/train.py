"""``nes-lab train``: create a run from a recipe (a named experiment) or a YAML file, and train it, here or in the background."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from nes_lab.cli.json_output import print_json, stdout_to_stderr
from nes_lab.cli.options import parse, split_overrides
from nes_lab.cli.train_here import print_created, print_end, print_start, shown_progress
from nes_lab.config import knobs
from nes_lab.errors import OptionError
from nes_lab.experiment.train import StartWarning, train
from nes_lab.recipes.registry import experiment_tree

__all__ = ["TrainCommand", "run_command"]

_SWITCHES = ("--detach", "--dense", "--allow-import", "--json", "--help")


@dataclass(frozen=True)
class TrainCommand:
    """Train a recipe (a named experiment), or the experiment in a YAML file. Change a field of either with --section.field VALUE."""

    config: tyro.conf.Positional[Annotated[Path | None, tyro.conf.arg(metavar="RECIPE|CONFIG.yaml")]] = None
    """Name of a recipe (nes-lab recipes lists them), or a YAML file. Without one, fields such as
    --compression.madds 60% say what to train."""
    variant: str | None = None
    """Variant of the recipe to train; by default the one the recipe names."""
    dense: bool = False
    """Train the network without compression, on the same data and in the same way, for comparison."""
    from_: Annotated[str | None, tyro.conf.arg(name="from", metavar="FOLDER|RUN")] = None
    """Start from this network: the folder of a saved one, such as nes-lab fit writes, or a run (RUN, RUN:best or RUN:averaged)."""
    allow_import: bool = False
    """Import the function package.module:function that FOLDER names as its network. It runs code: only for a folder that you trust."""
    detach: bool = False
    """Train in the background, after the runs that are already waiting."""
    json: bool = False
    """Print the result as one JSON value on standard output; everything else goes to standard error."""


def run_command(words: Sequence[str]) -> int:
    """Create a run from a recipe (a named experiment) or a YAML file, and train it in this process or in the background."""
    own, overrides = split_overrides(words, own=_SWITCHES, valued=("--variant", "--from"))
    options = parse(TrainCommand, "train", own, description=_description())
    if options.config is None and not overrides:
        raise OptionError("nothing to train: give a recipe, a YAML file, or fields such as --compression.madds 60%")
    if options.config is None and options.variant is not None:
        raise OptionError(f"--variant {options.variant}: only recipes have variants; name a recipe")
    tree = {} if options.config is None else experiment_tree(options.config, options.variant, options.dense)
    with stdout_to_stderr(options.json), warnings.catch_warnings():
        warnings.simplefilter("ignore", StartWarning)  # they are printed as the run's notes
        with shown_progress() as on_progress:
            about: dict[str, Any] = {"start": options.from_, "allow_import": options.allow_import}
            shown = print_created if options.detach else on_progress
            run = train(tree, overrides=overrides, **about, detach=options.detach, progress=False, on_progress=shown)
        status = print_start(run) if options.detach else print_end(run)
    if options.json:
        print_json(run.info.to_dict())
    return status


def _description() -> str:
    lines = [f"  --{knob.path} ({knob.default}): {knob.description}" for knob in knobs()]
    return f"{TrainCommand.__doc__}\n\nFields and their defaults:\n" + "\n".join(lines)
