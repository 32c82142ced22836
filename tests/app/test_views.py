"""Every page, with no runs and with runs, through the router as a reader meets it."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys

import numpy as np
import pytest
import yaml
from streamlit.testing.v1 import AppTest

from app.cached import DEMO, details_reader
from app.components import runs_grid
from nes_lab.config import ExperimentConfig, load_config
from nes_lab.experiment.kept_answers import answers_folder, keep_answer
from nes_lab.experiment.open_runs import open_run
from nes_lab.geometry.layer_snapshot import LayerSnapshot
from nes_lab.records.backbone_list import BackboneFacts
from nes_lab.records.dataset_facts import DATASET_FACTS
from nes_lab.runs.annotate import annotate
from nes_lab.runs.launcher import cancel, launch
from nes_lab.runs.measures import COSTS, RESULTS
from nes_lab.runs.queue_order import waiting_ids
from nes_lab.runs.snapshots import snapshot_path, write_snapshot
from nes_lab.runs.store import RunStore
from nes_lab.runs.writer import RunWriter
from nes_lab.worker.client import Refusal, Worker, WorkerError
from tests.figures.samples import make_rows, write_run
from tests.house.tree import ROOT

PAGES = ("start", "compress", "runs", "run", "epitomes", "trade_off", "sweep")  # the page Data: tests/app/test_data.py
PLAN = {
    "dense": {"params": 2000, "madds": 300_000, "stored_bytes": 8000},
    "predicted": {"params": 1000, "madds": 180_000, "stored_bytes": 4000},
    "layers": {"a": {}},
    "kept_layers": {"b": {}},
    "notes": ["under the MAdds budget by 1%"],
    "rows": make_rows(),
}


REGION = {
    "dense": PLAN["dense"],
    "least": {"params": 400, "madds": 60_000, "stored_bytes": 1600},
    "madds": [60_000, 300_000],
    "fewest_params": [400, 2000],
    "most_params": [400, 2000],
    "path_madds": [300_000, 60_000],
    "path_params": [2000, 400],
}


class Planner:
    """Stands in for the workers, which load torch; remembers what it was asked."""

    def __init__(self):
        self.answer, self.questions, self.regions, self.costs = PLAN, [], 0, []

    def __call__(self, worker, name, arguments, *, seconds, waiting):
        if name == "times":
            return {"ms": 14.1, "dense_ms": 15.2, "error": 0.01, "rounds": 40}
        if name == "training_cost":
            self.costs.append(arguments["config"])
            return {"seconds": 2880, "low": 2700, "high": 3300, "steps": 12, "bytes": 1.9e9}
        if name == "region":
            self.regions += 1
            return REGION  # the page Data: tests/app/test_data.py
        if name == "samples":
            return []
        assert name == "plan"
        self.questions.append(json.loads(json.dumps(arguments)))  # as it goes through the socket
        self.kind = worker.kind
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    @property
    def compression(self):
        """The budget and the options of the last question, without those that were not given."""
        return {name: value for name, value in self.questions[-1]["compression"].items() if value not in (None, [])}


@pytest.fixture
def planner(monkeypatch):
    stand_in = Planner()
    monkeypatch.setattr(Worker, "ask", lambda self, *given, **options: stand_in(self, *given, **options))
    return stand_in


def open_page(name, **query):
    at = AppTest.from_file(str(ROOT / "app" / "lab.py"), default_timeout=60).run()
    if name != "start":
        at.switch_page(f"views/{name}.py")
        for key, value in query.items():
            at.query_params[key] = value
        at.run()
    assert not at.exception, at.exception
    return at


def words(at):
    """Everything a reader reads in the main part."""
    kinds = ("markdown", "info", "error", "caption", "text", "code", "title")
    return plain("\n".join(str(item.value) for kind in kinds for item in getattr(at, kind)))


def plain(text):
    """A text without the escapes of Markdown."""
    return re.sub(r"\\([^\w\s]|_)", r"\1", text)


def figures(at):
    drawn = [item.proto for item in at.get("bidi_component") if item.proto.component_name == "nes_lab_plot"]
    return [json.loads(json.loads(proto.json)["figure"]) for proto in drawn]


def explored(at):
    """What the explorer of the Epitomes page draws."""
    return next(
        json.loads(item.proto.json)
        for item in at.get("bidi_component")
        if item.proto.component_name == "nes_lab_explorer"
    )


@pytest.mark.parametrize("name", PAGES)
def test_pages_are_not_empty_without_runs(home, planner, name):
    at = open_page(name)
    assert len(at.title) == 1
    assert not at.error
    assert "make demo" not in words(at)
    if name not in ("compress", "runs"):  # the bundled demo is there; the table of runs has no figure
        assert figures(at)


@pytest.mark.parametrize("name", PAGES)
def test_pages_are_not_empty_with_runs(store, planner, name):
    for routing in ("free", "tiled", None):
        write_run(store, label=f"{routing} <b>bold</b>", group="demo-1", routing=routing)
    at = open_page(name)
    assert not at.error, words(at)
    assert name == "sweep" or "make demo" not in words(at)
    if name not in (
        "run",
        "runs",
        "sweep",
    ):  # a run's curves are in the component that keeps the zoom; the table has no figure
        assert figures(at)


def test_start_shows_the_newest_demo(store):
    write_run(store, label="old", group="demo-1")
    write_run(store, label="new", group="demo-2", madds=123_456)
    chart = figures(open_page("start"))[0]
    assert "1 setting, 1 run" in chart["layout"]["title"]["subtitle"]["text"]


def test_a_dense_run_has_no_link_to_epitomes(store):
    dense = write_run(store, label="dense", routing=None)
    write_run(store, label="tiled", routing="tiled")
    assert "dense: it has no epitomes" in words(open_page("run", run=dense))
    assert f"run {dense} trains a dense network, which has no epitomes" in words(open_page("epitomes", run=dense))


def test_compress_asks_the_worker_for_a_plan(home, planner):
    at = open_page("compress")
    question = planner.questions[-1]
    assert question["backbone"]["name"] == "small_mobilenetv2" and planner.kind == "plans"
    assert (question["input_shape"], question["classes"]) == ([1, 8, 8], 10)
    assert planner.compression.items() >= {"madds": "60%", "routing": "learner", "round_to": 8}.items()
    assert [metric.value for metric in at.metric] == ["180 k"]
    assert "60.0 % of dense" in words(at) and "Params **1 k** · 50.0 % of dense" in words(at)
    assert "What binds:** the MAdds budget" in plain(at.warning[0].value)
    reasons = at.dataframe[1].value
    assert list(reasons["why"])[-1] == "kept dense: head" and "factored" in reasons["why"][0]
    assert reasons["madds_factored"][0] == 32768 and "product_map: it has no sampled" in reasons["unavailable"][0]
    at.text_input(key="compression.madds").set_value("40%").run()
    assert planner.compression["madds"] == "40%"
    at.text_input(key="compression.latency_ms").set_value("75%").run()
    at.selectbox(key="compression.strategy").set_value("sensitivity").run()
    at.text_input(key="compression.overrides").set_value('{"head*": {"keep": true}}').run()
    wanted = {"latency_ms": "75%", "strategy": "sensitivity", "overrides": '{"head*": {"keep": true}}'}
    assert planner.compression.items() >= wanted.items() and planner.questions[-1]["seconds"] == 20
    assert planner.kind == "jobs"  # measuring takes long, and a plan in another tab must not wait for it


def test_compress_draws_what_can_be_reached_and_sliders_for_it(home, planner):
    at = open_page("compress")
    plane = next(each for each in figures(at) if "Params against MAdds" in each["layout"]["meta"]["alt"])
    assert "The network can reach 20.0 % of the MAdds" in plane["layout"]["meta"]["alt"]
    assert {each["id"] for each in plane["layout"]["meta"]["handles"]} == {"madds", "point"}
    drawn = [item.proto for item in at.get("bidi_component") if item.proto.component_name == "nes_lab_slider"]
    sliders = [json.loads(proto.json)["slider"] for proto in drawn]
    assert [(each["value"], each["least"], each["plan"]) for each in sliders] == [(0.6, 0.2, 0.6), (1.0, 0.2, 0.5)]
    regions = planner.regions
    at.text_input(key="compression.madds").set_value("40 %").run()
    assert planner.regions == regions  # another budget changes nothing that can be reached
    at.number_input(key="compression.round_to").set_value(4).run()
    assert planner.regions == regions + 1


def test_compress_measures_the_time_on_request(home, planner):
    at = open_page("compress")
    next(button for button in at.button if button.label == "Time one input").click().run()
    assert "14.1 ms, dense 15.2 ms: 0.93 ± 0.02 times as long" in words(at)
    assert not [button for button in at.button if button.label == "Time one input"]
    at.text_input(key="compression.madds").set_value("50%").run()
    assert "14.1 ms" not in words(at)  # another plan takes another time


def test_compress_estimates_the_training_on_request(home, planner):
    at = open_page("compress")
    next(button for button in at.button if button.label == "Estimate the training").click().run()
    assert "about 48 min here (45 min to 55 min, from 12 steps) · asks for 1.9 GB" in words(at)
    assert planner.costs == [{"compression": {"madds": "60%", "routing": "learner"}}]
    at.text_input(key="label").set_value("a name").run()
    assert "about 48 min" in words(at)  # a label changes nothing
    at.number_input(key="training.epochs").set_value(3).run()
    assert "about 48 min" not in words(at)


def test_compress_sets_a_layer_and_takes_it_back(home, planner):
    at = open_page("compress")
    name = PLAN["rows"][0]["name"]
    at.session_state["chosen-layer"] = name  # as a click on its bar
    at.run()
    assert f"**{name}** clicked" in words(at) and "of the dense layer's" in words(at)
    at.button(key="keep-dense").click().run()
    assert json.loads(planner.compression["overrides"]) == {name: {"keep": True}}
    assert at.text_input(key="compression.overrides").value == planner.compression["overrides"]
    at.slider(key="layer-ratio").set_value(25).run()
    planner.answer = Refusal("overrides: ratio=0.25 cannot be met", "OptionError")
    at.button(key="set-ratio").click().run()
    assert json.loads(planner.compression["overrides"]) == {name: {"ratio": 0.25}}
    planner.answer = PLAN
    at.button(key="refused-undo").click().run()  # also where the plan is refused
    assert json.loads(at.text_input(key="compression.overrides").value) == {name: {"keep": True}} and not at.error
    at.button(key="routing-free").click().run()
    assert json.loads(planner.compression["overrides"]) == {name: {"keep": True, "routing": "free"}}
    at.button(key=f"drop-{name}").click().run()
    assert not planner.compression.get("overrides") and at.button(key="undo-override")


def test_compress_plans_for_the_input_of_the_data_set(home, planner):
    at = open_page("compress")
    for name, facts in [(name, DATASET_FACTS[name]) for name in ("cifar100", "audio_folder")]:
        at.selectbox(key="data.name").set_value(name).run()
        assert not at.exception, name
        question = planner.questions[-1]
        assert (question["input_shape"], question["classes"]) == (list(facts.input_shape), facts.classes), name


def test_compress_explains_an_impossible_budget_and_disables_launch(home, planner):
    planner.answer = Refusal("madds budget 100 cannot be met; the least reachable is 80,000 <b>", "BudgetError")
    at = open_page("compress")
    assert "least reachable is 80,000 <b>" in words(at)
    launch = next(button for button in at.button if button.label == "Launch")
    assert launch.disabled


def test_compress_offers_ways_out_of_a_refused_budget(home, planner):
    counts = {"least": {"madds": 40_000, "params": 100}, "dense": {"madds": 300_000, "params": 2000}}
    planner.answer = Refusal("madds=10% cannot be met", "BudgetError", **counts)
    at = open_page("compress")
    at.text_input(key="compression.madds").set_value("10%").run()
    assert not any(button.label.startswith("Raise the params") for button in at.button)  # no limit on params was given
    planner.answer = PLAN
    next(button for button in at.button if button.label == "Raise the MAdds budget to 13.4 %").click().run()
    assert planner.compression["madds"] == "13.4%" and at.text_input(key="compression.madds").value == "13.4%"
    planner.answer = Refusal(
        "backbone.name='resnet81' is not known. Did you mean 'resnet18' or 'resnet101'?", "OptionError"
    )
    at.text_input(key="compression.madds").set_value("50%").run()  # asks again; the box takes only its own names here
    planner.answer = PLAN
    next(button for button in at.button if button.label == "Take resnet18").click().run()
    assert planner.questions[-1]["backbone"]["name"] == "resnet18" and not at.error


def test_compress_shows_the_experiment_to_copy(home, planner):
    at = open_page("compress")
    command, python, text = (str(code.value) for code in at.code)
    assert command == "nes-lab train --compression.madds 60% --compression.routing learner"
    given = yaml.safe_load(text)
    assert given["compression"]["madds"] == "60%" and "label" not in given and "params" not in given["compression"]
    assert load_config(given).compression.madds == "60%"
    assert ast.literal_eval(python.partition("train(")[2].rstrip(")").strip()) == given


def test_compress_explains_a_worker_that_failed(home, planner):
    planner.answer = WorkerError("The work failed unexpectedly.", "Traceback: <i>here</i>")
    at = open_page("compress")
    assert "failed unexpectedly" in words(at) and not at.exception
    assert any("Traceback: <i>here</i>" in str(code.value) for code in at.code)


def test_compress_asks_for_a_budget_if_there_is_none(home, planner):
    at = open_page("compress")
    asked = len(planner.questions)
    at.text_input(key="compression.madds").set_value("").run()
    assert "Give a budget" in words(at) and len(planner.questions) == asked
    assert next(button for button in at.button if button.label == "Launch").disabled


def test_compress_launch_checks_the_configuration_and_opens_the_run(store, planner, monkeypatch):
    launched = []
    monkeypatch.setattr("nes_lab.runs.launcher.launch", lambda store, run_id: launched.append(run_id))
    at = open_page("compress")
    at.number_input(key="training.epochs").set_value(3)
    at.text_input(key="label").set_value("<i>mine</i>")
    next(button for button in at.button if button.label == "Launch").click().run()
    assert not at.exception
    (info,) = store.list()
    assert launched == [info.id]
    assert info.label == "<i>mine</i>"
    assert info.config["training"]["epochs"] == 3
    assert info.config["compression"]["madds"] == "60%"
    assert "<i>mine</i>" in words(at) and at.session_state["current-run"] == info.id
    assert at.query_params["run"] == info.id


def test_pages_start_and_list_runs_without_torch(home):
    """What the pages call, in a process of their own: a click on Launch must not wait for torch."""
    code = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
from nes_lab.experiment.train import train
import nes_lab.runs.launcher as launcher
launcher.launch = lambda store, run_id: None
import app.views.compress  # draws the page without a browser
from app.components.compress_card import start
run_id = start({{"training": {{"epochs": 1}}}})
from app.cached import all_runs, run_of
assert [info.id for info in all_runs()] == [run_id] and run_of(run_id).metrics().rows == []
print("heavy:", *(name for name in ("torch", "timm", "torchvision") if name in sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout.splitlines()[-1:] == ["heavy:"], done.stderr


def test_compress_needs_no_plan_for_a_dense_network(store, planner, monkeypatch):
    monkeypatch.setattr("nes_lab.runs.launcher.launch", lambda store, run_id: None)
    at = open_page("compress")
    next(toggle for toggle in at.toggle if toggle.label.startswith("Train the dense")).set_value(True).run()
    assert not at.metric
    next(button for button in at.button if button.label == "Launch").click().run()
    assert store.list()[0].config["compression"] is None


@pytest.mark.parametrize("name", ["run", "epitomes"])
@pytest.mark.parametrize(
    ("run_id", "message"), [("../../etc", "not a run id"), ("%2e%2e", "not a run id"), ("no-such-run", "no run")]
)
def test_choose_run_explains_a_wrong_address(store, name, run_id, message):
    write_run(store)
    at = open_page(name, run=run_id)
    assert message in words(at)
    assert "Traceback" not in words(at)
    next(button for button in at.button if button.label == "Show the newest run").click().run()
    assert not at.error


def test_epitomes_restores_run_layer_step_and_picture_from_the_address(store):
    chosen = write_run(store, label="older")
    write_run(store, label="newer")
    at = open_page("epitomes", run=chosen, layer="blocks.1", step="30", picture="Trajectories")
    assert at.selectbox[0].value == chosen
    assert at.selectbox[1].value == "blocks.1"
    assert explored(at)["view"]["step"] == "30" and explored(at)["layer"]["name"] == "blocks.1"
    assert "Starts of blocks.1" in figures(at)[0]["layout"]["title"]["text"]


def test_texts_of_an_address_are_shown_as_they_are(store):
    at = open_page("epitomes", run=write_run(store), layer="![x](http://127.0.0.1/x.png)")
    assert r"\!\[x\]" in at.info[0].value and not at.error


def test_epitomes_says_which_steps_have_epitomes(store, monkeypatch):
    monkeypatch.setattr("nes_lab.runs.snapshots.MOST_BYTES", 0)  # as for a large network
    at = open_page("epitomes", run=write_run(store), step="30", picture="Atlas")
    assert "the epitome is that of step 0" in words(at) and figures(at)


def test_epitomes_explorer_gets_every_step(store):
    data = explored(open_page("epitomes", run=write_run(store)))["layer"]
    assert data["steps"][0] == 0 and data["steps"][-1] == 60 and set(data["epitomes"]) == set(map(str, data["steps"]))
    assert data["rounded"] == data["steps"][1:-1]


def test_epitomes_compares_a_run_with_one_of_each_other_routing(store):
    chosen, same = (write_run(store, routing="free", seed=seed) for seed in (0, 1))
    tiled = write_run(store, routing="tiled", label="tiled")
    write_run(store, routing=None)
    at = open_page("epitomes", run=chosen, compare="true")
    assert at.multiselect[0].value == [tiled] and len(at.multiselect[0].options) == 2
    (other,) = explored(at)["others"]
    assert (
        other["about"] == {"title": "tiled", "facts": ["top-1 92.5 %", "900 k MAdds"]} and other["routing"] == "tiled"
    )
    at.multiselect[0].set_value([same]).run()
    assert [each["routing"] for each in explored(at)["others"]] == ["free"]


def test_epitomes_says_what_a_run_lacks(store):
    """No run to compare with, a layer that is gone, a run with starts only, and no gradients."""
    run_id = write_run(store)
    at = open_page("epitomes", run=run_id, layer="gone", compare="true")
    assert "no layer 'gone'" in words(at) and "No other run" in words(at)
    assert "training.keep_gradients" in explored(at)["layer"]["gradientNote"]
    run_id = write_run(store)
    folder = store.path(run_id) / "snapshots"
    for step in store.snapshots(run_id):
        write_snapshot(snapshot_path(folder, step), store.snapshot(run_id, step), "none")
    at = open_page("epitomes", run=run_id, picture="Atlas")
    assert "kept only the starts" in words(at) and "No epitome was saved" in words(at)
    assert figures(open_page("epitomes", run=run_id, picture="Patches"))


@pytest.mark.parametrize("view", ["Atlas", "Patches", "Routing map", "Coverage", "Trajectories"])
def test_epitomes_draws_every_picture(store, view):
    at = open_page("epitomes", run=write_run(store), picture=view)
    assert "blocks.0" in figures(at)[0]["layout"]["title"]["text"]


def test_run_explains_a_failed_run_and_resumes_it(store, monkeypatch):
    launched = []
    monkeypatch.setattr("nes_lab.runs.launcher.launch", lambda store, run_id: launched.append(run_id))
    run_id = write_run(store, state="failed")
    at = open_page("run", run=run_id)
    assert "loss is NaN at step 60" in words(at)
    next(button for button in at.button if button.label == "Resume").click().run()
    assert launched == [run_id]


def test_run_cancels_a_queued_run(store):
    run_id = store.create({}, label="waiting")
    at = open_page("run", run=run_id)
    next(button for button in at.button if button.label == "Cancel").click().run()
    assert store.get(run_id).state == "cancelled"
    assert "cancelled" in words(at)


def test_the_bars_of_page_and_sidebar_show_the_fit(store):
    run_id = store.create({}, label="fits")
    with RunWriter(store, run_id) as writer:
        writer.status(stage={"phase": "fit", "done": 1, "total": 4, "label": "conv"})
        page = open_page("run", run=run_id).run()  # the sidebar knows the run now
    bars = [bar.proto for bar in page.get("progress")]
    assert [bar.value for bar in bars] == [25, 25]
    assert bars[-1].text.startswith("before the first step: fit 1 of 4") or bars[0].text.startswith("before the first")
    assert "running · fit 1 of 4, conv" in plain("\n".join(item.value for item in page.sidebar.caption))


def test_run_promises_no_measurement_of_a_run_that_ended(store):
    run_id = store.create({}, label="never began")
    assert "It starts in a moment" in words(open_page("run", run=run_id))
    cancel(store, run_id)
    text = words(open_page("run", run=run_id))
    assert "ended before its first measurement" in text
    assert "There is no measurement yet" not in text and "starts" not in text


def test_trade_off_takes_a_budget_and_explains_a_wrong_one(store):
    write_run(store, madds=900_000)
    at = open_page("trade_off")
    at.text_input[0].set_value("1.2M").run()
    assert any(shape["x0"] == 1_200_000 for shape in figures(at)[0]["layout"]["shapes"])
    at.text_input[0].set_value("50%").run()
    assert "is a share" in words(at)
    at.text_input[0].set_value("many").run()
    assert "cannot be read" in words(at)
    assert figures(at)


def test_trade_off_takes_a_least_result_and_leads_to_the_export(store):
    write_run(store, routing="tiled", madds=500_000, top1=90.0)
    best_of_all = write_run(store, routing=None, madds=2_000_000, top1=95.0)
    at = open_page("trade_off", **{"least-top1": "88"})
    text = words(at)
    assert "Fewest MAdds with a top-1 of at least 88.0 %" in text and "tiled: 90.0 %" in text
    assert "No epitome network here is faster than the dense one" in text  # both take 1.5 ms
    at.text_input(key="least-top1").set_value("much").run()
    assert "least top-1 'much' cannot be read" in words(at)
    next(button for button in at.button if button.label == "Export").click().run()
    assert at.query_params["run"] == best_of_all and at.query_params["view"] in ("Network", ["Network"])


def test_trade_off_names_the_best_under_a_budget_and_what_it_cannot_be_told_apart_from(store):
    for seed in range(3):
        write_run(store, label="<b>*x*</b>", routing="tiled", seed=seed, top1=90 + seed / 10)
        write_run(store, routing="free", seed=seed, top1=89.8 + seed / 5)
        write_run(store, routing=None, seed=seed, top1=95 + seed, madds=2_000_000)
        write_run(store, routing="stride", seed=seed, top1=70 + seed / 10)
    at = open_page("trade_off", **{"budget-madds": "1M"})
    text = words(at)
    assert "Best top-1 under 1 M MAdds" in text and "tiled: 90.1 ± 0.1 %" in text
    assert "Cannot be told apart from free at 900 k MAdds" in text and "Better than stride" in text
    assert "1 setting is over the budget" in text
    table = at.dataframe[0].value
    assert list(table["verdict"]) == ["★ best", "not told apart", "worse", "outside the limits"]
    shown = json.dumps(figures(at)) + text + str(table)
    assert "best_top1" not in shown and "<b>" not in text
    assert next(trace for trace in figures(at)[0]["data"] if trace["name"] == "tiled")["customdata"]


def test_trade_off_table_follows_the_points_chosen_in_the_figure(store):
    runs = [write_run(store, routing="tiled", seed=seed, top1=90.0 + seed) for seed in range(2)]
    write_run(store, routing=None, madds=2_000_000, top1=95.0)
    at = open_page("trade_off", chosen=runs[0])
    assert "1 of 2 settings" in words(at) and list(at.dataframe[0].value["top1"]) == ["90.5 ± 0.7 %"]
    traces = {trace["name"]: trace.get("selectedpoints") for trace in figures(at)[0]["data"]}
    assert traces["tiled, single runs"] == [0, 1] and traces["dense"] == []
    assert list(at.dataframe[1].value["method"]) == ["dense", "tiled"]  # all methods, whatever is chosen
    next(button for button in at.button if button.label == "Show all").click().run()
    assert len(at.dataframe[0].value) == 2 and "chosen" not in at.query_params


def test_trade_off_opens_the_newest_run_of_a_ticked_row(store, monkeypatch):
    run = write_run(store)
    monkeypatch.setattr("app.components.tables.choose_row", lambda table, key, names: names[0])
    assert open_page("trade_off").query_params["run"] in (run, [run])


@pytest.mark.parametrize("cost", ["madds", "params", "stored_bytes", "latency_ms"])
@pytest.mark.parametrize("result", ["top1", "top5", "val_loss"])
def test_trade_off_keeps_its_axes_in_the_address(store, cost, result):
    write_run(store)
    at = open_page("trade_off", cost=COSTS[cost].name, result=RESULTS[result].name)
    assert not at.error and at.selectbox(key="cost").value == cost and at.selectbox(key="result").value == result
    axes = figures(at)[0]["layout"]
    assert {"madds": "MAdds", "params": "params", "stored_bytes": "bytes", "latency_ms": "ms"}[cost] in axes["xaxis"][
        "title"
    ]["text"]
    assert {"top1": "top-1", "top5": "top-5", "val_loss": "loss"}[result] in axes["yaxis"]["title"]["text"]


def test_trade_off_compares_no_results_on_different_data(store):
    write_run(store, routing="tiled")
    other = store.create({"data": {"name": "cifar10"}, "backbone": {"name": "small_mobilenetv2"}})
    with RunWriter(store, other) as writer:
        writer.summary(madds=1000, top1=50.0)
        writer.status("finished", step=1, total=1)
    at = open_page("trade_off", data="cifar10")
    assert "dense: 50.0 %" in words(at) and "tiled: " not in words(at)
    assert at.dataframe[0].value["params"][0] == "–"


def test_trade_off_says_what_older_runs_do_not_hold(store):
    run_id = store.create({})
    with RunWriter(store, run_id) as writer:
        writer.summary(madds=1000, top1=50.0)
        writer.status("finished", step=1, total=1)
    at = open_page("trade_off", cost="stored bytes")
    assert "No run has stored bytes and top-1" in words(at) and not at.error


def test_shown_errors_hides_the_traceback_of_a_broken_page(store, monkeypatch):
    write_run(store)
    monkeypatch.setattr(RunStore, "list", lambda self: 1 / 0)
    at = open_page("trade_off")
    assert "could not be shown" in at.error[0].value
    assert "ZeroDivisionError" in at.error[0].value
    assert at.expander[0].label == "Details"


def test_imports_refused_unless_the_app_was_started_for_it(store, planner, monkeypatch):
    monkeypatch.setattr("nes_lab.runs.launcher.launch", lambda store, run_id: None)
    listed = {name: BackboneFacts(name, "own", (3, 8, 8)) for name in ("small_mobilenetv2", "resnet18", "my_nets:make")}
    monkeypatch.setattr(
        "app.components.backbone_picker.backbone_list", lambda: listed
    )  # AppTest cannot type a new choice
    at = open_page("compress")
    asked = len(planner.questions)
    next(box for box in at.selectbox if box.label == "Backbone").set_value("my_nets:make").run()
    assert "--allow-import" in words(at) and len(planner.questions) == asked
    next(toggle for toggle in at.toggle if toggle.label.startswith("Train the dense")).set_value(True).run()
    next(button for button in at.button if button.label == "Launch").click().run()
    assert "--allow-import" in words(at) and store.list() == []

    run_id = store.create({"backbone": {"name": "my_nets:make"}})
    cancel(store, run_id)
    at = open_page("run", run=run_id)
    next(button for button in at.button if button.label == "Resume").click().run()
    assert "--allow-import" in words(at)

    monkeypatch.setattr(sys, "argv", ["main.py", "--allow-import"])
    at = open_page("compress")
    next(box for box in at.selectbox if box.label == "Backbone").set_value("my_nets:make").run()
    assert planner.questions[-1]["backbone"]["name"] == "my_nets:make" and not at.error
    assert at.selectbox(key="data.name").proto.accept_new_options


def test_ask_extension_trains_a_finished_run_further(store, monkeypatch):
    launched = []
    monkeypatch.setattr("nes_lab.runs.launcher.launch", lambda store, run_id: launched.append(run_id))
    run_id = write_run(store)
    with RunWriter(store, waiting := store.create(store.get(run_id).config)) as writer:
        for path in (paths := writer.checkpoint_paths(60)):
            path.write_bytes(b"0")
        writer.commit_checkpoint(60, list(paths))
        writer.status("finished", step=60, total=60)
    at = open_page("run", run=waiting)
    planned = store.get(waiting).config["training"]["epochs"]
    at.number_input(key=f"extend-{waiting}").set_value(planned + 5)
    next(button for button in at.button if button.label == "Train further").click().run()
    assert not at.exception and launched == [waiting]
    assert store.get(waiting).config["training"]["epochs"] == planned + 5
    results = open_page("trade_off").dataframe[-1].value
    assert "extended from" in [str(name) for name in results.columns] or "extended_from" in results.columns


def click(at, label):
    next(button for button in at.button if button.label == label).click().run()
    assert not at.exception


def test_runs_filters_by_what_the_address_says(store):
    for routing in ("free", "tiled", None):
        write_run(store, label=f"net {routing}", routing=routing)
    table = open_page("runs", routing="dense").dataframe[0].value
    assert list(table["label"]) == ["net None"] and list(table["top1"]) == [92.5]
    assert "1 of 3 runs" in words(open_page("runs", search="NET tiled"))
    assert "No run matches" in words(open_page("runs", search="nothing like it"))


def test_runs_shows_every_state_and_finds_runs_by_tag(store, monkeypatch):
    monkeypatch.setattr("nes_lab.runs.launcher.start_waiting", lambda store, start_runner=True: {})
    finished, failed = write_run(store, label="<b>good</b>"), write_run(store, label="bad", state="failed")
    first, second = (store.create({}, label=label) for label in ("one", "two"))
    for run_id in (first, second):
        launch(store, run_id)
    broken, lost = write_run(store, label="broken"), write_run(store, label="lost")
    (store.path(broken) / "config.json").write_text("{")
    (store.path(lost) / "status.json").write_text("{")
    annotate(store, finished, tags=["paper", "<i>x</i>"], note="<b>why</b>")
    with RunWriter(store, store.create({}, label="trains")) as writer:
        writer.status(step=1, total=9)
        at = open_page("runs")
    table = at.dataframe[0].value.set_index("id")
    states = [state[0] for state in table["state"]]
    assert sorted(states) == ["failed", "finished", "lost", "lost", "queued", "queued", "running"] and not at.error
    assert (table["place"][first], table["place"][second]) == (1, 2) and table["disk"].min() > 200
    assert list(table["tags"][finished]) == ["paper", "<i>x</i>"] and table["note"][finished] == "<b>why</b>"
    assert "2 waiting: one, two" in words(at)
    tagged = open_page("runs", tags="paper").dataframe[0].value
    assert list(tagged["id"]) == [finished] and failed not in set(tagged["id"])


def test_runs_offers_no_change_of_the_bundled_demo(home):
    at = open_page("runs")
    at.run()  # the curves of the demo are read in the background, and the page waits for them
    assert details_reader(str(DEMO)).wait(30) and "reading the curves of" not in words(at.run())
    table = at.dataframe[0]
    assert {"tags", "note", "time_left"}.isdisjoint(json.loads(table.proto.columns) and table.proto.column_order)
    assert "Double-click" not in words(at) and all(len(curve) > 1 for curve in table.value["curve"])
    at = open_page("runs", picked=table.value["id"][0])
    assert not {"Cancel", "Resume", "First in the queue"} & {button.label for button in at.button}


def test_runs_takes_tags_and_notes_from_the_table(store):
    run_id = write_run(store, label="old")
    key = open_page("runs").session_state["runs-drawn"]["key"]
    monkey = {key: {"edited_rows": {"0": {"tags": ["a", "b"], "note": "n", "label": None}}}}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("app.components.runs_grid.picked", list)
        patch.setattr("app.components.runs_grid.remember", lambda chosen: None)
        patch.setattr("streamlit.session_state", monkey)
        runs_grid.take_edits(key, [run_id])
        assert (store.get(run_id).tags, store.get(run_id).note, store.get(run_id).label) == (("a", "b"), "n", "")
        monkey[key] = {"edited_rows": {"0": {"tags": ["a,b"]}}}
        runs_grid.take_edits(key, [run_id])
    assert store.get(run_id).tags == ("a", "b") and "without commas" in monkey["runs-problem"]


def test_runs_keeps_what_another_tab_has_changed_since(store):
    run_id = write_run(store, label="old")
    at = open_page("runs")
    key = at.session_state["runs-drawn"]["key"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("app.components.runs_grid.picked", list)
        patch.setattr("app.components.runs_grid.remember", lambda chosen: None)
        patch.setattr("streamlit.session_state", state := {key: {"edited_rows": {"0": {"label": "mine"}}}})
        runs_grid.take_edits(key, [run_id])
        assert store.get(run_id).label == "mine"
        annotate(store, run_id, label="theirs")
        state[key] = {"edited_rows": {"0": {"label": "mine", "picked": True}}}  # the table keeps its edits
        runs_grid.take_edits(key, [run_id])
    assert store.get(run_id).label == "theirs"
    at.session_state["runs-taken"] = state["runs-taken"]
    assert at.run().session_state["runs-drawn"]["key"] != key and not at.error  # a grid without the old edit


def test_runs_moves_a_waiting_run_to_the_front(store, monkeypatch):
    monkeypatch.setattr("nes_lab.runs.launcher.start_waiting", lambda store, start_runner=True: {})
    ids = [store.create({}, label=label) for label in ("one", "two", "three")]
    for run_id in ids:
        launch(store, run_id)
    at = open_page("runs", picked=ids[2])
    click(at, "First in the queue")
    assert waiting_ids(store) == [ids[2], *ids[:2]] and "3 waiting: three, one, two" in words(at)
    assert "3 waiting: three" in plain(at.sidebar.get("page_link")[-1].proto.label)
    click(at, "Later")
    assert waiting_ids(store) == [ids[0], ids[2], ids[1]] and not at.error


def test_runs_reads_older_runs_later(store, monkeypatch):
    run_id = write_run(store, label="old")
    (store.path(run_id) / "curve.json").unlink()
    monkeypatch.setattr("nes_lab.runs.details.DELAY_SECONDS", 5.0)
    at = open_page("runs")
    assert "reading the curves of 1 run" in words(at)
    assert "curve" in at.dataframe[0].value.columns
    assert details_reader(str(store.root)).wait(30)
    at.run()
    assert list(at.dataframe[0].value["curve"][0]) == [92.5] and "reading" not in words(at)


def test_runs_compares_selected_runs(store):
    chosen = [write_run(store, label=f"<b>{routing}</b>", routing=routing) for routing in ("free", "tiled")]
    at = open_page("runs", picked=",".join([*chosen, "no-such-run", "../../etc"]))
    assert "2 selected" in words(at) and not at.error
    assert figures(at)[0]["layout"]["title"]["text"] == "Curves of 2 runs"
    results, settings = (at.dataframe[index].value for index in (1, 2))
    assert list(results["id"]) == chosen
    assert list(settings["field"]) == ["Who sets the starts"]  # the labels are the heads of the columns
    at.button_group(key="across").set_value("epoch").run()
    assert figures(at)[0]["layout"]["xaxis2"]["title"]["text"] == "epoch" and not at.error
    assert figures(open_page("runs", picked=chosen[0])) == []


def test_runs_compares_at_most_twelve(store):
    chosen = [write_run(store, label=str(index), seed=index) for index in range(13)]
    at = open_page("runs", picked=",".join(chosen))
    assert "first 12 of the 13" in words(at)
    assert figures(at)[0]["layout"]["title"]["text"] == "Curves of 12 runs"


def test_runs_deletes_and_undoes(store):
    kept, gone = write_run(store, label="kept"), write_run(store, label="gone")
    at = open_page("runs", picked=gone)
    click(at, "Move into the bin")
    assert [info.id for info in store.list()] == [kept] and "Deleted 1 run." in words(at)
    assert not at.error and "selected" not in words(at)
    click(at, "Undo")
    assert {info.id for info in store.list()} == {kept, gone} and "Deleted" not in words(at)

    at = open_page("runs", picked=f"{kept},{gone}")
    click(at, "Move into the bin")  # now there is no run left
    assert store.list() == [] and "Deleted 2 runs." in words(at)
    at = open_page("runs")
    at.button(key=f"restore-{kept}").click().run()
    at.button(key=f"destroy-{gone}").click().run()
    assert [info.id for info in store.list()] == [kept]
    assert [item.name for item in (store.root / ".bin").iterdir()] == []


def test_runs_cancels_and_resumes(store, monkeypatch):
    launched = []
    monkeypatch.setattr("nes_lab.runs.launcher.launch", lambda store, run_id: launched.append(run_id))
    waiting, failed = store.create({}, label="waiting"), write_run(store, state="failed")
    at = open_page("runs", picked=f"{waiting},{failed}")
    click(at, "Cancel")
    assert store.get(waiting).state == "cancelled"
    click(at, "Resume")
    assert set(launched) == {waiting, failed}


def test_runs_explains_what_did_not_work(store, monkeypatch):
    failed = write_run(store, state="failed")
    at = open_page("runs", picked=failed)
    (store.path(failed) / "config.json").write_text("{")
    click(at, "Resume")
    assert "damaged" in words(at) and "Traceback" not in words(at)


def test_runs_opens_the_form_with_the_values_of_a_run(store, planner):
    config = {
        "backbone": {"width": 0.5},
        "compression": {"params": "50%", "include": ["a*"]},
        "training": {"epochs": 3},
    }
    at = open_page("runs", picked=store.create(load_config(config).to_dict(), label="again"))
    click(at, "Launch with changes")
    assert at.title[0].value == "Compress"
    assert planner.compression["params"] == "50%" and planner.compression["include"] == ["a*"]
    assert "madds" not in planner.compression and planner.questions[-1]["backbone"]["width"] == 0.5
    assert at.number_input(key="training.epochs").value == 3

    rare = {"compression": {"madds": "60%", "reach": 0.5}, "training": {"starts_lr_scale": 7.0}}
    at = open_page("runs", picked=store.create(load_config(rare).to_dict()))
    click(at, "Launch with changes")  # these two are folded under All settings
    assert "Learning rate of the starts (factor): 7.0" in words(at)
    assert "starts_lr_scale: 7.0" in next(code.value for code in at.code if "training:" in code.value)
    at = open_page("compress", **dict(at.query_params))  # AppTest cannot follow
    click(at, "Drop these settings")
    assert "Learning rate of the starts" not in words(at) and not at.error
    at = open_page("compress", **{"training.clip_grad": "<b>no</b>"})
    assert "for Largest gradient norm, which is not a number" in at.error[0].value and "<b>" not in at.error[0].value

    at = open_page("runs", picked=write_run(store, routing=None))
    click(at, "Launch with changes")
    assert at.toggle(key="dense").value and not at.error


def test_run_draws_four_panels_over_the_axis_in_the_address(store):
    run_id = write_run(store, label="mine", group="g", routing="free", top1=80.0)
    write_run(store, label="dense one", group="g", routing=None, top1=90.0)
    at = open_page("run", run=run_id)
    names = [figure["layout"]["title"]["text"] for figure in figures(at)]
    assert names == ["Loss", "Top-1", "How far starts have moved", "Speed and machine", "blocks.0"]
    assert "dense 90.00 %" in [trace["name"] for trace in figures(at)[1]["data"]]
    at.button_group(key="across").set_value("epoch").run()
    at.toggle(key="log").set_value(True).run()
    loss = figures(at)[0]["layout"]
    assert loss["xaxis"]["title"]["text"] == "epoch" and loss["yaxis"]["type"] == "log"


def test_run_overlays_a_second_run_from_the_address(store):
    other = write_run(store, label="other")
    at = open_page("run", run=write_run(store, label="mine"), **{"with": other})
    assert "other" in [trace["name"] for trace in figures(at)[0]["data"]]
    against, results = (item.value for item in at.dataframe[:2])
    assert {"MAdds", "Params"} <= set(against["field"]) and "Against other" in words(at)
    assert list(results["value"]) == list(results["other"]) and "his run" in at.dataframe[1].proto.columns


def test_run_shows_results_with_names_and_units(store):
    at = open_page("run", run=write_run(store))
    shown = dict(at.dataframe[0].value.values.tolist())
    assert shown["Size of its file"] == "140.0 kB" and "Val loss" not in shown
    assert shown["Best top-1"] == "92.50 %" and shown["Time of one image, median"] == "1.5 ms"
    assert "latency_ms" not in shown


def test_run_tells_what_is_wrong_and_opens_the_form_with_the_values_of_a_failed_run(store):
    at = open_page("run", run=write_run(store, state="failed", seed=7, label="my <run>"))
    assert "The run failed: loss is NaN at step 60." in words(at)
    link = next(item for item in at.get("page_link") if item.proto.label == "Edit and launch again")
    assert "compression.madds=60%25" in link.proto.query_string and "seed=7" in link.proto.query_string


def test_run_exports_the_network_of_a_finished_run(store, monkeypatch):
    asked = []

    def answer(self, name, arguments, **options):
        asked.append((self.kind, name, arguments))
        run = open_run(arguments["run"])
        told = keep_answer(run, "export", {"path": "/elsewhere/net.onnx", "text": "Checked: it is equal."})
        (answers_folder(run) / "net.onnx").write_bytes(b"net")  # the run was moved, or comes from another computer
        return told

    monkeypatch.setattr(Worker, "ask", answer)
    run_id = write_run(store)
    at = open_page("run", run=run_id, view="Network")
    next(button for button in at.button if button.label == "Export").click().run()
    assert not at.exception and "Checked: it is equal." in plain(at.success[0].value)
    ((kind, name, question),) = asked
    assert (kind, name, question["run"], question["format"]) == ("jobs", "export", run_id, "onnx")
    assert any("net.onnx" in plain(item.proto.label) for item in at.get("download_button"))


@pytest.mark.parametrize("error", [Refusal("no checkpoint yet", "RunError"), WorkerError("it died", "details")])
def test_run_explains_an_export_that_did_not_work(store, monkeypatch, error):
    def refuse(self, *given, **options):
        raise error

    monkeypatch.setattr(Worker, "ask", refuse)
    at = open_page("run", run=write_run(store), view="Network")
    next(button for button in at.button if button.label == "Export").click().run()
    assert str(error) in words(at) and not at.get("success")


def test_compress_says_why_a_measurement_failed(home, planner, monkeypatch):
    at = open_page("compress")
    failure = WorkerError("it died", "Traceback: <i>here</i>")
    monkeypatch.setattr(Planner, "__call__", lambda *given, **options: (_ for _ in ()).throw(failure))
    click(at, "Time one input")
    assert "it died" in words(at) and "Traceback: <i>here</i>" in [item.value for item in at.code]


def test_run_has_nothing_to_export_before_the_end(store):
    at = open_page("run", run=store.create({}, label="waiting"), view="Network")
    assert "when the run has finished" in words(at)


FOUND_FORMS = {
    "forms": [
        {"form": name, "params": 100, "madds": 10, "stored_bytes": 400, "median_ms": time, "p90_ms": 1.1 * time}
        for name, time in (("as trained", 2.0), ("fused", 1.0))
    ],
    **{"device": "cpu", "threads": 1, "dtype": "float32", "batch": 1, "repeats": 60, "weights": "weights", "notes": []},
}


def answering(monkeypatch, store, run_id, name, answer):
    """Let the worker keep an answer in the run's folder, and return the list of its questions."""
    asked = []

    def ask(self, question, arguments, **options):
        assert (self.kind, question) == ("jobs", name)
        asked.append(arguments)
        return keep_answer(open_run(run_id, root=store.root), name, answer)

    monkeypatch.setattr(Worker, "ask", ask)
    return asked


