"""Watch a run train in the background: its state, its curves and the time left, with a button that cancels it.

Tests: tests/widgets/test_watch.py
"""

from __future__ import annotations

import html
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import ipywidgets
import plotly.graph_objects as go

from nes_lab.errors import NesLabError, OptionError
from nes_lab.experiment.alarms import run_alarms
from nes_lab.experiment.open_runs import open_run
from nes_lab.figures.live_run import live_run
from nes_lab.figures.progress import progress_text, queue_text, run_description
from nes_lab.figures.run_panels import RunCurves, run_panels
from nes_lab.runs.handle import RunHandle
from nes_lab.runs.info import RunInfo
from nes_lab.runs.states import STATES
from nes_lab.widgets.figure_view import FigureView, add_fallback

__all__ = ["RunWatch", "watch"]

COLORS = {"waiting": "#6B7280", "working": "#0072B2", "warning": "#A65300", "good": "#00755A", "bad": "#B3261E"}
"""Color of the state, by the tone of the state. White letters can be read on all of them."""

_PANELS = ("loss", "metric")


def watch(run: RunHandle | str | Path, *, seconds: float = 1.0, root: str | Path | None = None) -> RunWatch:
    """Show a run in a notebook while it trains in the background. The cell returns at once.

    If the tab was closed or the kernel has ended, call it again, in any notebook: the run goes on by itself.

    Args:
        run: The run; or its id as text, or the path of its folder, as for :func:`nes_lab.open_run`.
        seconds: Time between two looks at the files of the run, in seconds, at least 0.1.
        root: Folder of all runs, if ``run`` is an id. None: ``$NES_LAB_HOME/runs``, or ``data/runs`` if that variable is not set.

    Returns:
        The widget.

    Raises:
        RunError: If no run has this id, or several have it.
        OptionError: If ``run`` is something else, or ``seconds`` is not a number from 0.1.

    Examples:
        >>> import nes_lab, tempfile
        >>> config = {"data": {"limit": 64}, "training": {"epochs": 1, "warmup_epochs": 0, "threads": 1}}
        >>> run = nes_lab.train(config, root=tempfile.mkdtemp(), progress=False)
        >>> nes_lab.widgets.watch(run).info.state
        'finished'
    """
    return RunWatch(run if isinstance(run, RunHandle) else open_run(run, root=root), seconds)  # type: ignore[arg-type]


