"""Define the states of a run: whether a state is active or final, whether the run can be resumed, and what the user can do.

To add a state, add one entry to ``STATES``. The command line and the app color it by its tone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["ACTIVE_STATES", "FINAL_STATES", "STATES", "RunState", "Tone"]

Tone = Literal["waiting", "working", "warning", "good", "bad"]
"""The tone of a run's state. The command line and the app each have one color per tone."""


@dataclass(frozen=True)
class RunState:
    """One state that a run can be in.

    Attributes:
        name: The word that ``status.json``, the command line and the app use.
        tone: Tone that sets its color.
        active: A living process works on the run.
        final: The process wrote this state as its last act; nothing changes until someone resumes the run.
        resumable: Training can continue from the last checkpoint.
        advice: What the user can do, in one or two sentences; empty if nothing needs to be done.
    """

    name: str
    tone: Tone
    active: bool = False
    final: bool = False
    resumable: bool = False
    advice: str = ""


STATES: dict[str, RunState] = {
    state.name: state
    for state in (
        RunState("running", "working", active=True),
        RunState("stopping", "warning", active=True),
        RunState("queued", "waiting"),
        RunState("finished", "good", final=True),
        RunState(
            "cancelled",
            "warning",
            final=True,
            resumable=True,
            advice="It was stopped after a checkpoint. You can resume it at any time.",
        ),
        RunState(
            "failed",
            "bad",
            final=True,
            resumable=True,
            advice="Read the log. When the cause is removed, resume it from its last checkpoint.",
        ),
        RunState("lost", "bad", resumable=True, advice="Resume it: it continues from its last checkpoint."),
    )
}
"""All states of a run by name, in the order in which summaries show them."""

ACTIVE_STATES = tuple(name for name, state in STATES.items() if state.active)
FINAL_STATES = tuple(name for name, state in STATES.items() if state.final)