def test_run_compares_the_forms_of_its_network_and_keeps_the_table(store, monkeypatch):
    run_id = write_run(store)
    asked = answering(monkeypatch, store, run_id, "forms", FOUND_FORMS)
    at = open_page("run", run=run_id, view="Network")
    at.number_input(key="forms.batch").set_value(4).run()
    click(at, "Fuse, tune and measure")
    assert asked[0] == {"root": str(store.root), "run": run_id, "which": "last", "batch": 4, "seconds": 20.0}
    assert list(at.dataframe[0].value["share"]) == ["100 %", "50 %"] and "Measured on cpu, 1 thread" in words(at)
    assert "The fastest form is “Fused”" in words(
        open_page("run", run=run_id, view="Network")
    )  # the run's folder has it


def test_run_optimizes_its_network_and_keeps_the_report(store, monkeypatch):
    run_id = write_run(store)
    ratio = {"median": 0.5, "error": 0.01, "low": 0.4, "high": 0.6, "rounds": 50}
    times = {"madds": 10, "median_ms": 1.0, "low_ms": 0.9, "high_ms": 1.1, "difference": 1e-7}
    forms = [{"form": "as given", **times, "ratio": ratio | {"median": 1.0}}, {"form": "onnx", **times, "ratio": ratio}]
    forms += [{"form": "compiled", "why_not": "torch.compile needs a C++ compiler"}]
    where = {
        "device": "a processor",
        "dtype": "float32",
        "input_shape": [4, 1, 8, 8],
        "memory_format": "contiguous",
        "threads": 1,
    }
    report = {"key": where | {"torch": "2.8"}, "forms": forms, "chosen": "onnx", "fastest": "onnx"}
    report |= {"keep_madds": False, "madds_limit": 10, "schema": 1}
    asked = answering(monkeypatch, store, run_id, "optimize", {"report": report})
    at = open_page("run", run=run_id, view="Network")
    at.toggle(key="optimize.keep_madds").set_value(False).run()
    click(at, "Optimize")
    assert asked[0]["keep_madds"] is False and asked[0]["batch"] == 1 and asked[0]["which"] == "last"
    table = open_page("run", run=run_id, view="Network").dataframe[0].value
    assert list(table["form"]) == ["as given", "onnx", "compiled"]
    assert list(table["note"]) == ["", "chosen", "torch.compile needs a C++ compiler"]
    assert "Onnx takes 0.500 ± 0.020 of the time of as given" in words(at)


