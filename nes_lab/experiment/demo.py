"""Run the demo: train dense networks and epitome networks of equal multiply-adds on real digits, and compare them."""

from __future__ import annotations

import json
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nes_lab.config import ExperimentConfig, load_config
from nes_lab.errors import OptionError, check_int
from nes_lab.experiment.build import Built, build
from nes_lab.experiment.demo_results import compare_contenders, environment, measure_latencies
from nes_lab.experiment.process_pool import train_runs
from nes_lab.figures.demo_report import demo_report
from nes_lab.progress_bar import OnProgress, ProgressEvent, progress_reporter
from nes_lab.renamed import progress_or_old_demo_callback, renamed_arguments
from nes_lab.runs.compare import Contest
from nes_lab.runs.query import run_table
from nes_lab.runs.replace import target_of, write_target
from nes_lab.runs.store import RunStore
from nes_lab.text import format_share

__all__ = ["Contender", "DemoResult", "contenders", "run_demo"]

WIDTHS = (0.7, 0.5)
ROUTINGS = ("tiled", "free", "learner")
TOLERANCE = 0.02


@dataclass(frozen=True)
class Contender:
    """One network that the demo compares; it is trained once per seed.

    Args:
        name: Name of the network in tables, and label of its runs.
        config: The configuration of the network's runs, with seed 0.
        built: The network with its numbers of params and multiply-adds.
        rival: Name of the narrower dense network with equal multiply-adds; None if this network is dense.
    """

    name: str
    config: ExperimentConfig
    built: Built
    rival: str | None = None


@dataclass(frozen=True)
class DemoResult:
    """Holds the results of the demo: a table of all networks, comparisons of networks, and the files written.

    Args:
        group: Name of the group of the demo's runs in the store.
        table: One row per network: params, madds, latency, accuracy.
        contests: The comparison of each epitome network with the narrower dense network of equal multiply-adds.
        seconds: Wall-clock time of the demo in seconds.
        report: Path of the HTML report.
        results: Path of the JSON file with all measurements.
    """

    group: str
    table: list[dict[str, Any]]
    contests: list[Contest]
    seconds: float
    report: Path
    results: Path


def contenders(epochs: int, limit: int | None = None) -> list[Contender]:
    """Build the networks of the demo: one dense network, two narrower dense ones, and epitome networks.

    Each epitome network has the same multiply-adds as one of the narrower networks, within 2 %.

    Args:
        epochs: Epochs of each run.
        limit: Number of training images; None takes all.

    Raises:
        OptionError: If the multiply-adds of an epitome network differ from its rival's by more than 2 %.
    """
    networks = [_contender("dense, width 1", _config(epochs, limit))]
    for width in WIDTHS:
        narrow = _contender(f"dense, width {width:g}", _config(epochs, limit, backbone={"width": width}))
        networks.append(narrow)
        for routing in ROUTINGS:
            compression = {
                "madds": narrow.built.cost.madds,
                "routing": routing,
                "round_to": 1,
                "initial_weights": "reset",
            }
            config = _config(epochs, limit, compression=compression)
            networks.append(_contender(f"epitome, {routing} ({width:g})", config, narrow))
    return networks


def _config(epochs: int, limit: int | None, **sections: Any) -> ExperimentConfig:
    training = {"epochs": epochs, "lr": 0.1, "warmup_epochs": min(1.0, epochs / 4), "threads": 1, "device": "cpu"}
    return load_config({"data": {"name": "digits", "limit": limit}, "training": training, **sections})


def _contender(name: str, config: ExperimentConfig, rival: Contender | None = None) -> Contender:
    built = build(config)
    if rival is not None:
        share = built.cost.madds / rival.built.cost.madds
        if abs(share - 1) > TOLERANCE:
            raise OptionError(
                f"{name}: its {built.cost.madds:,} madds are {format_share(share)} of {rival.name}'s; 2 % is allowed"
            )
    return Contender(name, config, built, None if rival is None else rival.name)


