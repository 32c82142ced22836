"""Read one run from its folder and find out its true state.

The files of a run may say ``running`` although its training process has died.

Tests: tests/runs/test_query.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

from nes_lab.errors import RunError
from nes_lab.progress_bar import ProgressEvent
from nes_lab.records.columns import columns, number_column
from nes_lab.records.record import Record
from nes_lab.records.table import Table
from nes_lab.runs import claims, layout, process, queue
from nes_lab.runs.deciding_metric import DecidingMetric
from nes_lab.runs.extensions import extended_config, extension_text, read_extensions
from nes_lab.runs.files import read_json
from nes_lab.runs.flatten import flatten
from nes_lab.runs.states import STATES, StateName

__all__ = ["RunInfo", "is_cancel_requested", "read_config", "read_info", "read_run", "refuse_finished", "result_names"]


@dataclass(frozen=True, repr=False)
class RunInfo(Record):
    """Holds what is known about one run from its files and its process.

    Attributes:
        id: Id of the run, which is also the name of its folder.
        label: Free text to recognize the run.
        group: Name that related runs share, such as those of a sweep.
        state: A name in :data:`nes_lab.runs.states.STATES`. ``lost`` means that the training process has ended or gives
            no sign of life, although the files of the run say ``running``.
        step: Training steps done.
        total: Training steps in total; 0 until the number is known.
        attempt: Number of times that the run was started or resumed.
        reason: Why the run failed, was cancelled or is lost, or why the results of a finished run mean little, such as that it
            diverged; empty otherwise.
        pid: Id of the process that trained the run last; None if the run was never started.
        config: The experiment's configuration. If the run was extended, it has the new number of epochs.
        created: Time of creation, in seconds since 1970.
        heartbeat: Time at which the training process last gave a sign of life, in seconds since 1970.
        summary: Final results such as params, madds and top1, by name; empty until the run has written some.
        extended_from: Where the run was given more epochs than planned, such as ``epoch 20``; empty if it never was.
        given: What the run needs but its files do not hold, because it existed only in memory. A dict with the keys
            ``network``, ``data`` or both, and a name for each, such as ``{"network": "TinyNet"}``. Give the same again to
            resume the run. Empty if the files hold everything.
        notes: Sentences about how the run begins, for example what the network decides instead of the configuration.
        tags: Short words that the user gave the run, to find it again.
        note: Free text that the user wrote about the run.
        stage: Progress of the work before the first training step, such as fitting epitomes: a progress event with the keys
            ``phase``, ``done``, ``total`` and ``label``. None if the run trains or has ended.
        resume_note: Why a resumed run ends with other weights than an uninterrupted one, such as data from loaders. Empty if
            it ends with the same weights.
    """

    NAME = "run"
    SCHEMA = None

    id: str
    label: str = ""
    group: str = ""
    state: StateName = "lost"
    step: int = 0
    total: int = 0
    attempt: int = 0
    reason: str = ""
    pid: int | None = None
    config: dict[str, Any] = field(default_factory=dict)
    created: float = 0.0
    heartbeat: float = 0.0
    summary: dict[str, Any] = field(default_factory=dict)
    extended_from: str = ""
    given: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    note: str = ""
    resume_note: str = ""
    stage: ProgressEvent | None = None

    @property
    def is_active(self) -> bool:
        """True if the state of the run is active: a living process works on the run."""
        return STATES[self.state].active

    @property
    def is_final(self) -> bool:
        """True if the run has ended and its final state is written: finished, cancelled or failed."""
        return STATES[self.state].final

    @property
    def is_resumable(self) -> bool:
        """True if the run ended before training was complete, so that it can be resumed."""
        return STATES[self.state].resumable

    @property
    def progress(self) -> float:
        """Fraction of the training steps that are done, from 0 to 1."""
        return min(1.0, self.step / self.total) if self.total > 0 else float(self.state == "finished")

    @property
    def bar_progress(self) -> float:
        """Fraction to show as a bar, from 0 to 1: of the work before the first step while it lasts, otherwise :attr:`progress`."""
        if self.stage is None:
            return self.progress
        return min(1.0, self.stage["done"] / self.stage["total"]) if self.stage["total"] > 0 else 0.0

    def needs_text(self) -> str:
        """Return a sentence that says what must be given again to resume this run.

        The text is empty if nothing must be given again, or if the run cannot be resumed.

        Examples:
            >>> RunInfo("a", state="cancelled", given={"network": "TinyNet"}).needs_text()
            "Resumable when the network is given again: nes_lab.train(resume='a', network=...)"
        """
        over = self.is_active or self.state == "finished"
        return "" if over or not self.given else f"Resumable when {self.given_again()}"

    def given_again(self) -> str:
        """Return a text that says what to give again to continue this run. Messages use it as the end of a sentence.

        The text is empty if nothing must be given again.

        Examples:
            >>> RunInfo("a", given={"network": "TinyNet"}).given_again()
            "the network is given again: nes_lab.train(resume='a', network=...)"
        """
        arguments = ", ".join(f"{what}=..." for what in self.given)
        how = f"nes_lab.train(resume={self.id!r}, {arguments})"
        if self.state == "finished":
            how = f"nes_lab.open_run({self.id!r}).extend(epochs, {arguments})"
        subject = " and the ".join(self.given) + (" are" if len(self.given) > 1 else " is")
        return f"the {subject} given again: {how}" if self.given else ""

    def table(self) -> Table:
        """Return the run as a table of one row: its state, its progress and its results."""
        numbers = result_names(self.summary)
        row = {"id": self.id, "label": self.label, "state": self.state, "progress": self.progress}
        notes = (*self.notes, self.reason, self.needs_text() or STATES[self.state].advice, self.resume_note)
        values = row | {name: self.summary[name] for name in numbers}
        return Table(
            [*columns(*row), *map(number_column, numbers)], [values], after=list(dict.fromkeys(filter(None, notes)))
        )

    def __repr__(self) -> str:
        steps = f", step {self.step:,} of {self.total:,}" if self.total else ""
        label = f" ({self.label})" if self.label else ""
        return f"RunInfo: {self.id}{label}, {self.state}{steps}" + (f": {self.reason}" if self.reason else "")

    def _repr_html_(self) -> str:
        settings = [{"field": path, "value": str(value)} for path, value in flatten(self.config).items()]
        return self.table().html() + (
            Table(columns("field", "value"), settings, before=["configuration:"], few=()).html() if settings else ""
        )

    def to_dict(self) -> dict[str, Any]:
        """Return all attributes of the run as plain values for JSON."""
        return asdict(self)


def result_names(summary: Mapping[str, Any]) -> list[str]:
    """Return the names of the numbers in a summary that say most about a run: its metric, and its size and speed.

    Examples:
        >>> result_names({"params": 10, "error": 0.2, "best_error": 0.1, "seconds": 3.0})
        ['error', 'best_error', 'params']
    """
    best = [name for name in summary if name.startswith("best_")]
    names = [DecidingMetric.of_summary(summary).name, *best, "params", "madds", "latency_ms"]
    return [name for name in names if summary.get(name) is not None]


def read_info(folder: Path) -> RunInfo:
    """Read one run from its folder and find out its state.

    If only the run's ``status.json`` is damaged, the state is ``lost`` and ``reason`` says why.

    Raises:
        RunError: If ``run.json`` or ``config.json`` is missing or damaged, or the run has another version of the format.
    """
    run = read_run(folder)
    status, problem = _read_status(folder)
    try:
        summary = read_json(folder / layout.SUMMARY)
    except (FileNotFoundError, RunError):
        summary = {}
    extensions = read_extensions(folder)
    state, reason = _conclude(folder, status) if not problem else ("lost", problem)
    if state == "finished" and extensions and _count(status, "step") <= extensions[-1].from_step:
        state, reason = "cancelled", f"it was given {extensions[-1].epochs} epochs and has not trained on yet"
    pid = status.get("pid")
    return RunInfo(
        id=folder.name,
        label=str(run.get("label", "")),
        group=str(run.get("group", "")),
        state=cast(StateName, state),  # _read_status has checked it
        step=_count(status, "step"),
        total=_count(status, "total"),
        attempt=_count(status, "attempt"),
        reason=reason,
        pid=pid if type(pid) is int else None,
        config=extended_config(read_config(folder), extensions),
        created=_number(run, "created"),
        heartbeat=_number(status, "heartbeat"),
        summary=summary,
        extended_from=extension_text(extensions),
        given=_texts(run.get("given")),
        notes=_list(run.get("notes")),
        tags=_list(run.get("tags")),
        note=str(run.get("note") or ""),
        resume_note=str(status.get("resume_note") or ""),
        stage=_stage(status) if STATES[state].active else None,
    )


def refuse_finished(info: RunInfo) -> None:
    """Refuse a run that is finished, because there is nothing to resume. The run in the example is not refused.

    Raises:
        RunError: If the run is finished. The message says how to give it more epochs.

    Examples:
        >>> refuse_finished(RunInfo("a", state="cancelled"))
    """
    if info.state == "finished":
        raise RunError(
            f"run {info.id} is finished; there is nothing to resume. nes-lab resume {info.id} --epochs N trains it further"
        )


def read_run(folder: Path) -> dict[str, Any]:
    """Read ``run.json`` of a run, which holds its id, label, group and time of creation.

    Raises:
        RunError: If the file is missing or damaged, or has another version of the format.
    """
    try:
        run = read_json(folder / layout.RUN)
    except FileNotFoundError as error:
        raise RunError(f"{folder.name} is not a run that this version can read: {layout.RUN} is missing") from error
    version = run.get("schema_version")
    if version != layout.SCHEMA_VERSION:
        raise RunError(
            f"run {folder.name} has schema_version={version!r}, and this NES Lab reads {layout.SCHEMA_VERSION}: "
            "open it with the version that wrote it"
        )
    return run


def read_config(folder: Path) -> dict[str, Any]:
    """Read the configuration with which a run was created, from ``config.json``.

    Raises:
        RunError: If ``config.json`` is missing or damaged.
    """
    try:
        return read_json(folder / layout.CONFIG)
    except FileNotFoundError as error:
        raise RunError(f"run {folder.name} has lost its {layout.CONFIG}") from error


def _read_status(folder: Path) -> tuple[dict[str, Any], str]:
    try:
        status = read_json(folder / layout.STATUS)
    except FileNotFoundError:
        return {}, f"{layout.STATUS} is missing"
    except RunError as error:
        return {}, str(error)
    if status.get("state") not in STATES:
        return {}, f"{layout.STATUS} is damaged: its state is {status.get('state')!r}"
    return status, ""


def _conclude(folder: Path, status: dict[str, Any]) -> tuple[str, str]:
    state, reason = status["state"], str(status.get("reason") or "")
    if state == "queued":
        return _conclude_queued(folder, _count(status, "attempt"), reason)
    if not STATES[state].active:
        return state, reason
    identity = process.Identity.read(status)
    if identity is None:
        return "lost", f"{layout.STATUS} does not say which process runs it"
    silence = process.silence(status, identity)
    is_silent = silence > process.patience(identity)
    if identity.is_here() or is_silent:
        dead = process.why_dead(identity)
        if dead:
            return "lost", f"{dead}; resume it from its last checkpoint"
    if is_silent:
        return "lost", f"process {identity.pid} exists but has been silent for {silence:.0f} s: stopped or hung"
    return ("stopping" if is_cancel_requested(folder, _count(status, "attempt")) else state), reason


def _conclude_queued(folder: Path, attempt: int, reason: str) -> tuple[str, str]:
    """Find out the true state of a run whose status file says ``queued``. Return the state and the reason for it.

    The status file may be out of date. The training process may have died while it started, or the user may have
    cancelled the run.
    """
    asked = is_cancel_requested(folder, attempt + 1)
    if claims.is_claimed(folder):
        return ("stopping" if asked else "queued"), reason
    if not claims.is_void(folder) or folder.name in dict(queue.tickets(folder.parent)).values():
        return "queued", reason
    if asked:
        return "cancelled", "cancelled before it began"
    return "lost", f"its process ended before it began; {layout.LOG} may say why"


def is_cancel_requested(folder: Path, attempt: int) -> bool:
    """Return whether the user asked a run to stop.

    Args:
        folder: Folder of the run.
        attempt: 1 before the run was resumed, 2 after the first resume, and so on. Requests to stop an earlier attempt
            do not count.
    """
    try:
        return _count(read_json(folder / layout.CANCEL), "attempt") >= attempt
    except FileNotFoundError:
        return False
    except RunError:
        return True  # the file is written in one step, so even a damaged one means that someone asked


def _count(content: dict[str, Any], key: str) -> int:
    value = content.get(key)
    return value if type(value) is int and value >= 0 else 0


def _stage(status: dict[str, Any]) -> ProgressEvent | None:
    stage = status.get("stage")
    if not isinstance(stage, dict) or not isinstance(stage.get("phase"), str):
        return None
    done, total = _number(stage, "done"), _count(stage, "total")
    return {"phase": stage["phase"], "done": done, "total": total, "label": str(stage.get("label") or "")}


def _texts(content: object) -> dict[str, str]:
    return {str(key): str(value) for key, value in content.items()} if isinstance(content, dict) else {}


def _list(content: object) -> tuple[str, ...]:
    return tuple(str(item) for item in content) if isinstance(content, list) else ()


def _number(content: dict[str, Any], key: str) -> float:
    value = content.get(key)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else 0.0
