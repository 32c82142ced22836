"""Estimate the time and the memory of a training on this machine, from a few of its steps.

Tests: tests/worker/test_training_cost.py.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import nn

from nes_lab.config import ExperimentConfig, load_config
from nes_lab.cost.measure import measure_peak_memory
from nes_lab.errors import DataError, OptionError
from nes_lab.experiment.attempt import make_trainer
from nes_lab.experiment.build import build
from nes_lab.experiment.start_from import open_start
from nes_lab.experiment.start_outputs import with_outputs_for
from nes_lab.progress_bar import OnProgress
from nes_lab.records.training_cost import estimate
from nes_lab.runs.store import RunStore
from nes_lab.training.device import cpu_threads
from nes_lab.training.evaluate import evaluate_split
from nes_lab.training.hooks import Hooks
from nes_lab.training.loop import Trainer

__all__ = ["training_cost"]

SECONDS = 8.0
"""Time after which no further step is measured."""
LEAST, MOST = 4, 40
"""Smallest and largest number of measured steps. Steps that take very long are measured once."""
LONG = 40.0
VALIDATION_SECONDS = 2.0


class _Watch:
    """Notes when steps of a training end, and stops the training after some of them."""

    def __init__(self, on_progress: OnProgress | None) -> None:
        self.on_progress = on_progress
        self.trainer: Trainer | None = None
        self.seconds: list[float] = []
        self.first, self.begun, self.last = True, time.perf_counter(), (0, 0.0)

    def should_stop(self) -> bool:
        """Note the time, and return whether enough steps are measured."""
        assert self.trainer is not None
        step, now = self.trainer.step, time.perf_counter()
        if self.on_progress is not None:
            self.on_progress({"phase": "measuring", "done": min(step, MOST), "total": MOST, "label": "steps"})
        if self.first:  # its memory is measured, which slows it down
            self.begun = now
        elif step == self.last[0] + 1 and self.last[1]:
            self.seconds.append(now - self.last[1])
        self.last = (step, now) if not self.first else (step, 0.0)
        measured, spent = len(self.seconds), now - self.begun
        enough = (measured >= LEAST and spent > SECONDS) or (measured and spent > LONG)
        return bool(self.first or enough or measured >= MOST)


def training_cost(question: Mapping[str, Any], on_progress: OnProgress | None = None) -> dict[str, float]:
    """Train a few steps of an experiment, throw the result away, and estimate what the whole training needs on this machine.

    Weights are not downloaded, epitomes are not fitted and the network is not compiled, because a step costs the same without.

    Args:
        question: ``config``, an experiment as a mapping, and ``root``, the folder of all runs.
        on_progress: Called after each step. An error that it raises ends the work.

    Returns:
        What :func:`nes_lab.records.training_cost.estimate` returns, and ``bytes``: the largest memory of the network, its gradients,
        the optimizer and one batch.

    Raises:
        NesLabError: If the experiment is wrong, its data is not on this computer, or it is too short to be measured.

    Examples:
        >>> config = {"data": {"limit": 512, "batch_size": 32}, "training": {"epochs": 1, "threads": 1}}
        >>> training_cost({"config": config, "root": "nowhere"})["steps"] > 3
        True
    """
    config = _plain(load_config(question["config"]))
    watch = _Watch(on_progress)
    with warnings.catch_warnings(), cpu_threads(config.training.threads):
        warnings.simplefilter("ignore")  # they are the run's notes, which its page shows
        trainer = watch.trainer = _trainer(config, Hooks(should_stop=watch.should_stop), RunStore(question["root"]))
        peak = measure_peak_memory(trainer.fit, trainer.device)
        watch.first = False
        trainer.fit()
        if not watch.seconds:
            raise OptionError(f"the training has {trainer.total} steps, too few to estimate its time")
        batch, batches = _validation(trainer)
    kept = [network for network in (trainer.model, trainer.ema and trainer.ema.module) if network is not None]
    told = estimate(watch.seconds, trainer.total, batch * batches * config.training.epochs)
    return told | {"bytes": peak + sum(map(_bytes, kept))}


def _plain(config: ExperimentConfig) -> ExperimentConfig:
    """Return an experiment whose steps cost the same, without what happens before the first step."""
    tree = config.to_dict()
    tree["backbone"] |= {"pretrained": False}
    tree["training"] |= {"compile": False, "trackers": [], "processes": 1}
    tree["data"] |= {"download": False}
    if tree["compression"] is not None:
        tree["compression"] |= {"initial_weights": "reset", "search_starts": False, "snap": False}
        tree["compression"] |= {"calibration": 0, "sequential": False}
    return load_config(tree)


def _trainer(config: ExperimentConfig, hooks: Hooks, store: RunStore) -> Trainer:
    network = None
    try:
        if config.start is not None:
            network, _ = open_start(config.start, store)
        built = build(config, network=network)
    except DataError as error:
        raise OptionError(
            f"The data is not on this computer, or not complete, so no step can be tried: {error}"
        ) from error
    if network is not None:
        model = with_outputs_for(
            built.data, built.model, config.start or "", new_head=config.backbone.new_head, seed=config.seed
        )
        built = replace(built, model=model)
    return make_trainer(config, built, hooks)


def _validation(trainer: Trainer) -> tuple[float, int]:
    """Return the mean time of a batch of the validation in seconds, and the number of batches."""
    size = 64 if trainer.device.type == "cpu" else 256
    marks = []

    def should_stop() -> bool:
        marks.append(time.perf_counter())
        return marks[-1] - marks[0] > VALIDATION_SECONDS

    evaluate_split(trainer.model, trainer.data.val, batch_size=size, device=trainer.device, should_stop=should_stop)
    seconds = (time.perf_counter() - marks[0]) / max(1, len(marks) - 1)
    return seconds, -(-len(trainer.data.val) // size)


def _bytes(network: nn.Module) -> int:
    return sum(item.numel() * item.element_size() for item in (*network.parameters(), *network.buffers()))
