"""Run or continue a sweep: train its trials and record their results in an Optuna study."""

from __future__ import annotations

import contextlib
import socket
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from nes_lab.config.sweep import Range, SweepConfig, load_sweep
from nes_lab.errors import NesLabError, RunError, check_choice
from nes_lab.progress_bar import OnProgress, ProgressEvent, progress_reporter
from nes_lab.records.options import ExecutorName
from nes_lab.renamed import renamed_arguments
from nes_lab.runs.files import read_json, write_json
from nes_lab.runs.info import RunInfo
from nes_lab.runs.lock import hold_lock
from nes_lab.runs.store import RunStore
from nes_lab.sweeps.executors import Executor, LocalExecutor
from nes_lab.sweeps.ray_executor import RayExecutor
from nes_lab.sweeps.result import SweepResult, SweepTrial
from nes_lab.sweeps.space import check_space
from nes_lab.sweeps.trials import OnRun, TrialRunner
from nes_lab.sweeps.words import setting_words

if TYPE_CHECKING:
    from nes_lab.sweeps.study import TrialBook, TrialRecord

__all__ = ["EXECUTORS", "Sweep", "run_sweep"]

EXECUTORS = get_args(ExecutorName)
SHOWN = ("top1", "madds", "params")


def _old_callback(news: Callable[[str, RunInfo | None], object]) -> dict[str, Any]:
    """Return the keyword arguments ``on_run`` and ``on_progress`` that replace the old argument ``news`` of ``run_sweep``."""

    def on_progress(event: ProgressEvent) -> None:
        news("stopping" if event["phase"] == "stopping" else "tick", None)

    return {"on_progress": on_progress, "on_run": news}


@renamed_arguments(news=_old_callback)
def run_sweep(
    source: SweepConfig | str | Path | Mapping[str, Any],
    *,
    executor: ExecutorName = "local",
    jobs: int | None = None,
    address: str = "",
    cpus_per_trial: float = 1.0,
    gpus_per_trial: float = 0.0,
    root: str | Path | None = None,
    retry_failed: bool = False,
    should_stop: Callable[[], object] | None = None,
    progress: bool = False,
    on_progress: OnProgress | None = None,
    on_run: OnRun | None = None,
) -> SweepResult:
    """Train all trials of a sweep that have no result yet.

    Args:
        source: The sweep: a YAML file, a mapping, or a configuration from :func:`load_sweep`.
        executor: ``local`` (processes of this machine) or ``ray``.
        jobs: Number of trials that train at the same time. None means one, or on Ray as many as the CPUs and GPUs allow.
        address: Address of the Ray cluster, ``auto`` or host:port; empty starts Ray on this machine.
        cpus_per_trial: Number of CPUs that a trial reserves on Ray.
        gpus_per_trial: Number of GPUs that a trial reserves on Ray; 0 trains on the CPU.
        root: The folder of all runs; None takes ``$NES_LAB_HOME/runs``, or ``data/runs`` if that variable is not set.
        retry_failed: Resume failed trials too, from their checkpoints.
        should_stop: Function that is called several times a second. When it returns true, the active runs save a checkpoint
            and stop. With None the sweep runs to its end.
        progress: Show a bar on standard error.
        on_progress: Function that is called several times a second with a :class:`~nes_lab.progress_bar.ProgressEvent` that
            counts trials. Its phase is ``"trials"``, or ``"stopping"`` once the sweep was asked to stop.
        on_run: Function that is called with ``"began"`` or ``"ended"`` and the run, when a run begins or ends.

    Returns:
        All trials with their states, objectives, accuracies and costs.

    Raises:
        OptionError: If the sweep is not valid, or was started before with other settings. No training is started.
        RunError: If another process runs the same sweep, or the files of the sweep cannot be written.

    Examples:
        >>> import tempfile, nes_lab
        >>> base = {"data": {"limit": 64}, "training": {"epochs": 1, "warmup_epochs": 0, "threads": 1}}
        >>> sweep = {"name": "seeds", "base": base, "space": {"seed": [0, 1]}}
        >>> stopped = nes_lab.run_sweep(sweep, root=tempfile.mkdtemp() + "/runs", should_stop=lambda: True)
        >>> [trial.state for trial in stopped.trials]  # it stopped before any trial; without should_stop both finish
        []
    """
    sweep = source if isinstance(source, SweepConfig) else load_sweep(source)
    check_choice("executor", executor, EXECUTORS)
    store = RunStore(root)
    worker: Executor = LocalExecutor(store, 1 if jobs is None else jobs, sweep.retries)
    if executor == "ray":
        worker = RayExecutor(store, jobs, address, cpus_per_trial, gpus_per_trial, sweep.retries)
    with progress_reporter(progress, on_progress, f"sweep {sweep.name}") as report:
        return Sweep(sweep, store).run(worker, should_stop, retry_failed, on_progress=report, on_run=on_run)


