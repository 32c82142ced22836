"""The page Start without runs, with a run of one's own, with a demo; its buttons; and ids that open nothing."""

from __future__ import annotations

import ast

import pytest

from app.cached import DEMO
from app.labels import FIRST_RUN_SECONDS
from nes_lab.runs.bundled import BUNDLED_GROUP
from nes_lab.runs.layout import names
from nes_lab.runs.store import RunStore
from tests.app.test_views import figures, open_page, words
from tests.figures.samples import write_run
from tests.house.tree import ROOT


@pytest.fixture
def launched(monkeypatch):
    """Stands in for the training process."""
    started = []
    monkeypatch.setattr("nes_lab.runs.launcher.start_waiting", lambda store: started.append(store) or {})
    return started


def press(at, label):
    next(button for button in at.button if button.label == label).click()
    at.run()
    assert not at.exception, at.exception
    return at


def labels(at):
    return list(at.dataframe[0].value["label"])


def test_without_runs_the_bundled_demo_is_there_and_says_so(home):
    at = open_page("start")
    assert "The bundled demo in one picture" in words(at) and "18 runs" in str(figures(at)[0]["layout"]["title"])
    assert any("learner" in label for label in labels(at)) and "none of your own yet" in words(at)
    assert not (home / "runs").exists()


def test_own_runs_replace_the_bundled_ones(store):
    write_run(store, label="mine", routing="tiled")
    at = open_page("start")
    assert labels(at) == ["mine"]
    assert "The bundled demo in one picture" in words(at)  # there is no demo of one's own yet
    write_run(store, label="other", group="demo-1")
    assert "The newest demo in one picture" in words(open_page("start"))


def test_try_it_launches_the_smallest_run_and_opens_it(home, launched):
    at = press(open_page("start"), f"Try it: {FIRST_RUN_SECONDS} seconds")
    (info,) = RunStore().list()
    assert (info.config["data"]["name"], info.config["compression"]["routing"]) == ("digits", "learner")
    assert launched and at.title[0].value == "first try, learner"


def test_the_card_about_pretrained_weights_chooses_them_on_compress(home):
    (link,) = (item.proto for item in open_page("start").get("page_link") if item.proto.label == "Fit")
    assert "start-from=pretrained" in link.query_string and "mobilenetv2_100" in link.query_string


def test_the_finished_demo_opens_beside_own_runs_and_can_be_hidden(store):
    write_run(store, label="mine", routing="tiled")
    at = press(open_page("start"), "Open the finished demo")
    assert BUNDLED_GROUP in words(at)
    assert not [button.label for button in at.button if button.label in ("Train further", "Delete", "Resume")]
    at.switch_page("views/start.py").run()
    assert "none of your own" not in words(at)
    press(at, "Hide the bundled demo")
    assert not [button for button in at.button if button.label == "Hide the bundled demo"]


def test_a_link_to_the_demo_works_beside_own_runs_until_the_demo_is_hidden(store):
    write_run(store, label="mine", routing="tiled")
    at = open_page("run", run=sorted(names(DEMO))[0])
    assert not at.error and BUNDLED_GROUP in words(at)
    at = press(at, "Hide the bundled demo")
    assert not at.error and at.title[0].value == "mine"


def test_start_says_who_can_open_the_app(home, monkeypatch):
    assert "Only this computer can open the app" in words(open_page("start"))
    monkeypatch.setattr("app.listening.open_warning", lambda: "This app listens at 0.0.0.0.")
    assert "Only this computer" not in words(open_page("start"))


@pytest.mark.parametrize("run_id", ["../../etc", "..%2fdemo", "READ-ONLY.txt", ".", "a\0b", "20261129"])
def test_hostile_ids_open_nothing(home, run_id):
    at = open_page("run", run=run_id)
    assert len(at.error) == 1 and not figures(at)


def test_the_code_for_python_runs():
    tree = ast.parse((ROOT / "app" / "views" / "start.py").read_text())
    (code,) = (
        node.value.value
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "PYTHON"
    )
    exec(compile(code, "start", "exec"), {})
