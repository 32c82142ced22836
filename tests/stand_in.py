"""A stand-in for training that needs no torch: a step takes as long, fails or dies as a run's config asks."""

from __future__ import annotations

import os
import signal
import sys
import time
import types
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # not when it trains: a process that starts often should start fast
    import pytest

DIES_FROM = 1000
"""A seed of 1000 + n: killed in each of the first n attempts. Seed 13 fails."""


@dataclass(frozen=True)
class Wish:
    """What a config asks for: the plain one of the tests of runs, or an experiment, of which an epoch is a step of ``lr`` seconds."""

    steps: int
    sleep: float
    seed: int
    fails: bool

    @classmethod
    def of(cls, config: dict[str, Any]) -> Wish:
        training = config.get("training", {})
        seed = config.get("seed", 0)
        fails = bool(config.get("raise")) or seed == 13
        return cls(
            config.get("steps", training.get("epochs")), config.get("sleep", training.get("lr", 0.0)), seed, fails
        )


def run_experiment(store: Any, run_id: str, **_: Any) -> dict[str, Any]:
    """Write what a training writes, with a checkpoint at each step."""
    from nes_lab.runs.writer import RunWriter

    wish, stop = Wish.of(store.get(run_id).config), []
    signal.signal(signal.SIGTERM, lambda *_: stop.append(1))
    with RunWriter(store, run_id) as writer:
        found = writer.latest_checkpoint()
        for step in range(found.step + 1 if found else 1, wish.steps + 1):
            _step(writer, wish, step)
            if stop or writer.cancel_requested():
                asked = writer.cancel_requested()
                writer.status("cancelled", reason="cancelled on request" if asked else "SIGTERM received")
                return {}
            time.sleep(wish.sleep)
        writer.summary(top1=50.0 + wish.seed % 10, params=10, madds=100 + wish.seed)
        writer.status("finished")
    return {}


def _step(writer: Any, wish: Wish, step: int) -> None:
    writer.metric(step=step, split="train", loss=1 / (step + wish.seed))
    weights, state = writer.checkpoint_paths(step)
    weights.write_bytes(b"w%d" % step)
    state.write_bytes(b"s%d" % step)
    writer.commit_checkpoint(step, [weights, state])
    writer.status(step=step, total=wish.steps)
    if wish.fails:
        raise ValueError("boom")
    if writer.attempt <= wish.seed - DIES_FROM:
        os.kill(os.getpid(), signal.SIGKILL)


def install() -> None:
    """Take the place of the real one in this process."""
    module = types.ModuleType("nes_lab.experiment.run_experiment")
    module.run_experiment = run_experiment  # pyright: ignore[reportAttributeAccessIssue]
    sys.modules["nes_lab.experiment.run_experiment"] = module


def lend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let processes that start from here train with the stand-in; return the folder whose ``sitecustomize`` does it."""
    folder = tmp_path / "fake"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text("from tests.stand_in import install\n\ninstall()\n")
    before = filter(None, [os.environ.get("PYTHONPATH")])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), str(Path(__file__).resolve().parents[1]), *before]))
    return folder