def test_run_shows_predictions_confusion_and_mistakes(store, monkeypatch):
    run_id = write_run(store)
    row = {"index": 3, "label": 0, "predicted": 1, "probability": 0.9, "loss": 2.3}
    classes = [{"name": name, "precision": 0.5, "recall": 0.5, "f1": 0.5, "examples": 4} for name in ("<b>a</b>", "b")]
    pairs = [{"label": 0, "predicted": 1, "count": 2}]
    about = {"accuracy": 75.0, "total": 8, "device": "cpu", "weights": "weights of step 60", "pairs": pairs}
    found = {"examples": [row], "worst": [row], "classes": classes, "confusion": [[2, 2], [0, 4]], **about}
    asked = answering(monkeypatch, store, run_id, "predictions", found)
    at = open_page("run", run=run_id, view="Predictions")
    assert not figures(at) and "Press the button" in words(at)
    click(at, "Predict the validation data")
    assert asked[0]["which"] == "last" and "75.00 %" in words(at) and "neither images nor sounds" in words(at)
    titles = [figure["layout"]["title"]["text"] for figure in figures(at)]
    assert titles == ["Validation examples", "Worst mistakes", "Confusion"]
    assert at.dataframe[0].value["predicted"][0] == "b"


def test_run_says_that_predictions_need_data_that_was_given_in_memory(store):
    run_id = store.create({}, given={"data": "pairs of tensors"})
    with RunWriter(store, run_id) as writer:
        writer.status("finished", step=1, total=1)
    at = open_page("run", run=run_id, view="Predictions")
    assert "given as an object in Python" in words(at) and not at.error


