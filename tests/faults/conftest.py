"""Counting what was broken, what came back, and what was lost (nothing may be); and real trainings to break."""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest

from nes_lab.runs.store import RunStore
from tests import stand_in
from tests.faults.zygote import Zygote

_COUNTS = pytest.StashKey[dict]()
TALLY = "NES_LAB_FAULTS_TALLY"


def corners(cases, chosen):
    """Return all cases when faults are counted for docs/faults.md, else those at the chosen indices."""
    return list(cases) if os.environ.get(TALLY) else [cases[index] for index in chosen]


@dataclass
class Count:
    """One kind of fault.

    Attributes:
        answer: What happens.
        injected: How often it was done.
        resumed: How many runs went on to their end afterwards.
        identical: How many of those ended as an undisturbed run does, bit for bit.
        lost: What had been saved and could not be found again.
    """

    answer: str
    injected: int = 0
    resumed: int = 0
    identical: int = 0
    lost: int = 0


def pytest_configure(config):
    config.stash[_COUNTS] = {}


class Tally:
    def __init__(self, counts):
        self.counts = counts

    def __call__(self, fault, answer, injected=1, resumed=0, identical=0, lost=0):
        """Count; and insist that nothing was lost and that what went on is exact."""
        count = self.counts.setdefault(fault, Count(answer))
        for name, value in {"injected": injected, "resumed": resumed, "identical": identical, "lost": lost}.items():
            setattr(count, name, getattr(count, name) + value)
        assert lost == 0, f"{fault}: {lost} lost"
        assert identical == resumed, f"{fault}: {resumed - identical} of {resumed} resumed runs ended differently"


@pytest.fixture
def tally(request):
    counts = request.config.stash.setdefault(_COUNTS, {})
    return Tally(counts)


def pytest_terminal_summary(terminalreporter, config):
    counts = config.stash.get(_COUNTS, {})
    if not counts:
        return
    terminalreporter.section("faults: injected / resumed / bit for bit / lost")
    for name, count in counts.items():
        numbers = f"{count.injected:>5} {count.resumed:>4} {count.identical:>4} {count.lost:>3}"
        terminalreporter.write_line(f"{numbers}  {name}")
    total = [
        sum(getattr(count, name) for count in counts.values()) for name in ("injected", "resumed", "identical", "lost")
    ]
    terminalreporter.write_line("{:>5} {:>4} {:>4} {:>3}  in all".format(*total))
    if path := os.environ.get(TALLY):
        rows = [{"fault": name} | asdict(count) for name, count in counts.items()]
        Path(path).write_text(json.dumps(rows, indent=1) + "\n")


def config(routing="free", seed=0):
    from nes_lab.config import load_config

    return load_config(
        {
            "seed": seed,
            "data": {"limit": 96, "batch_size": 24},
            "backbone": {"width": 0.35},
            "compression": {"madds": "70%", "round_to": 1, "routing": routing},
            "training": {"epochs": 3, "warmup_epochs": 0, "threads": 1, "log_every_steps": 1, "device": "cpu"},
        }
    ).to_dict()


STEPS, STEPS_AN_EPOCH = 12, 4


@pytest.fixture(scope="session")
def zygote():
    found = Zygote(config("learner"))
    yield found
    found.close()


@pytest.fixture
def store(tmp_path):
    return RunStore(tmp_path / "runs")


def ending(store, run_id):
    """What must be equal, bit for bit: the weights, and every row of metrics but for time and speed."""
    checkpoint = store.latest_checkpoint(run_id)
    kept = ("step", "epoch", "split", "loss", "top1", "top5", "lr")
    rows = [{name: row[name] for name in kept if name in row} for row in store.metrics(run_id)]
    return checkpoint.step, checkpoint.weights.read_bytes(), rows


@pytest.fixture(scope="session")
def calm(zygote, tmp_path_factory):
    """The end of an undisturbed run, by routing; trained once."""
    store = RunStore(tmp_path_factory.mktemp("calm") / "runs")
    known = {}

    def end(routing="free"):
        if routing not in known:
            run_id = store.create(config(routing))
            assert zygote.train(store, run_id) == 0
            known[routing] = ending(store, run_id)
            assert known[routing][0] == STEPS
        return known[routing]

    return end


def saved(store, run_id):
    """What is safe by now: the step of the latest whole checkpoint, and the rows up to it."""
    checkpoint = store.latest_checkpoint(run_id)
    step = checkpoint.step if checkpoint else 0
    return step, [(row["step"], row["split"]) for row in store.metrics(run_id) if row["step"] <= step]


def count_lost(store, run_id, before):
    """How much of what was safe is no longer there."""
    step, rows = saved(store, run_id)
    return int(step < before[0]) + len(set(before[1]) - set(rows))


@pytest.fixture
def ends_exactly(zygote, calm):
    """Resume a run, and tell whether it ended as an undisturbed one: 1 or 0."""

    def go_on(store, run_id, routing="free"):
        assert zygote.train(store, run_id, output=store.root.parent / "log") == 0, (
            store.root.parent / "log"
        ).read_text()
        assert store.get(run_id).state == "finished"
        return int(ending(store, run_id) == calm(routing))

    return go_on


@pytest.fixture
def wait():
    def until(what, seconds=150.0):
        end = time.monotonic() + seconds
        while not (found := what()):
            assert time.monotonic() < end, f"still not so after {seconds} s"
            time.sleep(0.01)
        return found

    return until


@pytest.fixture
def fake_training(tmp_path, monkeypatch):
    return stand_in.lend(tmp_path, monkeypatch)
