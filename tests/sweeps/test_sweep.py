"""A sweep is begun, interrupted, continued: nothing is trained twice, and nothing is lost."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time

import optuna
import pytest

from nes_lab.config import load_sweep
from nes_lab.errors import OptionError, RunError
from nes_lab.runs import launcher
from nes_lab.runs.extensions import Extension, add_extension
from nes_lab.runs.files import read_json, write_json
from nes_lab.runs.lock import hold_lock
from nes_lab.sweeps.executors import LocalExecutor
from nes_lab.sweeps.ray_executor import RayExecutor, import_ray
from nes_lab.sweeps.result import SweepResult, SweepTrial, front, settings_of
from nes_lab.sweeps.study import shown_storage
from nes_lab.sweeps.sweep import Sweep, run_sweep

pytestmark = pytest.mark.usefixtures("fake_training")


@pytest.fixture(autouse=True)
def _no_leftovers(store):
    yield
    for info in store.list():
        if info.pid and info.is_active and info.pid != os.getpid():
            os.kill(info.pid, signal.SIGKILL)


def attempts(store):
    return {info.config["seed"]: info.attempt for info in store.list()}


def sweep_here(store, tree, jobs=2, **options):
    return run_sweep(tree, jobs=jobs, root=store.root, **options)


def test_all_trials_are_ordinary_runs_and_are_trained_once(store, tree):
    told = []
    events = []
    found = sweep_here(store, tree(), on_run=lambda kind, info: told.append(kind), on_progress=events.append)
    assert [trial.state for trial in found.trials] == ["finished"] * 3
    assert [dict(trial.numbers) for trial in found.trials][2] == {"top1": 52.0, "madds": 102.0, "params": 10.0}
    assert [setting.trials for setting in found.front] == [(0, 1, 2)] and not found.unfinished and found.planned == 3
    assert optuna.load_study(study_name="seeds", storage=found.storage).metric_names == ["top1", "madds", "params"]
    assert (found.front[0].mean["top1"], found.front[0].std["top1"]) == (51.0, 1.0)
    infos = {info.id: info for info in store.list()}
    assert {info.group for info in infos.values()} == {"seeds"}
    assert [infos[trial.run].label for trial in found.trials] == [trial.label for trial in found.trials]
    assert [trial.label for trial in found.trials] == ["seed 0", "seed 1", "seed 2"]
    assert (told.count("began"), told.count("ended")) == (3, 3)
    assert (events[-1]["phase"], events[-1]["total"]) == ("trials", 3) and events[-1]["done"] <= 3
    assert "NES_LAB_PLACES" not in os.environ
    with pytest.warns(FutureWarning, match="on_progress=, on_run="):
        again = sweep_here(store, tree(), news=lambda kind, info: told.append(kind))
    assert again == found and told.count("began") == 3 and set(attempts(store).values()) == {1}
    with pytest.raises(OptionError, match=r"(?s)space.seed: \[0, 1, 2\] then, \[0, 1\] now.*another name"):
        sweep_here(store, tree(space={"seed": [0, 1]}))
    with pytest.raises(OptionError, match=r"base\.training.epochs: 2 then, 3 now"):
        sweep_here(store, tree(base=tree()["base"] | {"training": {"epochs": 3, "lr": 0.01, "warmup_epochs": 0}}))
    (store.root.parent / "sweeps" / "seeds" / "study.db").unlink()  # the runs tell as much
    assert [trial.run for trial in sweep_here(store, tree()).trials] == [trial.run for trial in found.trials]
    assert set(attempts(store).values()) == {1}


def test_asked_to_stop_it_saves_and_goes_on_later_with_the_same_runs(store, tree):
    base = {"training": {"epochs": 40, "lr": 0.05, "warmup_epochs": 0}}
    tree = tree(base=base, space={"seed": [0, 1]})
    begun = lambda: [info for info in store.list() if info.step > 2]  # noqa: E731
    found = sweep_here(store, tree, should_stop=lambda: len(begun()) == 2)
    assert found.interrupted and [trial.state for trial in found.trials] == ["cancelled"] * 2
    saved = {info.id: info.step for info in store.list()}
    found = sweep_here(store, tree)
    assert not found.interrupted and {trial.run for trial in found.trials} == set(saved)
    assert [trial.state for trial in found.trials] == ["finished"] * 2
    for run_id, step in saved.items():
        rows = store.metrics(run_id)
        assert [row["step"] for row in rows] == list(range(1, 41))
        assert [row["attempt"] for row in rows] == [1] * step + [2] * (40 - step)


def test_the_dead_are_resumed_as_often_as_allowed_and_the_failed_only_when_asked(store, tree):
    base = {"training": {"epochs": 8, "lr": 0.01, "warmup_epochs": 0}}
    tree = tree(base=base, space={"seed": [0, 1002, 13]})
    found = sweep_here(store, tree | {"retries": 2})
    states = {trial.settings["seed"]: trial for trial in found.trials}
    assert (states[0].state, states[1002].state) == ("finished", "finished")
    assert attempts(store) == {0: 1, 1002: 3, 13: 1}
    assert states[13].state == "failed" and "boom" in states[13].reason
    assert states[13] in found.unfinished
    before = attempts(store)[13]
    found = sweep_here(store, tree | {"retries": 2})
    assert attempts(store)[13] == before  # failed is final
    found = sweep_here(store, tree | {"retries": 2}, retry_failed=True)
    assert attempts(store)[13] == before + 1 and len(found.trials) == 3


@pytest.mark.slow
def test_a_trial_that_died_too_often_is_given_up_for_now_and_goes_on_next_time(store, tree):
    tree = tree(base={"training": {"epochs": 8, "lr": 0.01, "warmup_epochs": 0}}, space={"seed": [1003]}, retries=1)
    (trial,) = sweep_here(store, tree).trials
    assert trial.state == "lost" and attempts(store) == {1003: 2}
    (again,) = sweep_here(store, tree).trials
    assert (again.state, again.run, attempts(store)) == ("finished", trial.run, {1003: 4})


@pytest.mark.slow
def test_a_killed_sweep_leaves_its_trials_running_and_finds_them_again(store, tree, wait):
    tree = tree(base={"training": {"epochs": 60, "lr": 0.05, "warmup_epochs": 0}}, space={"seed": [0, 1]})
    code = f"from nes_lab.sweeps.sweep import run_sweep; run_sweep({tree!r}, jobs=1, root={str(store.root)!r})"
    process = subprocess.Popen([sys.executable, "-c", code])
    try:
        wait(lambda: [info for info in store.list() if info.step > 1])
        with pytest.raises(RunError, match="is being run by another process"):
            sweep_here(store, tree)
    finally:
        process.kill()
        process.wait()
    found = sweep_here(store, tree, jobs=2)
    assert [trial.state for trial in found.trials] == ["finished"] * 2
    assert attempts(store) == {0: 1, 1: 1}


def test_a_trial_cancelled_by_a_person_is_left_alone_until_the_next_start(store, tree):
    tree = tree(base={"training": {"epochs": 300, "lr": 0.02, "warmup_epochs": 0}}, space={"seed": [0]})

    def cancel(event):
        for info in store.list():
            if info.state == "running" and info.step > 1:
                launcher.cancel(store, info.id)

    (trial,) = sweep_here(store, tree, on_progress=cancel).trials
    assert trial.state == "cancelled" and attempts(store) == {0: 1}


@pytest.mark.slow
def test_a_deleted_run_of_an_unfinished_trial_is_made_anew_and_a_finished_one_keeps_its_numbers(store, tree):
    found = sweep_here(store, tree(space={"seed": [0, 1003]}, retries=0))
    for trial in found.trials:
        store.delete(trial.run)
    again = sweep_here(store, tree(space={"seed": [0, 1003]}, retries=0))
    assert again.trials[0].state == "finished" and again.trials[0].numbers["top1"] == 50.0
    assert again.trials[1].run != found.trials[1].run and len(store.list()) == 1


@pytest.mark.slow
def test_learning_samplers_stop_at_the_number_of_trials_and_do_not_train_twins(store, tree):
    tree = tree(sampler="tpe", trials=4, space={"seed": [0, 1]})
    found = sweep_here(store, tree, jobs=1)
    assert [trial.state for trial in found.trials] == ["finished"] * 4
    assert len(store.list()) == len({trial.settings["seed"] for trial in found.trials}) <= 2
    more = sweep_here(store, tree | {"trials": 6}, jobs=1)
    assert more.trials[:4] == found.trials and len(more.trials) == 6


@pytest.mark.slow
def test_a_drawn_twin_of_a_failed_trial_fails_without_a_new_attempt(store, tree):
    """Seed 13 fails; a sampler that draws it again resumed the failed run, although it was not asked to."""
    tree = tree(sampler="tpe", trials=3, space={"seed": [13]})
    found = sweep_here(store, tree, jobs=1)
    assert [trial.state for trial in found.trials] == ["failed"] * 3
    assert attempts(store) == {13: 1} and all("boom" in trial.reason for trial in found.trials)


@pytest.mark.slow
def test_a_number_that_no_run_has_fails_the_trial_with_what_there_is(store, tree):
    (trial,) = sweep_here(store, tree(space={"seed": [0]}, objectives={"latency_ms": "minimize"})).trials
    assert trial.state == "failed" and "no latency_ms; it has top1, params, madds" in trial.reason


def test_a_number_that_is_none_fails_the_trial_instead_of_the_sweep(store, tree):
    sweep = Sweep(load_sweep(tree(space={"seed": [0]})), store)
    run_id = store.create(sweep.space.candidates[0].config.to_dict(), group="seeds")
    (store.path(run_id) / "summary.json").write_text('{"top1": NaN, "madds": 5, "params": 7, "ok": true}')
    (store.path(run_id) / "status.json").write_text('{"state": "finished", "attempt": 1, "step": 2, "total": 2}')
    (trial,) = sweep.run(LocalExecutor(store)).trials
    assert (trial.state, trial.run) == ("failed", run_id) and "no top1; it has madds, params" in trial.reason


@pytest.mark.slow
def test_a_grid_grows_and_trains_only_what_is_new(store, tree):
    space = {"training.lr": [0.01], "seed": [0, 13]}
    first = sweep_here(store, tree(space=space))
    grown = {"training.lr": [0.02, 0.01], "seed": {"low": 0, "high": 13, "step": 13}}
    again = sweep_here(store, tree(space=grown))
    assert [trial.run for trial in again.trials][:2] == [trial.run for trial in first.trials]
    assert [trial.state for trial in again.trials] == ["finished", "failed"] * 2 and len(store.list()) == 4
    assert {info.attempt for info in store.list()} == {1}
    study = optuna.load_study(study_name="seeds", storage=again.storage)
    assert study.trials[0].distributions["training.lr"].choices == (0.02, 0.01)
    assert study.trials[0].values == [50.0, 100.0, 10.0] and "boom" in study.trials[1].user_attrs["reason"]
    assert sweep_here(store, tree(space=grown)) == again
    for smaller in (space, {"seed": [0, 13]}, {**grown, "training.epochs": [2]}):
        with pytest.raises(OptionError, match="lists of a grid may grow"):
            sweep_here(store, tree(space=smaller))
    with pytest.raises(OptionError, match=r"base\.training.epochs: 2 then, 3 now"):
        sweep_here(store, tree(space=grown | {"seed": [0, 13, 1]}, base={"training": {"epochs": 3, "lr": 0.01}}))


def test_a_study_in_a_shared_database_belongs_to_one_folder_of_runs(store, tree, tmp_path):
    """As on two machines whose run roots have one path, and that do not see each other's locks."""
    tree = tree(space={"seed": [0]}, storage=f"sqlite:///{tmp_path}/shared.db")
    (trial,) = sweep_here(store, tree).trials
    here, there = store.root.parent / "sweeps", tmp_path / "there"
    here.rename(there)
    with pytest.raises(RunError, match=r"(?s)seeds.*belongs to .*runs on .*take another name"):
        sweep_here(store, tree)
    assert len(store.list()) == 1
    shutil.copytree(there, here, dirs_exist_ok=True)
    assert sweep_here(store, tree).trials == (trial,)


