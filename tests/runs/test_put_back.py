"""A run that is refused before it continues has the state and the files that it had before it was queued."""

import pytest

from nes_lab.runs import launcher, layout
from nes_lab.runs.extend import extend
from nes_lab.runs.files import read_json
from nes_lab.runs.put_back import explain_refusal, put_back
from nes_lab.runs.writer import RunWriter


def train(store, state="cancelled", reason="cancelled on request"):
    run_id = store.create({"training": {"epochs": 2}})
    with RunWriter(store, run_id) as writer:
        weights, saved = writer.checkpoint_paths(2)
        weights.write_bytes(b"w"), saved.write_bytes(b"s")
        writer.commit_checkpoint(2, [weights, saved])
        writer.status(state, step=2, total=4, reason=reason)
    return run_id


def files(store, run_id):
    return {path.name: path.read_bytes() for path in store.path(run_id).iterdir() if path.suffix.startswith(".json")}


@pytest.mark.parametrize("state", ["cancelled", "failed", "finished"])
def test_put_back_takes_back_the_queue_and_each_extension(store, state):
    run_id = train(store, state)
    if state != "finished":
        before = files(store, run_id)
        launcher.requeue(store, store.get(run_id))
        assert store.get(run_id).state == "queued" and put_back(store, run_id)
        assert files(store, run_id) == before
    for epochs in (4, 6):  # the second time, the first extension is kept
        before = files(store, run_id)
        extend(store, run_id, epochs)
        assert put_back(store, run_id) and files(store, run_id) == before
        extend(store, run_id, 4) if epochs == 4 else None
        launcher.settle(store, run_id, "cancelled", "") if epochs == 4 else None


def test_put_back_leaves_first_starts_and_active_runs_alone(store):
    fresh = store.create({})
    assert not put_back(store, fresh) and store.get(fresh).state == "queued"
    run_id = train(store)
    launcher.requeue(store, store.get(run_id))
    with RunWriter(store, run_id):
        assert not put_back(store, run_id)
    assert "former" not in read_json(store.path(run_id) / layout.STATUS)


def test_explain_refusal_adds_one_reason_and_keeps_the_state(store):
    run_id = train(store)
    for reason in ("the data has changed", "training.lr was 1, is 2"):
        explain_refusal(store, run_id, reason)
    info = store.get(run_id)
    assert (info.state, info.reason) == ("cancelled", "cancelled on request; not continued: training.lr was 1, is 2")


def test_a_writer_whose_check_fails_writes_nothing(store):
    run_id = train(store)
    before = files(store, run_id)
    with pytest.raises(ZeroDivisionError), RunWriter(store, run_id, lambda: 1 / 0):
        raise AssertionError("it must not begin")
    assert files(store, run_id) == before
