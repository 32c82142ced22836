"""The process that trains: what it starts when it is done."""

import pytest

from nes_lab.cli import worker
from nes_lab.runs.store import RunStore


@pytest.mark.parametrize(("words", "goes_on"), [([], True), (["--alone"], False)])
def test_worker_starts_the_next_run_except_with_alone(tmp_path, monkeypatch, words, goes_on):
    """On a node of a Ray cluster the next run of the queue would take what Ray has promised to a trial."""
    started = []
    monkeypatch.setattr(worker.Run, "resume", lambda self, **_: self)
    monkeypatch.setattr(worker, "print_end", lambda run: 0)
    monkeypatch.setattr(worker, "start_waiting", started.append)
    monkeypatch.setattr(worker.signal, "signal", lambda *_: None)
    store = RunStore(tmp_path)
    assert worker.run_command([store.create({}), "--root", str(tmp_path), *words]) == 0
    assert bool(started) == goes_on