def test_a_lost_place_in_the_queue_is_taken_again(store, tree):
    sweep = Sweep(load_sweep(tree(space={"seed": [0]})), store)
    run_id = store.create(sweep.space.candidates[0].config.to_dict())
    executor = LocalExecutor(store)
    executor.tries[run_id] = 0
    ended = []
    with executor.open():
        while not ended:
            ended = executor.ended()
            threading.Event().wait(0.05)
    assert (ended[0].id, ended[0].state) == (run_id, "finished")


def test_a_process_that_never_begins_is_not_started_for_ever(store, tree, fake_training):
    # an error that nobody foresaw, before the run is taken
    broken = "import sys\nsys.modules['nes_lab.experiment.run_experiment'].run_experiment = lambda *_, **__: [][1]\n"
    with (fake_training / "sitecustomize.py").open("a") as file:
        file.write(broken)
    began = time.monotonic()
    stop = lambda: time.monotonic() - began > 40  # noqa: E731
    told = []
    found = sweep_here(
        store,
        tree(space={"seed": [0]}, retries=1),
        should_stop=stop,
        on_run=lambda kind, info: told.append((kind, info)),
    )
    assert not found.interrupted and found.unfinished
    (ended,) = [info for kind, info in told if kind == "ended"]
    assert ended.state == "lost" and "log.txt may say why" in ended.reason


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"executor": "rya"}, "executor='rya'.*Did you mean 'ray'"),
        ({"jobs": 0}, "jobs=0 should be at least 1"),
        ({"executor": "ray", "jobs": 0}, "jobs=0 should be at least 1"),
        ({"executor": "ray", "cpus_per_trial": 0}, "a trial needs at least one"),
    ],
)
def test_wrong_options_start_nothing(store, tree, options, message):
    with pytest.raises(OptionError, match=message):
        run_sweep(tree(), root=store.root, **options)
    assert store.list() == []


