"""The demo: dense, narrower and epitome networks of equal multiply-adds on real digits, compared honestly."""

from __future__ import annotations

import json
import multiprocessing
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from nes_lab.config import ExperimentConfig, load_config
from nes_lab.cost.measure import measure_latency
from nes_lab.errors import OptionError, RunError
from nes_lab.experiment.run import Built, build, run_experiment
from nes_lab.figures.demo_report import demo_report
from nes_lab.runs.compare import Contest, compare
from nes_lab.runs.query import run_table
from nes_lab.runs.store import RunStore

__all__ = ["Contender", "DemoResult", "contenders", "run_demo"]

WIDTHS = (0.7, 0.5)
ROUTINGS = ("tiled", "free", "learner")
TOLERANCE = 0.02
BATCHES = (1, 64)
_POLL_S = 0.4

Progress = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class Contender:
    """One setting of the demo, trained once a seed.

    Args:
        name: Shown in tables and used as the runs' label.
        config: Its configuration with seed 0.
        built: The network and its counts.
        rival: Name of the narrower dense network of equal multiply-adds; None for dense ones.
    """

    name: str
    config: ExperimentConfig
    built: Built
    rival: str | None = None


@dataclass(frozen=True)
class DemoResult:
    """What the demo found.

    Args:
        group: Group of its runs in the store.
        table: One row a contender: params, madds, latency, accuracy.
        contests: Each epitome network against the narrower one of equal multiply-adds.
        seconds: Wall-clock time.
        report, results: Files written.
    """

    group: str
    table: list[dict[str, Any]]
    contests: list[Contest]
    seconds: float
    report: Path
    results: Path


def contenders(epochs: int, limit: int | None = None) -> list[Contender]:
    """The settings: dense, two narrower dense networks, and epitomes with the same multiply-adds as those.

    Raises:
        OptionError: If a plan misses the narrower network's multiply-adds by more than 2 %.
    """
    found = [_contender("dense, width 1", _config(epochs, limit))]
    for width in WIDTHS:
        narrow = _contender(f"dense, width {width:g}", _config(epochs, limit, backbone={"width": width}))
        found.append(narrow)
        for routing in ROUTINGS:
            asked = {"madds": narrow.built.cost.madds, "routing": routing, "round_to": 1, "weights": "reset"}
            wanted = _config(epochs, limit, compression=asked)
            found.append(_contender(f"epitome, {routing} ({width:g})", wanted, narrow))
    return found


def _config(epochs: int, limit: int | None, **sections: Any) -> ExperimentConfig:
    training = {"epochs": epochs, "lr": 0.1, "warmup_epochs": min(1.0, epochs / 4), "threads": 1, "device": "cpu"}
    return load_config({"data": {"name": "digits", "limit": limit}, "training": training, **sections})


def _contender(name: str, config: ExperimentConfig, rival: Contender | None = None) -> Contender:
    built = build(config)
    if rival is not None:
        share = built.cost.madds / rival.built.cost.madds
        if abs(share - 1) > TOLERANCE:
            raise OptionError(
                f"{name}: its {built.cost.madds:,} madds are {share:.1%} of {rival.name}'s; 2 % is allowed"
            )
    return Contender(name, config, built, None if rival is None else rival.name)


def run_demo(
    store: RunStore,
    *,
    seeds: int = 2,
    epochs: int = 10,
    workers: int = 2,
    limit: int | None = None,
    folder: Path | None = None,
    progress: Progress | None = None,
) -> DemoResult:
    """Train all contenders as ordinary runs, measure them, and write the report.

    Args:
        store: The runs land here, in a group of their own.
        seeds: Runs of each contender; a seed sets the split, the initial weights and the order of batches.
        epochs: Of each run.
        workers: Processes that train at the same time, one thread each.
        limit: Training images; None: all.
        folder: Where the report goes; None: ``demo/<group>`` beside the store.
        progress: Called often with done, finished, total, running (labels), eta_s; after the training also with
            ``phase``, which says what is done now.

    Raises:
        OptionError: If a number is below 1, or ``folder`` cannot be written.
        RunError: If a run did not finish; says which and why.
    """
    for name, value in (("seeds", seeds), ("epochs", epochs), ("workers", workers)):
        if value < 1:
            raise OptionError(f"{name}={value!r}; it must be at least 1")
    begun = time.perf_counter()
    group = f"demo-{time.strftime('%Y%m%d-%H%M%S')}"
    folder = _writable(folder or store.root.parent / "demo" / group)
    settings = contenders(epochs, limit)
    runs: dict[str, list[str]] = {c.name: [] for c in settings}
    for seed in range(seeds):
        for contender in settings:
            config = contender.config.to_dict() | {"seed": seed, "label": contender.name}
            runs[contender.name].append(store.create(config, label=f"{contender.name}, seed {seed}", group=group))
    order = [run for seed in range(seeds) for run in (ids[seed] for ids in runs.values())]
    _train_all(store, order, workers, progress)
    _say_phase(store, order, "measuring latency", begun, progress)
    table, contests = _results(store, settings, runs, _latencies(settings))
    _say_phase(store, order, "writing the report", begun, progress)
    seconds = time.perf_counter() - begun
    report, results = folder / "report.html", folder / "results.json"
    facts = {"group": group, "seeds": seeds, "epochs": epochs, "seconds": round(seconds, 1), **environment()}
    everything = {"facts": facts, "table": table, "contests": [asdict(c) | {"verdict": c.verdict} for c in contests]}
    everything["runs"] = [dict(row) for row in run_table([store.get(i) for ids in runs.values() for i in ids])]
    results.write_text(json.dumps(everything, indent=2) + "\n", encoding="utf-8")
    shown = next(c for c in settings if c.rival is not None and "free" in c.name)
    report.write_text(demo_report(store, runs, table, contests, facts, shown=runs[shown.name][0]), encoding="utf-8")
    return DemoResult(group, table, contests, seconds, report, results)