@renamed_arguments(progress=progress_or_old_demo_callback)
def run_demo(
    store: RunStore,
    *,
    seeds: int = 2,
    epochs: int = 10,
    workers: int = 2,
    limit: int | None = None,
    folder: Path | None = None,
    progress: bool = False,
    on_progress: OnProgress | None = None,
) -> DemoResult:
    """Train all networks of the demo as ordinary runs, measure their accuracies and latencies, and write the report.

    Args:
        store: The store that gets the runs, in a new group.
        seeds: Number of runs of each network, one per seed. A seed sets the split, the initial weights and the order of batches.
        epochs: Epochs of each run.
        workers: Number of processes that train at the same time, with one thread each.
        limit: Number of training images; None takes all.
        folder: Folder of the report; None takes ``demo/<group>`` beside the folder of the runs.
        progress: Show a bar on standard error.
        on_progress: Function that is called often with a :class:`~nes_lab.progress_bar.ProgressEvent` that counts runs.

    Returns:
        The table of all networks, the comparisons, and the paths of the report and of the JSON file.

    Raises:
        OptionError: If ``seeds``, ``epochs`` or ``workers`` is below 1, or ``folder`` cannot be written.
        RunError: If a run did not finish. The message names the run and the reason.
    """
    for name, value in (("seeds", seeds), ("epochs", epochs), ("workers", workers)):
        check_int(name, value, 1)
    begun = time.perf_counter()
    group = f"demo-{time.strftime('%Y%m%d-%H%M%S')}"
    folder = _writable(folder or store.root.parent / "demo" / group)
    settings = contenders(epochs, limit)
    runs = _create_runs(store, settings, seeds, group)
    order = [ids[seed] for seed in range(seeds) for ids in runs.values()]
    with progress_reporter(progress, on_progress, "demo") as report:
        train_runs(store, order, workers, report)
        report(_all_trained("measuring latency", len(order)))
        table, contests = compare_contenders(store, settings, runs, measure_latencies(settings))
        report(_all_trained("writing the report", len(order)))
    seconds = time.perf_counter() - begun
    facts = {"group": group, "seeds": seeds, "epochs": epochs, "seconds": round(seconds, 1), **environment()}
    everything = {"facts": facts, "table": table, "contests": [asdict(c) | {"verdict": c.verdict} for c in contests]}
    everything["runs"] = [dict(row) for row in run_table([store.get(i) for ids in runs.values() for i in ids])]
    write_target(folder / "results.json", json.dumps(everything, indent=2) + "\n")
    shown = next(c for c in settings if c.rival is not None and "free" in c.name)
    html = demo_report(store, runs, table, contests, facts, shown=runs[shown.name][0])
    write_target(folder / "report.html", html)
    return DemoResult(group, table, contests, seconds, folder / "report.html", folder / "results.json")


def _create_runs(store: RunStore, settings: list[Contender], seeds: int, group: str) -> dict[str, list[str]]:
    """Create one run per network and seed. Return a dict from the name of each network to the ids of its runs."""
    runs: dict[str, list[str]] = {contender.name: [] for contender in settings}
    for seed in range(seeds):
        for contender in settings:
            config = contender.config.to_dict() | {"seed": seed, "label": contender.name}
            runs[contender.name].append(store.create(config, label=f"{contender.name}, seed {seed}", group=group))
    return runs


def _all_trained(phase: str, total: int) -> ProgressEvent:
    return {
        "phase": phase,
        "done": total,
        "total": total,
        "label": "",
        "running": {},
        "finished": total,
        "seconds_left": None,
    }


def _writable(folder: Path) -> Path:
    """Create a folder, check that files can be written into it, and return it. The demo does this before it trains."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
        for name in ("results.json", "report.html"):
            target_of(folder / name)
    except OSError as error:
        raise OptionError(
            f"folder={str(folder)!r} (--out) cannot be written: {error.strerror or error}; "
            "name a folder that can be created or written"
        ) from error
    return folder