@pytest.mark.parametrize(
    ("address", "message"),
    [("here", "should be host:port"), ("ray://a:1", "should be host:port"), ("127.0.0.1:1", "no Ray cluster answers")],
)
def test_an_address_without_a_cluster_is_said_at_once(store, tree, address, message):
    with pytest.raises((OptionError, RunError), match=message):
        run_sweep(tree(), root=store.root, executor="ray", address=address)
    assert store.list() == []


def test_a_cluster_that_asks_for_a_token_is_no_riddle(store, monkeypatch):
    ray = import_ray("")

    def refuse(*_, **__):
        raise ConnectionError("Failed to connect to Ray cluster")

    monkeypatch.setattr(ray, "init", refuse)
    monkeypatch.setattr("nes_lab.sweeps.ray_executor._knock", lambda _: None)
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    executor = RayExecutor(store, address="127.0.0.1:6379")
    with pytest.raises(RunError, match=r"Failed to connect.*set RAY_AUTH_MODE=token"), executor.open():
        pass
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    with pytest.raises(RunError, match=r"Failed to connect to Ray cluster$"), executor.open():
        pass


@pytest.mark.parametrize("storage", ["nonsense", "sqlite:////proc/none/x.db", "postgresql://lab:secret@localhost/x"])
def test_a_storage_that_cannot_be_opened_is_named_without_its_password(store, tree, storage):
    with pytest.raises(RunError, match=r"storage=.*cannot be opened") as caught:
        sweep_here(store, tree(storage=storage))
    assert "secret" not in str(caught.value) and store.list() == []


