"""``nes-lab train``: create a run from a recipe (a named experiment) or a YAML file, and train it, here or in the background."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from nes_lab.cli.json_output import print_json, stdout_to_stderr
from nes_lab.cli.options import parse, split_overrides
from nes_lab.cli.ranks import is_first
from nes_lab.cli.train_here import create_run, train_here
from nes_lab.config import knobs, load_config
from nes_lab.recipes.registry import experiment_tree
from nes_lab.runs.launcher import launch
from nes_lab.runs.store import RunStore

if TYPE_CHECKING:
    from nes_lab.datasets.spec import DatasetSpec

__all__ = ["TrainCommand", "run_command", "start_detached"]


@dataclass(frozen=True)
class TrainCommand:
    """Train a recipe (a named experiment), or the experiment in a YAML file. Change a field of either with --section.field VALUE."""

    config: tyro.conf.Positional[Annotated[Path, tyro.conf.arg(metavar="RECIPE|CONFIG.yaml")]]
    """Name of a recipe (nes-lab recipes lists them), or a YAML file."""
    variant: str | None = None
    """Variant of the recipe to train; by default the one the recipe names."""
    dense: bool = False
    """Train the network without compression, on the same data and in the same way, for comparison."""
    detach: bool = False
    """Train in the background, after the runs that are already waiting."""
    json: bool = False
    """Print the result as one JSON value on standard output; everything else goes to standard error."""


def run_command(words: Sequence[str]) -> int:
    """Create a run from a recipe (a named experiment) or a YAML file, and train it in this process or in the background."""
    own, overrides = split_overrides(words, own=("--detach", "--dense", "--json", "--help"), valued=("--variant",))
    options = parse(TrainCommand, "train", own, description=_description())
    config = load_config(experiment_tree(options.config, options.variant, options.dense), overrides)
    from nes_lab.experiment.build import check

    data = check(config)  # before a run is created, so that a mistake leaves no run behind
    store = RunStore()
    run_id = create_run(store, config.to_dict(), label=config.label)
    with stdout_to_stderr(options.json):
        status = start_detached(store, run_id) if options.detach else _train(store, run_id, data)
    if options.json:
        print_json(store.get(run_id).to_dict())
    return status


def _train(store: RunStore, run_id: str, data: DatasetSpec | None) -> int:
    if is_first():
        print(f"run {run_id} in {store.path(run_id)}")
    return train_here(store, run_id, data)


def start_detached(store: RunStore, run_id: str) -> int:
    """Start a run in the background, or queue it if enough other runs are training. Print which of the two happened."""
    pid = launch(store, run_id)
    print(f"{run_id} " + (f"is training in process {pid}" if pid else "waits in the queue"))
    return 0


def _description() -> str:
    lines = [f"  --{knob.path} ({knob.default}): {knob.description}" for knob in knobs()]
    return f"{TrainCommand.__doc__}\n\nFields and their defaults:\n" + "\n".join(lines)
