"""``nes-lab train``, and the runs it leaves: what is printed, where, and with which exit status."""

import json
from pathlib import Path

import pytest

from nes_lab.cli import main
from nes_lab.errors import OptionError
from nes_lab.runs.store import RunStore
from nes_lab.runs.writer import RunWriter


@pytest.mark.parametrize(
    ("word", "value", "message"),
    [
        ("--training.epoch", "3", "'epochs'"),
        ("--epochs", "3", "'training.epochs'"),
        ("--training.lr", "nan", "training.lr"),
    ],
)
def test_train_names_a_wrong_override_and_creates_no_run(config, word, value, message, capsys):
    assert main(["train", config, word, value]) == 2
    assert message in capsys.readouterr().err
    assert RunStore().list() == []


def test_train_report_and_cancel_print_only_json(config, capsys):
    def said(*words):
        assert main([*words, "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    run = said("train", config)
    assert run["state"] == "finished" and run["summary"]["madds"] > 0
    assert Path(said("report", run["id"])["report"]).is_file()
    waiting = RunStore().create({})
    assert said("cancel", waiting)["state"] == "cancelled"


def test_train_then_runs_then_report(config, capsys):
    assert main(["train", config, "--compression.madds", "75%", "--compression.round-to", "2", "--label", "<b>"]) == 0
    info = RunStore().list()[0]
    assert (info.state, info.label) == ("finished", "<b>")
    assert info.config["compression"]["round_to"] == 2
    out, _err = capsys.readouterr()
    assert f"finished {info.id}" in out
    assert main(["runs"]) == 0
    assert info.id in capsys.readouterr().out
    assert main(["runs", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["summary"]["madds"] == info.summary["madds"]
    assert main(["report", info.id[-6:]]) == 0
    path = RunStore().path(info.id) / "report.html"
    assert capsys.readouterr().out.strip() == str(path)
    page = path.read_text()
    assert "&lt;b&gt;" in page
    assert "<h1><b>" not in page
    assert page.count("<h2>") >= 5
    assert main(["resume", info.id]) == 2
    assert "finished" in capsys.readouterr().err


@pytest.mark.parametrize("detach", [[], ["--detach"]])
@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("backbone.name", "mobilenetv2_10", "mobilenetv2_100"),
        ("compression.preset", "released_x3", "released_x2"),
        ("compression.madds", "1%", "least reachable"),
        ("training.device", "cuda:99", "CUDA devices"),
        ("data.name", "image_folder", "data"),
    ],
)
def test_train_creates_no_run_after_a_mistake(config, field, value, message, detach, capsys):
    assert main(["train", config, f"--{field}", value, *detach]) == 2
    assert message in capsys.readouterr().err
    assert RunStore().list() == []


def test_train_marks_a_run_that_cannot_start_as_failed(config, monkeypatch, capsys):
    def fail(*_, **__):
        raise OptionError("no such thing")

    monkeypatch.setattr("nes_lab.experiment.attempt.build", fail)
    assert main(["train", config]) == 2
    assert "no such thing" in capsys.readouterr().err
    assert RunStore().list()[0].state == "failed"


def test_train_says_how_to_continue_after_an_interrupt(config, monkeypatch, capsys):
    import nes_lab.experiment.run_experiment

    def stop(store, run_id, on_progress=None, data=None):
        with RunWriter(store, run_id) as writer:
            writer.status("cancelled", step=3, total=9, reason="SIGINT received")

    monkeypatch.setattr(nes_lab.experiment.run_experiment, "run_experiment", stop)
    assert main(["train", config]) == 130
    run_id = RunStore().list()[0].id
    assert f"stopped at step 3 of 9; continue it with: nes-lab resume {run_id}" in capsys.readouterr().err


def test_train_cancels_a_run_interrupted_before_it_starts(config, monkeypatch):
    import nes_lab.experiment.run_experiment

    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(nes_lab.experiment.run_experiment, "run_experiment", stop)
    assert main(["train", config]) == 130
    assert RunStore().list()[0].state == "cancelled"


def test_train_loads_the_data_once(config, monkeypatch):
    """It was looked through twice, to check it and to train: minutes of a large set, before the first step."""
    from nes_lab.experiment import load_data, same_data

    loads, load = [], load_data.load_dataset
    for module in (load_data, same_data):
        monkeypatch.setattr(module, "load_dataset", lambda *args, **kw: loads.append(args) or load(*args, **kw))
    assert main(["train", config]) == 0
    assert len(loads) == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--training.optimizer_options", '{"foo": 1}'], "unexpected keyword argument 'foo'"),
        (["--data.batch_size", "40", "--training.accumulate", "2"], "one step takes batch_size=40 x accumulate=2"),
        (["--backbone.name", "m5"], "m5 takes sound"),
    ],
)
def test_train_creates_no_run_that_cannot_start(config, words, message, capsys):
    assert main(["train", config, *words]) == 2
    assert message in capsys.readouterr().err
    assert RunStore().list() == []


def test_train_from_a_folder_and_from_its_run_says_what_the_start_decides(config, tmp_path, capsys):
    words = ["--input", "1", "8", "8", "--classes", "10", "--params", "60%", "--round-to", "2"]
    assert main(["compress", "small_mobilenetv2", str(tmp_path / "net"), *words]) == 0
    capsys.readouterr()
    assert main(["train", config, "--from", str(tmp_path / "net"), "--compression.params", "70%"]) == 0
    first = RunStore().list()[0]
    out = capsys.readouterr().out
    assert f"run {first.id} in" in out and "is compressed already" in out
    assert main(["train", config, "--from", f"{first.id}:best", "--json"]) == 0
    second = json.loads(capsys.readouterr().out)
    assert second["config"]["start"] == f"{first.id}:best"
    assert second["summary"]["params"] == first.summary["params"] < first.summary["dense_params"]
    assert main(["train", config, "--from", "nowhere"]) == 2
    assert "neither the folder of a saved network nor a run" in capsys.readouterr().err
    assert len(RunStore().list()) == 2