def test_the_sweep_says_where_it_is(store, tree):
    sweep = Sweep(load_sweep(tree()), store)
    assert sweep.look().trials == () and not sweep.folder.exists()
    sweep.folder.mkdir(parents=True)
    with hold_lock(sweep.folder), pytest.raises(RunError, match="another process"):
        sweep_here(store, tree())
    sweep_here(store, tree(space={"seed": [0]}, storage=f"sqlite:///{store.root.parent}/shared.db"))
    about = json.loads((sweep.folder / "sweep.json").read_text())
    assert about["storage"].endswith("shared.db") and about["space"] == {"seed": [0]}
    assert shown_storage("mysql://a:b@c/d") == "mysql://a:***@c/d"


def trial(number, state="finished", run="", settings=None, **numbers):
    return SweepTrial(number, "", {"x": number} if settings is None else settings, run or str(number), state, numbers)


def test_the_front_is_that_of_all_objectives():
    trials = [trial(0, top1=60.0, madds=5.0), trial(1, top1=50.0, madds=9.0), trial(2, top1=70.0, madds=8.0)]
    trials += [trial(3, top1=50.0, madds=9.0, params=1.0), trial(4, top1=70.0, madds=8.0)]
    on = lambda objectives: [number for found in front(settings_of(trials), objectives) for number in found.trials]  # noqa: E731
    assert on({"top1": "maximize", "madds": "minimize"}) == [2, 4, 0]  # equal ones together
    assert on({"top1": "minimize", "madds": "minimize"}) == [1, 3, 0]
    assert on({"top1": "maximize"}) == [2, 4]
    assert on({"madds": "minimize"}) == [0]
    assert on({"params": "minimize", "top1": "maximize"}) == [3]  # the others do not have both


