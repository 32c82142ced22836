"""The page Sweep: its form, and what it shows of a sweep in each state."""

from __future__ import annotations

import json
import os
from types import SimpleNamespace

import pytest

from app.components import tables
from nes_lab.records.table import Table
from nes_lab.runs import spawn
from nes_lab.runs.files import write_json
from nes_lab.sweeps.overview import sweep_folder
from nes_lab.worker.client import Worker
from tests.app.test_views import figures, open_page, words
from tests.figures.samples import write_run


def button(at, label):
    return next(each for each in at.button if each.label == label)


def write_sweep(store, name="front", planned=4, **launch):
    folder = sweep_folder(store, name)
    folder.mkdir(parents=True)
    about = {"base": {}, "space": {"seed": [0, 1, 2, 3]}, "sampler": "grid", "seed": 0}
    about |= {"name": name, "storage": "sqlite:///x", "planned": planned, "objectives": {"top1": "maximize"}}
    write_json(folder / "sweep.json", about)
    if launch:
        write_json(folder / "launch.json", launch)


def test_the_form_counts_trials_and_launches_one_process(store, monkeypatch):
    started = []
    monkeypatch.setattr(spawn, "start_detached", lambda words, log, **_: started.append(words) or os.getpid())
    at = open_page("sweep", madds="40%, 60%", seeds="3", routing="tiled", **{"sweep-name": "front"})
    assert "6 trials, 1 at the same time" in words(at) and "A sweep trains one experiment many times" in words(at)
    button(at, "Launch").click().run()
    assert not at.error and not at.exception, words(at)
    assert len(started) == 1 and started[0][2] == "sweep" and at.subheader[1].value == "front"
    assert not button(at, "Stop").disabled  # the stand-in process, this one, is alive
    text = (sweep_folder(store, "front") / "sweep.yaml").read_text()
    assert "40%" in text and "tiled" in text


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ({"sweep-name": "No Name"}, "name="),
        ({"madds": "half"}, "MAdds budget: 'half' cannot be read"),
        ({"lr": "fast"}, "learning rates 'fast' cannot be read"),
        ({"base": "My own settings", "yaml": "a: ["}, "cannot be read as YAML"),
        ({"base": "My own settings", "yaml": "- 1"}, "give sections"),
        ({"base": "My own settings", "yaml": "training: {epoch: 3}"}, "epoch"),
    ],
)
def test_a_wrong_field_is_named_and_nothing_can_be_launched(store, address, message):
    at = open_page("sweep", **address)
    assert message in words(at)
    assert all(each.disabled for each in at.button if each.label == "Launch")
    assert not (store.root.parent / "sweeps").exists()


def test_a_missing_package_is_named(store, monkeypatch):
    monkeypatch.setattr("app.components.sweep_form.missing_package", lambda executor: "A sweep needs optuna.")
    at = open_page("sweep")
    assert at.warning[0].value == "A sweep needs optuna." and button(at, "Launch").disabled


def test_the_form_of_compress_is_the_base(store):
    at = open_page("sweep", base="The form on Compress")
    assert "Fill in the form on the page Compress first" in words(at)
    at.session_state["form-experiment"] = {
        "training": {"epochs": 7},
        "compression": {"madds": "60%", "routing": "free"},
    }
    at.run()
    assert "2 trials" in words(at)
    kept = at.query_params["form"]
    again = open_page("sweep", base="The form on Compress", form=kept)  # as after a reload
    assert "2 trials" in words(again) and json.loads(kept)["compression"]["routing"] == "free"


def test_a_finished_sweep_shows_its_front_its_trials_and_what_mattered(store, monkeypatch):
    asked = []
    monkeypatch.setattr(
        Worker, "ask", lambda self, name, question, **_: asked.append((self.kind, question)) or {"seed": 1.0}
    )
    for seed in range(4):
        write_run(store, label=f"seed={seed} <b>", group="front", seed=seed, top1=90.0 + seed)
    write_sweep(store)
    at = open_page("sweep", sweep="front")
    assert not at.error and "4 of 4 finished" in at.get("progress")[0].proto.text
    assert "measured: 1 setting, 4 runs" in json.dumps(figures(at)[0]["layout"])
    trials = next(frame.value for frame in at.dataframe if "trial" in frame.value)
    assert list(trials["top1"]) == [93.0, 92.0, 91.0, 90.0] and trials["trial"][0] == "seed 3"
    settings = next(frame.value for frame in at.dataframe if "n" in frame.value)
    assert list(settings["top1"]) == ["91.5 ± 1.3 %"] and list(settings["n"]) == ["4"]
    assert button(at, "Stop").disabled and button(at, "Continue").disabled
    assert asked == [("jobs", {"root": str(store.root), "sweep": "front", "objective": "top1"})]
    at.run()
    assert len(asked) == 1  # until another trial is finished


def test_a_ticked_trial_opens_its_run(store, monkeypatch):
    run = write_run(store, group="front")
    write_sweep(store)
    monkeypatch.setattr(
        "app.components.tables.choose_row", lambda table, key, names: names[0] if key[0] == "t" else None
    )
    assert open_page("sweep", sweep="front").query_params["run"] in (run, [run])


def test_a_selected_row_is_the_one_that_was_seen(monkeypatch):
    shown, state = [], {}
    monkeypatch.setattr(tables, "show", lambda table, key, **options: shown.append(options["on_select"]))
    monkeypatch.setattr(tables.st, "session_state", state)
    assert tables.choose_row(Table((), []), "runs", ["old", "older"]) is None
    state["runs"] = SimpleNamespace(selection=SimpleNamespace(rows=[0]))
    shown[-1]()  # the user selects the first row; meanwhile a new run begins
    assert tables.choose_row(Table((), []), "runs", ["new", "old", "older"]) == "old"
    assert tables.choose_row(Table((), []), "runs", ["new", "old", "older"]) is None  # said once


def test_without_a_sweep_the_page_shows_the_demo_as_an_example(store):
    at = open_page("sweep")
    assert "An example" in words(at) and "measured: " in json.dumps(figures(at)[0]["layout"])


def test_a_stopped_sweep_can_be_continued_and_says_why_it_ended(store, monkeypatch):
    write_sweep(store, planned=4)
    (sweep_folder(store, "front") / "log.txt").write_text("no such backbone <b>")
    monkeypatch.setattr("nes_lab.sweeps.launch.spawn.start_detached", lambda words, log, **_: os.getpid())
    at = open_page("sweep", sweep="front")
    assert "0 of 4 finished" in at.get("progress")[0].proto.text and "no such backbone <b>" in at.code[0].value
    button(at, "Continue").click().run()
    assert not button(at, "Stop").disabled, words(at)


def test_the_address_names_the_sweep_that_is_shown(store):
    write_sweep(store)
    write_sweep(store, name="other", planned=7)
    at = open_page("sweep", sweep="other")
    assert not at.error and "0 of 7 finished" in at.get("progress")[0].proto.text


def test_a_sweep_in_the_address_that_is_gone_shows_the_first_one(store):
    write_sweep(store)
    at = open_page("sweep", sweep="../gone")
    assert not at.error and "0 of 4 finished" in at.get("progress")[0].proto.text
