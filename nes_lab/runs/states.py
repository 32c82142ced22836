"""Define the states of a run, such as ``running`` or ``failed``, and what the user can do in each.

To add a state, add its word to ``StateName`` and one entry to ``STATES``. Its tone (such as ``good`` or ``bad``) sets its
color in the command line and the app.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["ACTIVE_STATES", "FINAL_STATES", "STATES", "RunState", "StateName", "Tone"]

StateName = Literal["running", "stopping", "queued", "finished", "cancelled", "failed", "lost"]

Tone = Literal["waiting", "working", "warning", "good", "bad"]
"""The tone of a run's state. The command line and the app each have one color per tone."""


@dataclass(frozen=True)
class RunState:
    """Describes one state that a run can be in, such as ``running`` or ``failed``.

    Attributes:
        name: The word that ``status.json``, the command line and the app use.
        tone: ``waiting``, ``working``, ``warning``, ``good`` or ``bad``; it sets the color of the state.
        active: Whether a living process works on the run in this state.
        final: Whether the run has ended and stays in this state until someone resumes it.
        resumable: Whether training can continue from the last checkpoint.
        advice: What the user can do, in one or two sentences; empty if nothing needs to be done.
    """

    name: StateName
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
