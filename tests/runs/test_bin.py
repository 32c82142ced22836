"""Runs that were deleted and can be brought back."""

import os

import pytest

from nes_lab.errors import RunError
from nes_lab.runs.bin import bin_of, put_in_bin, restore
from nes_lab.runs.launcher import cancel
from nes_lab.runs.lock import hold_lock
from nes_lab.runs.relabel import relabel
from nes_lab.runs.writer import RunWriter


def make_ended(store, label="a"):
    run_id = store.create({"seed": 3}, label=label)
    cancel(store, run_id)
    return run_id


def test_a_restored_run_is_as_it_was(store):
    run_id = make_ended(store)
    before = store.get(run_id)
    files = sorted(path.name for path in store.path(run_id).iterdir())
    put_in_bin(store, run_id)
    assert store.list() == [] and [info.id for info in bin_of(store).list()] == [run_id]
    restore(store, run_id)
    assert store.get(run_id) == before and bin_of(store).list() == []
    assert {*files} <= {path.name for path in store.path(run_id).iterdir()}


def test_a_run_that_trains_or_waits_is_not_deleted(store):
    waiting = store.create({})
    with pytest.raises(RunError, match="queued; cancel it"):
        put_in_bin(store, waiting)
    with RunWriter(store, waiting) as writer:
        writer.status("running", step=1, total=9)
        with pytest.raises(RunError, match="running; cancel it"):
            put_in_bin(store, waiting)
    ended = make_ended(store)
    with hold_lock(store.path(ended)), pytest.raises(RunError, match="locked"):
        put_in_bin(store, ended)
    assert len(store.list()) == 2 and bin_of(store).list() == []


def test_a_run_is_never_restored_over_another(store):
    run_id = make_ended(store)
    put_in_bin(store, run_id)
    (store.root / run_id).mkdir()
    with pytest.raises(RunError, match="exists"):
        restore(store, run_id)
    assert list((store.root / run_id).iterdir()) == [] and bin_of(store).list()


@pytest.mark.parametrize("run_id", ["../../etc", ".bin", "", "%2e%2e", "no-such-run"])
def test_hostile_ids_are_refused(store, run_id):
    make_ended(store)
    for act in (put_in_bin, restore, lambda store, name: relabel(store, name, "x")):
        with pytest.raises(RunError):
            act(store, run_id)
    assert len(store.list()) == 1


def test_a_bin_that_leads_elsewhere_is_refused(store, tmp_path):
    run_id = make_ended(store)
    (elsewhere := tmp_path / "elsewhere").mkdir()
    os.symlink(elsewhere, store.root / ".bin")
    with pytest.raises(RunError, match="refused"):
        put_in_bin(store, run_id)
    assert list(elsewhere.iterdir()) == [] and store.get(run_id).state == "cancelled"
