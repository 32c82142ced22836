"""``nes-lab sweep``: train one experiment with many settings, on this machine or on the machines of a Ray cluster.

Tests: tests/sweeps/test_cli.py
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from nes_lab.cli.entry import INTERRUPTED
from nes_lab.cli.json_output import print_json, stdout_to_stderr
from nes_lab.cli.options import parse
from nes_lab.cli.tables import print_table, printable
from nes_lab.config import load_sweep
from nes_lab.errors import RunError
from nes_lab.progress_bar import OnProgress, ProgressEvent
from nes_lab.records.columns import columns, number_column
from nes_lab.records.options import ExecutorName
from nes_lab.records.table import Table
from nes_lab.runs.info import RunInfo
from nes_lab.runs.store import RunStore
from nes_lab.sweeps.executors import Executor, LocalExecutor
from nes_lab.sweeps.ray_executor import RayExecutor
from nes_lab.sweeps.result import SweepResult, SweepSetting, SweepTrial
from nes_lab.sweeps.sweep import SHOWN, Sweep
from nes_lab.sweeps.trials import OnRun
from nes_lab.text import format_value, list_all, list_some
from nes_lab.training.signals import StopSignals

__all__ = ["SweepCommand", "print_result", "run_command"]


@dataclass(frozen=True)
class SweepCommand:
    """Train one experiment with many settings. If the sweep is interrupted, the same command continues it."""

    sweep: tyro.conf.Positional[Annotated[Path, tyro.conf.arg(metavar="SWEEP.yaml")]]
    """YAML file of the sweep: its name, the base experiment, the settings to vary, and the objectives."""
    executor: ExecutorName = "local"
    """Where trials train: in processes on this machine (local), or on the workers of a Ray cluster (ray)."""
    jobs: int | None = None
    """Number of trials that train at the same time; by default 1, or with Ray as many as fit."""
    address: str = ""
    """Address of the Ray cluster: host:port, or auto; by default Ray is started on this machine."""
    cpus_per_trial: float = 1.0
    """Number of CPUs that Ray reserves for each trial."""
    gpus_per_trial: float = 0.0
    """Number of GPUs that Ray reserves for each trial; with 0 trials train on the CPU."""
    retry_failed: bool = False
    """Continue failed trials from their checkpoints."""
    dry_run: bool = False
    """List the trials, and why some of them cannot start, without starting any."""
    json: bool = False
    """Print one JSON value to standard output; all else goes to standard error."""


def run_command(words: Sequence[str]) -> int:
    """Start or continue the sweep that the command line names, and print its results."""
    options = parse(SweepCommand, "sweep", words)
    sweep = Sweep(load_sweep(options.sweep), RunStore())
    problems: dict[str, str] = {}
    with stdout_to_stderr(options.json):
        if options.dry_run:
            result, problems = None, sweep.problems()
            _print_trials(sweep, problems)
        else:
            executor = _executor(options, sweep)
            print(_summary(sweep))
            with StopSignals() as signals, _display(sweep, signals) as (on_progress, on_run):
                result = sweep.run(
                    executor,
                    lambda: signals.received,
                    options.retry_failed,
                    on_progress=on_progress,
                    on_run=on_run,
                )
            print_result(result, sweep)
    if options.json:
        print_json(_trials_to_dict(sweep, problems) if result is None else result.to_dict())
    if result is None:
        return 1 if problems else 0
    if result.interrupted:
        return INTERRUPTED
    return 1 if result.unfinished else 0


def _executor(options: SweepCommand, sweep: Sweep) -> Executor:
    retries = sweep.config.retries
    if options.executor == "local":
        if options.address:
            raise RunError(f"--address {options.address} is the address of a Ray cluster; add --executor ray")
        return LocalExecutor(sweep.store, 1 if options.jobs is None else options.jobs, retries)
    cpus, gpus = options.cpus_per_trial, options.gpus_per_trial
    return RayExecutor(sweep.store, options.jobs, options.address, cpus, gpus, retries)


def _summary(sweep: Sweep) -> str:
    done = len(_finished(sweep))
    before = f", {done} of them finished already" if done else ""
    return f"sweep {sweep.config.name}: {sweep.space.planned} trials ({sweep.config.sampler}){before}; runs in {sweep.store.root}"


def _trials_to_dict(sweep: Sweep, problems: Mapping[str, str]) -> dict[str, object]:
    trials = [
        {"label": trial.label, "settings": trial.settings, "problem": problems.get(trial.key, "")}
        for trial in sweep.space.candidates
    ]
    return {"name": sweep.config.name, "planned": sweep.space.planned, "trials": trials}


def _print_trials(sweep: Sweep, problems: Mapping[str, str]) -> None:
    print(_summary(sweep))
    for index, trial in enumerate(sweep.space.candidates):
        print(f"{index:>4}  {trial.label}" + ("  cannot start" if trial.key in problems else ""))
    if problems:
        print(f"{len(problems)} of {sweep.space.planned} trials cannot start:")
        labels = {trial.key: trial.label for trial in sweep.space.candidates}
        for line in _reasons(("unable to start", reason, labels[key]) for key, reason in problems.items()):
            print(line)
    if sweep.space.learns:
        print(f"{sweep.config.sampler} chooses the trials one after another from: {', '.join(sweep.config.space)}")


@contextmanager
def _display(sweep: Sweep, signals: StopSignals) -> Iterator[tuple[OnProgress, OnRun]]:
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[now]}"))
    with Progress(*columns, console=console, disable=not console.is_terminal) as bars:
        task = bars.add_task(sweep.config.name, total=sweep.space.planned, now="", completed=len(_finished(sweep)))
        active: dict[str, RunInfo] = {}

        def show(event: ProgressEvent) -> None:
            if event["phase"] == "stopping":
                print(f"{signals.received}: running trials save a checkpoint and stop", file=sys.stderr)
            bars.update(task, now=_active(sweep, active) if console.is_terminal else "")

        def show_run(kind: str, info: RunInfo) -> None:
            if kind == "began":
                active[info.id] = info
                return
            active.pop(info.id, None)
            bars.update(task, advance=int(info.state == "finished"))
            bars.console.print(_line(sweep, info), markup=False, highlight=False, soft_wrap=True)

        yield show, show_run


def _finished(sweep: Sweep) -> list[SweepTrial]:
    return [trial for trial in sweep.look().trials if trial.state == "finished"]


def _active(sweep: Sweep, active: dict[str, RunInfo]) -> str:
    shown = []
    for run_id in list(active):
        try:
            info = sweep.store.get(run_id)
        except RunError:
            continue
        shown.append(f"{printable(info.label, 40)} {info.progress:.0%}")
    return list_some(shown, 4)


def _line(sweep: Sweep, info: RunInfo) -> str:
    numbers = "  ".join(
        f"{name} {format_value(info.summary[name])}" for name in sweep.config.objectives if name in info.summary
    )
    reason = "" if info.state == "finished" else printable(info.reason, 300)
    attempts = f"  (attempt {info.attempt})" if info.attempt > 1 else ""
    return f"{info.state:<9} {printable(info.label, 80)}  {numbers or reason}  {info.id}{attempts}"


def print_result(result: SweepResult, sweep: Sweep) -> None:
    """Print the result of a sweep.

    The text lists the trials (one training run each), the mean results of each setting over its seeds, the settings on the
    Pareto front, and the reasons why some trials did not finish.
    """
    shown = [number_column(name) for name in dict.fromkeys([*result.objectives, *SHOWN])]
    best, has_seeds = result.front, any(len(setting.trials) > 1 for setting in result.settings)
    stars = set() if has_seeds else {number for setting in best for number in setting.trials}
    rows = [_row(trial, trial.number in stars) for trial in result.trials]
    print_table(Table((*columns("best", "trial"), *shown, *columns("state", "run")), rows), ids="run")
    print(f"{len(result.trials) - len(result.unfinished)} of {result.planned} trials finished")
    if has_seeds and best:
        rows = [_setting_row(setting, setting in best) for setting in result.settings]
        print_table(Table((*columns("best", "setting", "seeds"), *shown), rows))
        print("±: sample standard deviation over seeds")
    if best:
        print(
            f"* the Pareto front of {list_all(list(result.objectives))}: {len(best)} of {len(result.settings)} settings"
        )
    for line in _reasons((trial.state, trial.reason, trial.label) for trial in result.unfinished):
        print(line)
    print(f"study {result.name} in {result.storage}; runs in {sweep.store.root}, group {result.name}")
    if result.interrupted or any(trial.state != "failed" for trial in result.unfinished):
        print("the same command continues from the last checkpoints")
    elif result.unfinished:
        print("--retry-failed continues the failed trials")


def _reasons(trials: Iterable[tuple[str, str, str]]) -> Iterator[str]:
    """Yield one line of text for each reason why trials of a sweep did not finish. The line also names these trials.

    Args:
        trials: State, reason and label of each trial that did not finish.
    """
    # Several trials often have the same reason, because a setting that fails usually fails with every seed.
    reasons: dict[tuple[str, str], list[str]] = {}
    for state, reason, label in trials:
        reasons.setdefault((state, printable(reason, 300)), []).append(printable(label, 80))
    for (state, reason), labels in reasons.items():
        yield f"{list_some(labels, 3)} {'is' if len(labels) == 1 else 'are'} {state}: {reason}"


def _row(trial: SweepTrial, is_best: bool) -> dict[str, Any]:
    row = {"best": "*" if is_best else "", "trial": trial.label, "state": trial.state, "run": trial.run}
    return row | dict(trial.numbers)


def _setting_row(setting: SweepSetting, is_best: bool) -> dict[str, Any]:
    count = str(setting.n) if setting.n == len(setting.trials) else f"{setting.n} of {len(setting.trials)}"
    means = {name: _mean(setting, name) for name in setting.mean}
    return {"best": "*" if is_best else "", "setting": setting.label, "seeds": count} | means


def _mean(setting: SweepSetting, name: str) -> str:
    column = number_column(name)
    mean, spread = (column.cell({column.key: value}) for value in (setting.mean[name], setting.std.get(name, 0.0)))
    return f"{mean} ± {spread}" if setting.std.get(name) else mean
