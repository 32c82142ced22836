"""One sentence for each thing that is wrong with a run, and none for an ordinary run."""

from __future__ import annotations

import math

import pytest

from nes_lab.experiment.alarms import healthy_signs, run_alarms
from nes_lab.figures.start_moves import StartMoves
from nes_lab.runs.info import RunInfo

EVENTS = [{"kind": "data", "classes": 10, "val": 1000}]


def rows(losses=(2.3, 2.0, 1.8, 1.5, 1.4, 1.2, 1.1, 1.0, 0.9), top1=(40.0, 60.0)):
    train = [{"step": step, "split": "train", "loss": loss} for step, loss in enumerate(losses, start=1)]
    return train + [{"step": step, "split": "val", "loss": 1.0, "top1": value} for step, value in enumerate(top1, 20)]


def alarms(metrics=None, state="running", **options):
    info = RunInfo("a", state=state, step=50, total=100, reason=options.pop("reason", ""))
    return run_alarms(info, rows() if metrics is None else metrics, EVENTS, options.pop("moves", None))


def test_an_ordinary_run_has_no_alarm():
    assert alarms(moves=StartMoves(starts=8, can_move=True)) == () == alarms([])


@pytest.mark.parametrize(
    ("state", "words"), [("failed", "The run failed: disk full."), ("lost", "The run was lost: disk full.")]
)
def test_a_run_that_ended_badly_says_why(state, words):
    assert alarms(state=state, reason="disk full") == (words,)


def test_a_diverged_run_is_reported_once():
    (told,) = alarms(rows(losses=(2.3,) * 9 + (900.0,)), state="finished", reason="it diverged: ...")
    assert told.startswith("It diverged: the training loss ends at 900")


@pytest.mark.parametrize(("best", "guesses"), [(10.4, True), (12.8, True), (12.9, False)])
def test_an_accuracy_within_three_standard_errors_of_chance_is_guessing(best, guesses):
    told = alarms(rows(top1=(10.0, best)))
    assert bool(told) == guesses == any("guessing among 10 classes gives 10.0 %" in text for text in told)


def test_one_validation_is_too_few_to_speak_of_guessing():
    assert alarms(rows(top1=(10.0,))) == ()


@pytest.mark.parametrize(
    ("losses", "words"),
    [
        ([2.0] * 9, "There is no progress: the training loss was 2 at first and is 2 now. Try another"),
        ([2.0] * 8, ""),
        ([2.0] * 8 + [1.9], ""),
        ([0.0] * 9, ""),
        ([2.0, math.nan] * 4, ""),
    ],
)
def test_a_loss_that_does_not_fall_is_reported(losses, words):
    told = alarms(rows(losses=losses))
    assert len(told) == bool(words) and all(text.startswith(words) for text in told)


def test_starts_that_stand_still_are_reported_where_they_can_move():
    moves = StartMoves(starts=612, dead=11, collapsed=3, can_move=True)
    dead, collapsed = alarms(moves=moves)
    assert dead.startswith("11 of 612 starts have not moved since the first step. A larger step size")
    assert collapsed.startswith("3 of 612 starts have come close to others") and "A smaller step size" in collapsed
    assert alarms(moves=StartMoves(starts=612, dead=612, can_move=False)) == ()
    assert run_alarms(RunInfo("a", state="running", step=1, total=100), rows(), EVENTS, moves) == ()  # too early


def room(monkeypatch, free):
    monkeypatch.setattr("nes_lab.experiment.alarms.shutil.disk_usage", lambda folder: type("Usage", (), {"free": free}))


def test_a_disk_without_room_for_the_next_checkpoints_is_an_alarm(monkeypatch, tmp_path):
    events = [*EVENTS, {"kind": "checkpoint", "bytes": 50_000_000}]
    running = RunInfo("a", state="running", step=50, total=100)
    room(monkeypatch, 99_000_000)
    (told,) = run_alarms(running, rows(), events, folder=tmp_path)
    assert "99.0 MB are free, and the next checkpoints need 100.0 MB" in told
    assert run_alarms(RunInfo("a", state="finished"), rows(), events, folder=tmp_path) == ()  # it writes no more
    room(monkeypatch, 100_000_000)
    assert run_alarms(running, rows(), events, folder=tmp_path) == ()
    assert "disk: 100.0 MB free, needs 100.0 MB" in healthy_signs(running, rows(), events, tmp_path)


def test_a_run_that_failed_for_want_of_room_says_what_to_do():
    failed = RunInfo("a", state="failed", reason="a.json cannot be written: No space left on device; free some space")
    assert "The disk is full. Free some space, then resume" in run_alarms(failed, [])[1]


def test_healthy_signs_need_finite_losses_and_more_than_guessing():
    running = RunInfo("a", state="running")
    assert healthy_signs(running, rows(), EVENTS) == ("every loss is finite", "better than guessing (10 %)")
    assert healthy_signs(running, rows(top1=(10.4,)), EVENTS) == ("every loss is finite",)
    assert healthy_signs(running, [{"split": "train", "loss": math.nan}], EVENTS) == healthy_signs(running, []) == ()
