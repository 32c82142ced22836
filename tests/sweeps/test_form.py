"""A sweep from a form: read, launched as a process of its own, seen from outside, stopped and continued."""

import os
import subprocess
import sys

import pytest
import yaml

import nes_lab
from nes_lab.errors import NesLabError, OptionError, RunError
from nes_lab.sweeps.form import read_values, sweep_tree
from nes_lab.sweeps.importances import importances
from nes_lab.sweeps.launch import check_sweep, launch_sweep, missing_package, resume_sweep, stop_sweep
from nes_lab.sweeps.overview import list_sweeps, read_sweep, sweep_folder, sweeps_table, trials_table
from nes_lab.sweeps.sweep import run_sweep
from nes_lab.worker.questions import KINDS

pytestmark = pytest.mark.usefixtures("fake_training")


def test_a_form_becomes_the_trials_that_it_says(store):
    tree = sweep_tree("front", {}, madds="50%, 75%", routing=["tiled", "free"], dense=True, seeds=2, lr="0.01")
    sweep = check_sweep(tree, store)
    assert sweep.space.planned == 2 * 2 * 2 + 2  # the dense network once for each seed
    ranged = sweep_tree("front", {}, lr="0.01 to 0.1", sampler="random", trials=5)
    assert check_sweep(ranged, store).space.planned == 5
    assert not (store.root.parent / "sweeps").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "Not a name"}, "name="),
        ({"madds": "half"}, "madds"),
        ({"lr": "fast"}, "learning rates 'fast' cannot be read"),
        ({"lr": "0.1 to 0.01", "sampler": "random", "trials": 3}, "low=0.1 should be below high"),
        ({"lr": "0.01 to 0.1"}, "is a range"),
        ({"base": "no-recipe"}, "no-recipe"),
    ],
)
def test_a_wrong_field_is_named_and_nothing_is_written(store, options, message):
    given = {"name": "front", "base": {}} | options
    with pytest.raises(NesLabError, match=message):
        launch_sweep(sweep_tree(**given), store)
    assert not (store.root.parent / "sweeps").exists() and store.list() == []


def test_values_are_a_list_or_a_range():
    assert read_values("1, 2, 2", "x") == [1.0, 2.0]
    with pytest.raises(OptionError, match="x '1 to 2 to 3' cannot be read"):
        read_values("1 to 2 to 3", "x")


@pytest.mark.slow
def test_a_sweep_is_launched_seen_stopped_and_continued(store, wait):
    base = {"training": {"epochs": 40, "lr": 0.05, "warmup_epochs": 0}}
    tree = {"name": "seeds", "base": base, "space": {"seed": [0, 1]}}
    assert launch_sweep(tree, store) == "seeds"
    with pytest.raises(RunError, match="is running"):
        launch_sweep(tree, store)
    wait(lambda: any(info.step > 2 for info in store.list()), 60)
    view = read_sweep(store, "seeds")
    assert view is not None and (view.state, view.planned, view.finished) == ("running", 2, 0)
    assert list_sweeps(store) == [view] or list_sweeps(store)[0].name == "seeds"
    stop_sweep(store, "seeds")
    wait(lambda: not read_sweep(store, "seeds").is_running, 60)
    assert read_sweep(store, "seeds").state == "stopped" and "cancelled" in read_sweep(store, "seeds").text
    with pytest.raises(RunError, match="not running"):
        stop_sweep(store, "seeds")
    with pytest.raises(RunError, match="taken by a sweep with other settings"):
        check_sweep(tree | {"base": {}}, store)
    resume_sweep(store, "seeds")
    wait(lambda: read_sweep(store, "seeds").state == "finished", 90)
    assert [info.state for info in store.list()] == ["finished"] * 2


@pytest.mark.slow
def test_a_sweep_of_the_command_line_is_seen_and_continued_too(store, tree, wait):
    found = run_sweep(
        tree(space={"seed": [0, 1, 2, 3]}), jobs=2, root=store.root, should_stop=lambda: len(store.list()) > 2
    )
    assert found.interrupted
    view = read_sweep(store, "seeds")
    assert view is not None and (view.state, view.planned) == ("stopped", 4) and view.objectives[0] == "top1"
    assert sweeps_table([view]).rows[0]["varied"] == "seed" and len(trials_table(view).rows) == len(store.list())
    resume_sweep(store, "seeds")
    wait(lambda: read_sweep(store, "seeds").state == "finished", 90)
    shares = importances(store, "seeds", "top1")
    assert shares == {"seed": pytest.approx(1.0)} == nes_lab.sweep_importances(found, root=store.root)
    with pytest.raises(RunError, match="same params"):
        importances(store, "seeds", "params")
    with pytest.raises(RunError, match="objective 'speed'"):
        importances(store, "seeds", "speed")


def test_the_jobs_worker_answers_for_importances(store):
    with pytest.raises(RunError, match="there is no sweep 'gone'"):
        KINDS["jobs"]()["importances"]({"root": str(store.root), "sweep": "gone", "objective": "top1"}, lambda _: None)


def test_folders_that_are_no_sweep_are_not_listed(store):
    (store.root.parent / "sweeps" / "empty").mkdir(parents=True)
    damaged = store.root.parent / "sweeps" / "damaged"
    damaged.mkdir()
    (damaged / "launch.json").write_text("{")
    assert list_sweeps(store) == []
    with pytest.raises(RunError, match="not the name of a sweep"):
        sweep_folder(store, "../x")
    with pytest.raises(RunError, match="there is no sweep 'gone'"):
        resume_sweep(store, "gone")


def test_a_missing_package_is_named(monkeypatch):
    assert missing_package("local") == ""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "ray" else name)
    assert "pip install 'nes-lab[train,cluster]'" in missing_package("ray") and missing_package("local") == ""


def test_forms_and_lists_load_neither_torch_nor_optuna_nor_ray():
    code = (
        "import sys, nes_lab.sweeps.launch, nes_lab.sweeps.overview, nes_lab.sweeps.importances; "
        "sys.exit(bool({'torch', 'optuna', 'ray'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], env=os.environ, check=False).returncode == 0
    assert yaml.safe_load("a: 1")  # what the launched file is written with