def test_run_deletes_a_failed_run_into_the_bin(store):
    run_id = write_run(store, state="failed", label="gone")
    at = open_page("run", run=run_id)
    click(at, "Move into the bin")
    assert store.list() == [] and at.title[0].value == "Runs" and not at.error


def test_a_dense_run_shows_its_learning_rate_and_leads_to_a_compressed_run(store):
    small = write_run(store, label="small", routing="free")
    at = open_page("run", run=write_run(store, label="dense", routing=None))
    assert [figure["layout"]["title"]["text"] for figure in figures(at)][2] == "Learning rate"
    links = [item.proto for item in at.get("page_link")]
    assert any(link.label == "See it compressed" and small in link.query_string for link in links)
    assert "Beside it: small" in words(at)
    assert not any("explorer" in link.label for link in links)


@pytest.mark.parametrize("view", ["Training", "Network", "Predictions", "Plan", "Settings"])
@pytest.mark.parametrize("state", ["queued", "cancelled", "failed", "lost", "finished", "corrupt"])
def test_every_view_of_a_run_can_be_shown_in_every_state(store, state, view):
    left = "failed" if state in ("corrupt", "lost") else state
    run_id = store.create({}) if state == "queued" else write_run(store, state=left)
    if state == "lost":  # the process that trained it is gone
        path = store.path(run_id) / "status.json"
        gone = {"state": "running", "pid": 2**22 + 1, "heartbeat": 0}
        path.write_text(json.dumps(json.loads(path.read_text()) | gone))
        assert store.get(run_id).state == "lost"
    if state == "corrupt":
        for name in ("plan.json", "metrics.jsonl", "events.jsonl", "summary.json"):
            (store.path(run_id) / name).write_bytes(b"{\xff")
        (store.path(run_id) / "exports").mkdir()
        (store.path(run_id) / "exports" / "predictions.json").write_bytes(b"{")
    at = open_page("run", run=run_id, view=view)
    assert "could not be shown" not in words(at) and "Traceback" not in words(at)
    assert any(item.proto.label == "Settings (YAML)" for item in at.get("download_button"))


