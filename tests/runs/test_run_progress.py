"""The progress of a run as its files tell it, and the one estimate of the time left that all faces show."""

from __future__ import annotations

import pytest

from nes_lab.figures.progress import progress_text
from nes_lab.progress_bar import seconds_left
from nes_lab.runs.run_progress import RunProgressReader
from nes_lab.runs.store import RunStore
from nes_lab.runs.writer import RunWriter


@pytest.fixture
def store(tmp_path) -> RunStore:
    return RunStore(tmp_path)


def test_reader_reads_metrics_again_only_when_they_changed(store, monkeypatch):
    run_id = store.create({})
    with RunWriter(store, run_id) as writer:
        writer.metric(step=1, split="train", loss=0.5)
        writer.status("finished")
    reader = RunProgressReader(store)
    first = reader.read(store.get(run_id))
    monkeypatch.setattr("nes_lab.runs.run_progress.read_lines", lambda _: (_ for _ in ()).throw(AssertionError))
    assert reader.read(store.get(run_id)) == first
    with (store.path(run_id) / "metrics.jsonl").open("a") as file:
        file.write("{}\n")
    with pytest.raises(AssertionError):
        reader.read(store.get(run_id))


@pytest.mark.parametrize(
    ("times", "left"),
    [([0, 10], 30.0), ([0], None), ([10, 0], None), ([5, 5], 0.0)],  # the last: no time passed, so none is left
)
def test_seconds_left_follows_the_latest_attempt(times, left):
    rows = [{"step": 10 * i + 10, "attempt": 2, "time": t} for i, t in enumerate(times)]
    old = {"step": 1, "attempt": 1, "time": -1e9}
    assert seconds_left([old, *rows], 50, now=max(times)) == left


def test_seconds_left_is_the_same_in_the_app_and_in_the_terminal(store, monkeypatch):
    """One run of 100 slow steps, then 100 fast ones: two estimates of its rest once differed by a factor of 2.5."""
    times = [10.0 * step for step in range(101)] + [1000.0 + 4 * step for step in range(1, 101)]
    monkeypatch.setattr("time.time", lambda: times[-1])
    run_id = store.create({})
    with RunWriter(store, run_id) as writer:
        for step, moment in enumerate(times):
            monkeypatch.setattr("nes_lab.runs.writer.time.time", lambda moment=moment: moment)
            writer.metric(step=step, split="train", loss=0.5)
        writer.status(step=200, total=300)
        info = store.get(run_id)
        assert info.is_active
        assert "about 6 min 40 s left" in progress_text(info, store.metrics(run_id))
        assert RunProgressReader(store).read(info).seconds_left == pytest.approx(400)
        writer.status("finished")
    assert "left" not in progress_text(store.get(run_id), store.metrics(run_id))