def test_the_front_agrees_with_optunas_where_every_setting_has_one_seed():
    study, chance = optuna.create_study(directions=["maximize", "minimize", "minimize"]), random.Random(0)
    trials = []
    for number in range(60):
        values = [float(chance.randrange(6)) for _ in range(3)]
        study.add_trial(optuna.trial.create_trial(values=values))
        trials.append(trial(number, **dict(zip(("top1", "madds", "params"), values, strict=True))))
    found = SweepResult("s", "", tuple(trials), {"top1": "maximize", "madds": "minimize", "params": "minimize"}, 60)
    assert sorted(number for setting in found.front for number in setting.trials) == sorted(
        best.number for best in study.best_trials
    )


def test_a_lucky_seed_does_not_make_the_front():
    steady = [trial(seed, settings={"r": "free", "seed": seed}, top1=60.0, madds=5.0) for seed in range(3)]
    wild = [trial(3 + i, settings={"r": "tiled", "seed": i}, top1=x, madds=5.0) for i, x in enumerate((90.0, 10.0))]
    wild += [trial(5, "failed", settings={"r": "tiled", "seed": 2})]
    twin = trial(6, run="0", settings={"r": "free", "seed": 0}, top1=60.0, madds=5.0)  # drawn twice by a sampler
    found = SweepResult("s", "", (*steady, *wild, twin), {"top1": "maximize", "madds": "minimize"}, 6)
    assert [setting.label for setting in found.front] == ["r free"]
    free, tiled = found.settings
    assert (free.n, free.trials, free.std["top1"]) == (3, (0, 1, 2, 6), 0.0)
    assert (tiled.n, tiled.mean["top1"], tiled.trials) == (2, 50.0, (3, 4, 5))
    assert found.to_dict()["front"] == ["r free"] and found.to_dict()["settings"][1]["n"] == 2


def test_a_run_that_a_hung_process_holds_is_lost_and_the_others_go_on(store, tree):
    sweep = Sweep(load_sweep(tree(space={"seed": [0, 1]})), store)
    run_id = store.create(sweep.space.candidates[0].config.to_dict(), group="seeds")
    status = {"state": "failed", "attempt": 1, "step": 0, "total": 2, "reason": "it hung"}
    (store.path(run_id) / "status.json").write_text(json.dumps(status))
    with hold_lock(store.path(run_id)):
        found = sweep.run(LocalExecutor(store))
    assert [(trial.state, trial.run == run_id) for trial in found.trials] == [("failed", True), ("finished", False)]


def test_an_extended_run_is_shown_and_averaged_apart(store, tree):
    found = sweep_here(store, tree(space={"seed": [0, 1]}))
    folder = store.path(found.trials[1].run)
    add_extension(folder, Extension(6, 3, from_step=1, from_epoch=3.0))
    write_json(folder / "summary.json", read_json(folder / "summary.json") | {"top1": 90.0, "extended_from": "epoch 3"})
    again = sweep_here(store, tree(space={"seed": [0, 1]}))
    assert [trial.run for trial in again.trials] == [trial.run for trial in found.trials]
    assert (again.trials[1].label, again.trials[1].numbers["top1"]) == ("seed 1, extended from epoch 3", 90.0)
    assert [(setting.label, setting.n) for setting in again.settings] == [
        ("all seeds", 1),
        ("all seeds, extended from epoch 3", 1),
    ]