def test_epitomes_shows_a_shared_epitome_and_who_reads_a_cell(store):
    flat = {
        "weight_shape": (8, 8),
        "epitome_shape": (40,),
        "patch_shape": (4, 4),
        "scope": "flat",
        "boundary": "circular",
    }
    starts, cells = (np.arange(4.0).reshape(2, 2, 1) * 10,), np.arange(40.0)
    flat |= {"routing": "random", "reads": "a"}
    layers = {name: LayerSnapshot(name, cells, starts, alpha=np.ones((2, 2, 1)), **flat) for name in ("a", "b")}
    run_id = store.create(ExperimentConfig().to_dict())
    with RunWriter(store, run_id) as writer:
        writer.snapshot(0, layers)
        writer.snapshot(5, layers)
        writer.status("finished")
    at = open_page("epitomes", run=run_id, layer="b", cell="12")
    assert [reader["name"] for reader in explored(at)["layer"]["readers"]] == ["a", "b"]
    assert figures(at)[0]["layout"]["title"]["text"] == "Epitome of 40 cells, read by 2 layers"
    assert list(at.dataframe[0].value["name"]) == ["a", "a", "b", "b"]
    for picture in ("Atlas", "Patches", "Routing map", "Coverage", "Trajectories"):
        at = open_page("epitomes", run=run_id, layer="b", picture=picture, compare="true", cell="40")
        assert not at.dataframe  # there is no such cell
        assert not at.exception and len(figures(at)) == 1