class RunWatch(ipywidgets.VBox):
    """Notebook widget with the state of a run, its progress, the curves of its loss and its accuracy, and a button that cancels it.

    A thread reads the files of the run. It ends when the run has ended, or when the widget is closed.

    Args:
        run: The run.
        seconds: Time between two looks at the files of the run, in seconds, at least 0.1.

    Raises:
        OptionError: If ``seconds`` is not a number from 0.1.

    Examples:
        >>> import nes_lab, tempfile
        >>> config = {"data": {"limit": 64}, "training": {"epochs": 1, "warmup_epochs": 0, "threads": 1}}
        >>> run = nes_lab.train(config, root=tempfile.mkdtemp(), progress=False)
        >>> watched = nes_lab.widgets.RunWatch(run)
        >>> watched.is_live, watched.cancel.disabled
        (False, True)
    """

    def __init__(self, run: RunHandle, seconds: float = 1.0) -> None:
        self._over = threading.Event()
        if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not seconds >= 0.1:
            raise OptionError(f"seconds={seconds!r}; give a number of seconds from 0.1")
        self.run = run
        self.seconds = seconds
        self._turn = threading.Lock()  # the thread and the button may look at the run at once
        self._drawn: tuple[int, str] | None = None
        self._info = run.info
        self.heading, self.notes = ipywidgets.HTML(), ipywidgets.HTML()
        self.bar = ipywidgets.FloatProgress(min=0, max=1, layout={"width": "auto"})
        self.cancel = ipywidgets.Button(
            description="Cancel",
            icon="stop",
            tooltip="The run saves a checkpoint after the current step and stops. It can be resumed.",
            layout={"width": "auto", "flex": "0 0 auto"},
        )
        self.views = {name: FigureView(figure) for name, figure in self._panels([]).items()}
        for view in self.views.values():
            view.layout = {"flex": "1 1 340px", "min_width": "0"}
        self.heading.layout = {"flex": "1 1 240px", "min_width": "0"}
        row = {"flex_flow": "row wrap", "align_items": "center"}
        head = ipywidgets.Box([self.heading, self.cancel], layout=row)
        curves = ipywidgets.Box(list(self.views.values()), layout=row | {"align_items": "stretch"})
        super().__init__([head, self.bar, self.notes, curves])
        self.cancel.on_click(lambda _: self._ask_to_cancel())
        self.look()
        self._thread = threading.Thread(target=self._follow, name=f"watch {run.id}", daemon=True)
        if not self._over.is_set():
            self._thread.start()

    @property
    def info(self) -> RunInfo:
        """The run as the widget shows it now: its state, step, configuration and summary."""
        return self._info

    @property
    def is_live(self) -> bool:
        """True while the widget follows the run."""
        return self._thread.is_alive() and not self._over.is_set()

    def look(self) -> None:
        """Read the files of the run, and show what is new. The widget does this by itself until the run has ended."""
        with self._turn:
            info = self.run.info
            metrics, events = [], []
            with suppress(NesLabError):  # it may have been deleted a moment ago: the state says so
                metrics, events = self.run.metrics().rows, self.run.events()
            self._info = info
            self._describe(info, metrics, events)
            now = (len(metrics), info.state)
            if now != self._drawn:
                self._drawn = now
                for name, figure in self._panels(metrics, events).items():
                    self.views[name].figure = figure
            if info.is_final or info.state == "lost":
                self._over.set()

    def close(self) -> None:
        """Close the widget. The run goes on."""
        self._over.set()
        super().close()

    def __repr__(self) -> str:
        return f"RunWatch: {self._info!r}".replace("RunInfo: ", "", 1)

    def _repr_mimebundle_(self, **options: Any) -> Any:
        """Return the widget for a notebook. Where widgets cannot be shown: the curves as they are now, if there are any."""
        with suppress(NesLabError):
            if not self.run.metrics().rows:
                return add_fallback(super()._repr_mimebundle_(**options), text=repr(self))
            return add_fallback(super()._repr_mimebundle_(**options), text=repr(self), figure=live_run(self.run))
        return add_fallback(super()._repr_mimebundle_(**options), text=repr(self))

    def _follow(self) -> None:
        while not self._over.wait(self.seconds):
            self.look()

    def _panels(self, metrics: Any, events: Any = ()) -> dict[str, go.Figure]:
        drawn = run_panels(RunCurves(self._info, metrics, events))
        return {name: drawn[name] for name in _PANELS}

    def _describe(self, info: RunInfo, metrics: Any, events: Any) -> None:
        badge = (
            f'<span style="background:{COLORS[STATES[info.state].tone]};color:#fff;border-radius:9px;padding:1px 9px">'
            f"{info.state}</span>"
        )
        text = html.escape(f"{run_description(info)}")
        self.heading.value = f"<b>{html.escape(info.label or info.id)}</b> {badge}<br>{text}"
        self.bar.value = info.bar_progress
        self.bar.bar_style = {"good": "success", "bad": "danger", "warning": "warning"}.get(
            STATES[info.state].tone, "info"
        )
        lines = [progress_text(info, metrics, events)]
        lines += [queue_text(self.run.runs_before())] if info.state == "queued" else []
        with suppress(NesLabError):
            lines += [f"⚠ {alarm}" for alarm in run_alarms(info, metrics, events, None, self.run.folder)]
        lines += [STATES[info.state].advice] if STATES[info.state].advice else []
        self.notes.value = "<br>".join(html.escape(line) for line in lines)
        self.cancel.disabled = info.state not in ("queued", "running")

    def _ask_to_cancel(self) -> None:
        self.cancel.disabled = True
        with suppress(NesLabError):  # it has ended a moment ago: the next look shows how
            self.run.cancel()
        self.look()
