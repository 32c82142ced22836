"""More epochs for a run that has ended: what is refused, what a kill leaves behind, and what such a run is averaged with."""

import json

import pytest

from nes_lab.cli import main
from nes_lab.errors import NesLabError, RunError
from nes_lab.figures.accuracy_vs_madds import measured_points
from nes_lab.runs import layout
from nes_lab.runs.extend import extend
from nes_lab.runs.extensions import read_extensions
from nes_lab.runs.files import read_json, write_json
from nes_lab.runs.launcher import requeue
from nes_lab.runs.query import config_difference, group_rows, run_table
from nes_lab.runs.writer import RunWriter
from nes_lab.sweeps.result import SweepTrial, settings_of


def train(store, run_id, steps, state="finished", top1=90.0):
    """What a training of two steps an epoch leaves: a checkpoint, a summary, a state."""
    total = 2 * store.get(run_id).config["training"]["epochs"]
    with RunWriter(store, run_id) as writer:
        paths = writer.checkpoint_paths(steps)
        for path in paths:
            path.write_bytes(b"0")
        writer.commit_checkpoint(steps, list(paths))
        if state == "finished":
            extended = {"extended_from": text} if (text := store.get(run_id).extended_from) else {}
            writer.summary(top1=top1, madds=100, params=10, **extended)
        writer.status(state, step=steps, total=total)


def create(store, epochs=20, seed=0):
    return store.create({"seed": seed, "training": {"epochs": epochs}, "data": {"name": "digits"}})


@pytest.mark.parametrize(
    ("epochs", "message"),
    [
        (20, "epochs=20: run .* already has training.epochs=20; give more"),
        (3, "epochs=3: run .* already has"),
        (0, "epochs=0; give an integer of at least 1"),
        (30.5, "epochs=30.5; give an integer"),
    ],
)
def test_extend_refuses_too_few_epochs(store, epochs, message):
    run_id = create(store)
    train(store, run_id, 40)
    before = read_json(store.path(run_id) / layout.STATUS)
    with pytest.raises(NesLabError, match=message):
        extend(store, run_id, epochs)
    assert read_json(store.path(run_id) / layout.STATUS) == before and not read_extensions(store.path(run_id))


def test_extend_refuses_a_run_that_trains_waits_or_has_no_checkpoint(store):
    run_id = create(store)
    with pytest.raises(RunError, match="is queued"):
        extend(store, run_id, 40)
    with RunWriter(store, run_id) as writer:
        with pytest.raises(RunError, match="is running"):
            extend(store, run_id, 40)
        writer.status("finished", step=40, total=40)
    with pytest.raises(RunError, match="has no checkpoint"):
        extend(store, run_id, 40)
    assert store.get(run_id).state == "finished"


def test_extend_keeps_the_plan_and_says_where(store):
    run_id = create(store)
    train(store, run_id, 40)
    extend(store, run_id, 40)
    info = store.get(run_id)
    assert (info.state, info.config["training"]["epochs"], info.extended_from) == ("queued", 40, "epoch 20")
    assert (info.step, info.total) == (40, 80)
    assert read_json(store.path(run_id) / layout.CONFIG)["training"]["epochs"] == 20
    train(store, run_id, 80)
    extend(store, run_id, 60)
    assert store.get(run_id).extended_from == "epochs 20, 40"


def test_extend_a_cancelled_run_within_an_epoch_and_before_its_first_step(store):
    run_id = create(store)
    train(store, run_id, 13, state="cancelled")
    extend(store, run_id, 40)
    assert store.get(run_id).extended_from == "epoch 6.5"
    fresh = create(store)
    with RunWriter(store, fresh) as writer:
        writer.status("cancelled")
    extend(store, fresh, 40)
    assert store.get(fresh).extended_from == ""  # it trains as one that was planned that long


@pytest.mark.parametrize("kill_at", ["extensions.json", "claim.json", "status.json"])
def test_extend_survives_a_kill_at_each_step(store, monkeypatch, kill_at):
    """Before the first write nothing has changed; after it the run is extended, and can be resumed."""
    run_id = create(store)
    train(store, run_id, 40)

    def killed(path, *_):
        if path.name == kill_at:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("nes_lab.runs.extensions.write_json", lambda *args: killed(*args) or write_json(*args))
        patch.setattr("nes_lab.runs.extend.write_json", lambda *args: killed(*args) or write_json(*args))
        patch.setattr("nes_lab.runs.put_back.remove", killed)
        with pytest.raises(KeyboardInterrupt):
            extend(store, run_id, 40)
    info = store.get(run_id)
    if kill_at == "extensions.json":
        assert (info.state, info.config["training"]["epochs"]) == ("finished", 20)
        return
    assert (info.state, info.config["training"]["epochs"]) == ("cancelled", 40)
    assert "has not trained on yet" in info.reason and info.is_resumable
    requeue(store, info)
    train(store, run_id, 80)
    assert store.get(run_id).state == "finished" and store.latest_checkpoint(run_id).step == 80


def test_a_finished_run_keeps_its_state_when_it_is_refused(store, monkeypatch, capsys):
    monkeypatch.setenv("NES_LAB_HOME", str(store.root.parent))
    run_id = create(store)
    train(store, run_id, 40)
    status, events = read_json(store.path(run_id) / layout.STATUS), store.events(run_id)
    with pytest.raises(RunError, match=f"nes-lab resume {run_id} --epochs N"):
        RunWriter(store, run_id).__enter__()
    for words in (["resume", run_id], ["resume", run_id, "--detach"], ["resume", run_id, "--epochs", "20"]):
        assert main(words) == 2
        assert "is finished" in (said := capsys.readouterr().err) or "epochs=20" in said
    assert (read_json(store.path(run_id) / layout.STATUS), store.events(run_id)) == (status, events)


def test_a_damaged_list_of_extensions_is_named(store):
    run_id = create(store)
    (store.path(run_id) / layout.EXTENSIONS).write_text(json.dumps({"extensions": [{"epochs": "40"}]}))
    with pytest.raises(RunError, match=r"extensions.json is damaged"):
        store.get(run_id)
    assert store.list()[0].state == "lost"


def test_an_extended_run_is_not_averaged_with_runs_planned_that_long(store):
    planned, extended = create(store, epochs=40, seed=0), create(store, epochs=20, seed=1)
    train(store, planned, 80, top1=90.0)
    train(store, extended, 40)
    extend(store, extended, 40)
    train(store, extended, 80, top1=80.0)
    infos = [store.get(planned), store.get(extended)]
    rows = list(run_table(infos))
    assert [row["epochs"] for row in rows] == [40, 40]
    assert [group["n"] for group in group_rows(rows, by="dataset")] == [1, 1]
    points = measured_points(rows)
    assert [point.error for point in points] == [None, None]
    assert sorted(point.detail for point in points) == ["extended from epoch 20", "not extended"]
    assert "extended from epoch 20" in measured_points(rows[1:])[0].detail
    assert config_difference(infos)["extended_from"] == [None, "epoch 20"]
    trials = [
        SweepTrial(n, "", {"seed": n}, info.id, "finished", {"top1": 90.0}, extended_from=info.extended_from)
        for n, info in enumerate(infos)
    ]
    assert [setting.label for setting in settings_of(trials)] == ["all seeds", "all seeds, extended from epoch 20"]
