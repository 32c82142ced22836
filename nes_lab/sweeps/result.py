"""What a sweep found: one row a trial, and the Pareto front. Plain numbers; nothing heavy is imported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from nes_lab.runs.query import pareto

__all__ = ["SweepResult", "SweepTrial", "front"]


@dataclass(frozen=True)
class SweepTrial:
    """One trial of a sweep.

    Attributes:
        number: Its number in the study.
        label: Its settings in words.
        settings: The fields that vary, with the values of this trial.
        run: Id of its run directory.
        state: finished or failed for good; cancelled, lost, queued or running are to be continued.
        numbers: The objectives, and top1, madds and params, as far as they are known.
        reason: Why it is not finished.
    """

    number: int
    label: str
    settings: Mapping[str, Any]
    run: str
    state: str
    numbers: Mapping[str, float] = field(default_factory=dict)
    reason: str = ""


@dataclass(frozen=True)
class SweepResult:
    """A sweep as it stands.

    Attributes:
        name: The sweep; the group of its runs.
        storage: Where the study is, without a password.
        trials: All that were begun, in order.
        front: The finished ones that no other beats.
        objectives: Direction by name.
        planned: How many trials there are to be in all.
        interrupted: Whether it was asked to stop.

    Examples:
        >>> trial = SweepTrial(0, "seed=0", {"seed": 0}, "a-run", "failed", reason="loss is nan at step 7")
        >>> found = SweepResult("seeds", "", (trial,), (), {"top1": "maximize"}, planned=1)
        >>> [trial.reason for trial in found.unfinished]
        ['loss is nan at step 7']
    """

    name: str
    storage: str
    trials: tuple[SweepTrial, ...]
    front: tuple[SweepTrial, ...]
    objectives: Mapping[str, str]
    planned: int
    interrupted: bool = False

    @property
    def unfinished(self) -> tuple[SweepTrial, ...]:
        """Trials without a result."""
        return tuple(trial for trial in self.trials if trial.state != "finished")

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON; the front as numbers of trials."""
        return asdict(self) | {"front": [trial.number for trial in self.front]}


def front(trials: Sequence[SweepTrial], objectives: Mapping[str, str]) -> tuple[SweepTrial, ...]:
    """Return the finished trials on the Pareto front, cheapest first.

    Two objectives make the front: the first that is to be low against the first that is to be high, which is madds
    against top1 unless the sweep says otherwise; without one of either kind, the first two. A single one is a contest.

    Examples:
        >>> trials = [SweepTrial(0, "", {}, "a", "finished", {"top1": 60.0, "madds": 5.0}),
        ...           SweepTrial(1, "", {}, "b", "finished", {"top1": 50.0, "madds": 9.0})]
        >>> [trial.run for trial in front(trials, {"top1": "maximize", "madds": "minimize"})]
        ['a']
    """
    cost, value = axes_of(objectives)
    done = [trial for trial in trials if trial.state == "finished"]
    rows = [
        {"cost": _signed(trial, objectives, cost, 1), "value": _signed(trial, objectives, value, -1)} for trial in done
    ]
    chosen = [
        (row["cost"], trial) for row, trial, on in zip(rows, done, pareto(rows, "cost", "value"), strict=True) if on
    ]
    return tuple(trial for _, trial in sorted(chosen, key=lambda pair: (pair[0], pair[1].number)))


def axes_of(objectives: Mapping[str, str]) -> tuple[str | None, str]:
    """Return which objective is the cost of the front and which the value; no cost when there is only one."""
    low = [name for name, direction in objectives.items() if direction == "minimize"]
    high = [name for name, direction in objectives.items() if direction == "maximize"]
    names = list(objectives)
    if low and high:
        return low[0], high[0]
    return (names[1], names[0]) if len(names) > 1 else (None, names[0])


def _signed(trial: SweepTrial, objectives: Mapping[str, str], name: str | None, sign: int) -> float | None:
    """A cost is to be low and a value high, whatever the objective's own direction."""
    if name is None:
        return 0.0
    number = trial.numbers.get(name)
    is_low = objectives[name] == "minimize"
    return None if number is None else number * (sign if is_low else -sign)