def _writable(folder: Path) -> Path:
    """Make the folder and try to write in it: a typing error should not cost a whole training."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OptionError(
            f"folder={str(folder)!r} (--out) cannot be written: {error.strerror or error}; "
            "name a folder that can be made or written"
        ) from error
    return folder


def _say_phase(store: RunStore, runs: Sequence[str], phase: str, begun: float, progress: Progress | None) -> None:
    if progress is not None:
        progress(_standing(store, runs, [], {}, begun) | {"phase": phase, "eta_s": None})


def environment() -> dict[str, Any]:
    """What every measured number must be read with: device, versions, threads."""
    return {
        "device": "cpu",
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "system": platform.platform(terse=True),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


# ---- training in a few processes ------------------------------------------------------------------------------------


def _train_all(store: RunStore, runs: Sequence[str], workers: int, progress: Progress | None) -> None:
    """Train runs, at most ``workers`` at a time, each in a process of its own that has torch loaded already."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["nes_lab.experiment.run"])
    waiting, active, begun = list(runs), {}, time.perf_counter()
    try:
        while waiting or active:
            while waiting and len(active) < workers:
                run = waiting.pop(0)
                active[run] = context.Process(target=_train_one, args=(str(store.root), run), daemon=False)
                active[run].start()
            time.sleep(_POLL_S)
            for run in [r for r, process in active.items() if not process.is_alive()]:
                active.pop(run).join()
                _require_finished(store, run)
            if progress is not None:
                progress(_standing(store, runs, waiting, active, begun))
    except BaseException:
        for process in active.values():  # SIGTERM: each run saves a checkpoint and ends as cancelled
            process.terminate()
        for process in active.values():
            process.join(30)
        raise


def _train_one(root: str, run: str) -> None:
    """Body of a training process; what goes wrong is in the run's own files and log."""
    store = RunStore(root)
    with (store.path(run) / "log.txt").open("a", encoding="utf-8") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
        run_experiment(store, run)
        sys.stdout.flush()


def _require_finished(store: RunStore, run: str) -> None:
    info = store.get(run)
    if info.state != "finished":
        raise RunError(f"run {run} ({info.label}) is {info.state}: {info.reason or store.log_tail(run, 5)}")


def _standing(
    store: RunStore, runs: Sequence[str], waiting: Sequence[str], active: dict[str, Any], begun: float
) -> dict[str, Any]:
    """How far all is: finished runs, the share of those running, and the time left at the pace so far."""
    infos = [store.get(run) for run in active]
    finished = len(runs) - len(waiting) - len(active)
    done = finished + sum(info.progress for info in infos)
    spent = time.perf_counter() - begun
    return {
        "done": done,
        "finished": finished,
        "total": len(runs),
        "running": [f"{info.label} {info.progress:.0%}" for info in infos],
        "eta_s": spent * (len(runs) - done) / done if done > 0.2 else None,
    }


# ---- what came out --------------------------------------------------------------------------------------------------


def _latencies(settings: Sequence[Contender]) -> dict[int, dict[str, float]]:
    """Median forward time per batch size and contender, all contenders in turn within one loop."""
    models = {c.name: c.built.model for c in settings}
    shape = settings[0].built.data.input_shape
    rounds = {1: 40, 64: 20}
    return {
        batch: {n: r.median_ms for n, r in measure_latency(models, torch.zeros(batch, *shape), rounds[batch]).items()}
        for batch in BATCHES
    }


def _results(
    store: RunStore, settings: Sequence[Contender], runs: dict[str, list[str]], latency: dict[int, dict[str, float]]
) -> tuple[list[dict[str, Any]], list[Contest]]:
    top1 = {name: [float(store.get(run).summary["top1"]) for run in ids] for name, ids in runs.items()}
    table: list[dict[str, Any]] = []
    for contender in settings:
        scores, cost = top1[contender.name], contender.built.cost
        row: dict[str, Any] = {"network": contender.name, "params": cost.params, "madds": cost.madds}
        row |= {f"ms x{batch}": round(latency[batch][contender.name], 3) for batch in BATCHES}
        table.append(
            row
            | {
                "top-1 %": round(sum(scores) / len(scores), 2),
                "lowest": round(min(scores), 2),
                "highest": round(max(scores), 2),
            }
        )
    images = len(settings[0].built.data.val)
    return table, list(_contests(settings, top1, images))


def _contests(settings: Sequence[Contender], top1: dict[str, list[float]], images: int) -> Iterator[Contest]:
    for contender in settings:
        if contender.rival is not None:
            yield compare(contender.name, top1[contender.name], contender.rival, top1[contender.rival], images)