class Sweep:
    """Checks the trials of a sweep, trains them, and reads their results.

    Args:
        config: The configuration of the sweep.
        store: The store of the runs. The sweep has a folder ``sweeps/<name>`` beside the folder of the runs. The study is
            stored there, unless the configuration names another database.

    Raises:
        OptionError: If a combination of settings is not a valid experiment.

    Examples:
        >>> sweep = Sweep(load_sweep({"name": "seeds", "space": {"seed": [0, 1]}}), RunStore())
        >>> [trial.label for trial in sweep.space.candidates]
        ['seed 0', 'seed 1']
    """

    def __init__(self, config: SweepConfig, store: RunStore) -> None:
        self.config, self.store = config, store
        self.space = check_space(config)
        self.folder = store.root.parent / "sweeps" / config.name
        self.url = config.storage or f"sqlite:///{self.folder / 'study.db'}"

    def definition(self) -> dict[str, Any]:
        """Return the settings that may not change when a sweep is continued.

        They are the base experiment, the space (the fields that vary and their values), the sampler, the seed and the
        objectives.
        """
        axes = {
            path: axis.model_dump() if isinstance(axis, Range) else list(axis)
            for path, axis in self.config.space.items()
        }
        same = self.config.model_dump(include={"sampler", "seed", "objectives"})
        return {"base": self.space.base, "space": axes, **same}

    def run(
        self,
        executor: Executor,
        should_stop: Callable[[], object] | None = None,
        retry_failed: bool = False,
        *,
        on_progress: OnProgress | None = None,
        on_run: OnRun | None = None,
    ) -> SweepResult:
        """Train all trials of the sweep that have no result yet, with the given executor. See :func:`run_sweep`."""
        with self._alone(), executor.open():
            book = self._book(make=True)
            trials = TrialRunner(self.store, self.space, book, executor, on_progress or (lambda _: None), on_run)
            trials.prepare(retry_failed)
            stopped = trials.work(should_stop or (lambda: False))
            return self._result(book, stopped)

    def problems(self) -> dict[str, str]:
        """Find trials that cannot start, for example because the backbone is unknown or the data is missing. Nothing is trained.

        Trials that differ only in their seed are checked once.

        Returns:
            A dict with one entry per trial that cannot start: the key of its experiment (a hash), and the reason.
        """
        from nes_lab.experiment.build import check

        reasons: dict[str, str] = {}
        why_not: dict[str, str] = {}
        for trial in self.space.candidates:
            setting = trial.config.model_copy(update={"seed": 0}).model_dump_json()
            if setting not in reasons:
                reasons[setting] = ""
                try:
                    check(trial.config)
                except NesLabError as error:
                    reasons[setting] = str(error)
            if reasons[setting]:
                why_not[trial.key] = reasons[setting]
        return why_not

    def look(self) -> SweepResult:
        """Return the results of the sweep so far, without starting a trial."""
        if self.config.storage or (self.folder / "study.db").exists():
            with contextlib.suppress(KeyError):
                return self._result(self._book(make=False), False)
        return SweepResult(self.config.name, self.url, (), self.config.objectives, self.space.planned)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(f"{self.folder} cannot be written: {error.strerror or error}") from error
        with contextlib.ExitStack() as held:
            try:
                held.enter_context(hold_lock(self.folder))
            except RunError as error:
                raise RunError(f"sweep {self.config.name!r} is being run by another process: {error}") from error
            yield

    def _book(self, make: bool) -> TrialBook:
        from nes_lab.sweeps.study import TrialBook, shown_storage

        book = TrialBook(self.config, self.url, self.definition(), make)
        if make:
            mark = self._mark()
            facts = {"storage": shown_storage(self.url), "planned": self.space.planned}
            about = {"name": self.config.name, **facts, "folder": mark, **self.definition()}
            write_json(self.folder / "sweep.json", about)
            if self.config.storage:  # without a storage, the study is in the folder of the sweep and moves with it
                book.tie(mark, f"{self.store.root} on {socket.gethostname()}")
        return book

    def _mark(self) -> str:
        """Return the random text that is stored in the sweep's folder.

        A shared database recognizes the folder by this text.
        """
        try:
            # it differs on each machine, even if the paths are equal
            return str(read_json(self.folder / "sweep.json")["folder"])
        except (FileNotFoundError, KeyError, RunError):
            return uuid.uuid4().hex

    def _result(self, book: TrialBook, interrupted: bool) -> SweepResult:
        from nes_lab.sweeps.study import shown_storage

        trials = tuple(self._trial(record) for record in book.records() if record.key)
        planned = max(self.space.planned, len(trials))
        storage = shown_storage(self.url)
        return SweepResult(self.config.name, storage, trials, self.config.objectives, planned, interrupted)

    def _trial(self, record: TrialRecord) -> SweepTrial:
        try:
            info = self.store.get(record.run)
        except RunError as error:
            info = RunInfo(record.run, state="lost", reason=str(error))
        summary = {name: info.summary[name] for name in SHOWN if name in info.summary}
        extended = str(info.summary.get("extended_from", ""))
        # the study has the results of the planned training, the summary those of the longer one
        later = {name: info.summary[name] for name in record.values if extended and name in info.summary}
        state = info.state if record.state == "open" else record.state
        reason = record.reason or ("" if state == "finished" else info.reason)
        numbers = {**summary, **record.values, **later}
        label = setting_words(record.settings) + (f", extended from {extended}" if extended else "")
        return SweepTrial(record.number, label, record.settings, record.run, state, numbers, reason, extended)
