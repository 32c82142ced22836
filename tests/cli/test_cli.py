"""The command line: what it prints, where, and with which exit status."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from nes_lab.cli import main
from nes_lab.cli.entry import VERBS
from nes_lab.cli.options import split_overrides
from nes_lab.errors import OptionError
from nes_lab.runs.store import RunStore
from nes_lab.runs.writer import RunWriter

TINY_PLAN = ["plan", "small_mobilenetv2", "--input", "1", "8", "8", "--classes", "10", "--round-to", "2"]
TINY = {"data": {"limit": 64}, "training": {"epochs": 1, "warmup_epochs": 0, "threads": 1}}


@pytest.fixture(autouse=True)
def _home(tmp_path, monkeypatch):
    monkeypatch.setenv("NES_LAB_HOME", str(tmp_path / "home"))


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(TINY))
    return str(path)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["pln"], "Did you mean 'plan'"),
        (["cancel", "../../etc"], "not a run id"),
        (["resume", "nothing"], "there is no run"),
        (["report", "%2e%2e"], "not a run id"),
        (["train", "none.yaml"], "cannot be read"),
        (["train", "none.yaml", "--seed"], "needs a value"),
        ([*TINY_PLAN], "give a budget"),
        ([*TINY_PLAN, "--madds", "150%"], "compression.madds='150%'"),
        ([*TINY_PLAN, "--madds", "nan"], "compression.madds='nan'"),
        ([*TINY_PLAN, "--madds", "50%", "--routing", "tilde"], "Did you mean 'tiled'"),
        ([*TINY_PLAN, "--madds", "50%", "--width", "-1"], "backbone.width=-1"),
        ([*TINY_PLAN, "--madds", "50%", "--classes", "0"], "--classes 0 should be from 1"),
        ([*TINY_PLAN, "--madds", "50%", "--input", "0", "8", "8"], "--input 0 8 8: each number"),
        ([*TINY_PLAN, "--madds", "1%"], "least reachable"),
        ([*TINY_PLAN, "--preset", "released_x3"], "released_x2"),
        (["plan", "small_mobilenet", "--madds", "50%"], "small_mobilenetv2"),
        ([*TINY_PLAN, "--madd", "50%"], "--madds"),
        (["runs", "--limit", "many"], "--limit"),
        (["runs", "--limit", "-3"], "0 for all"),
        (["train", "x.yaml", "--detatch"], "Did you mean '--detach'"),
        (["train", "--detached", "x.yaml"], "Did you mean '--detach'"),
        (["runs", "--jsn"], "--json"),
        (["plan"], "BACKBONE"),
        (["train"], "CONFIG"),
    ],
)
def test_a_mistake_exits_2_with_one_message(words, message, capsys):
    assert main(words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in " ".join(err.replace("│", " ").split())
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("word", "value", "message"),
    [
        ("--training.epoch", "3", "'epochs'"),
        ("--epochs", "3", "'training.epochs'"),
        ("--training.lr", "nan", "training.lr"),
    ],
)
def test_a_wrong_override_names_its_path_and_makes_no_run(config, word, value, message, capsys):
    assert main(["train", config, word, value]) == 2
    assert message in capsys.readouterr().err
    assert RunStore().list() == []


def test_help_is_quick_and_lists_every_command():
    began = time.perf_counter()
    done = subprocess.run([sys.executable, "-m", "nes_lab.cli", "--help"], capture_output=True, text=True, check=True)
    assert time.perf_counter() - began < 5  # importing torch alone takes longer on a loaded machine
    assert all(f"  {verb} " in done.stdout for verb in VERBS)
    assert "_run" not in done.stdout


@pytest.mark.parametrize("words", [["--help"], ["runs"], ["runs", "--json"], ["cancel", "x"], ["train", "--help"]])
def test_what_only_looks_imports_no_torch(words):
    code = (
        "import sys; from nes_lab.cli import main; main(sys.argv[1:]); "
        "sys.exit(any(name in sys.modules for name in ('torch', 'timm', 'plotly')))"
    )
    assert subprocess.run([sys.executable, "-c", code, *words], capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("verb", VERBS)
def test_every_command_has_help(verb, capsys):
    assert main([verb, "--help"]) == 0
    assert f"nes-lab {verb}" in capsys.readouterr().out


def test_nothing_said_is_help_and_a_mistake(capsys):
    assert main([]) == 2
    assert "usage" in capsys.readouterr().out


def test_plan_prints_only_json(capsys):
    pytest.importorskip("nes_lab.planning.planner")
    assert main([*TINY_PLAN, "--madds", "75%", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["predicted"]["madds"] <= 0.75 * plan["dense"]["madds"]
    assert {"name", "params", "madds", "params_dense", "madds_dense", "epitome_shape"} <= set(plan["rows"][0])
    assert len(plan["rows"]) == len(plan["layers"]) + len(plan["kept_layers"])


def test_every_verb_speaks_json(capsys):
    for verb in VERBS:
        main([verb, "--help"])
        assert "--json" in capsys.readouterr().out, verb


def test_a_run_is_told_in_json_and_nothing_else(config, capsys):
    def said(*words):
        assert main([*words, "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    run = said("train", config)
    assert run["state"] == "finished" and run["summary"]["madds"] > 0
    assert Path(said("report", run["id"])["report"]).is_file()
    waiting = RunStore().create({})
    assert said("cancel", waiting)["state"] == "cancelled"


def test_resume_tells_in_json(config, monkeypatch, capsys):
    import nes_lab.experiment.run

    def stop(store, run_id, progress=None, data=None):
        sys.stdout.write("something a library says")
        with RunWriter(store, run_id) as writer:
            writer.status("cancelled", step=3, total=9, reason="SIGINT received")

    monkeypatch.setattr(nes_lab.experiment.run, "run_experiment", stop)
    for words in (["train", config], ["resume", ""]):
        words[1] = words[1] or RunStore().list()[0].id
        assert main([*words, "--json"]) == 130
        assert json.loads(capsys.readouterr().out)["state"] == "cancelled"


def test_plan_prints_a_table_and_writes_the_plan(tmp_path, capsys):
    from nes_lab.records.compression_plan import CompressionPlan

    path = tmp_path / "plan.json"
    assert main([*TINY_PLAN, "--params", "80%", "--output", str(path)]) == 0
    plan = CompressionPlan.from_json(path.read_text())
    out = capsys.readouterr().out
    assert all(row["name"] in out for row in plan.rows())
    assert f"{plan.predicted.madds:,}" in out


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
def test_a_mistake_known_at_once_leaves_no_run(config, field, value, message, detach, capsys):
    assert main(["train", config, f"--{field}", value, *detach]) == 2
    assert message in capsys.readouterr().err
    assert RunStore().list() == []


def test_a_training_that_cannot_begin_is_one_message_and_a_failed_run(config, monkeypatch, capsys):
    def fail(*_, **__):
        raise OptionError("no such thing")

    monkeypatch.setattr("nes_lab.experiment.run.build", fail)
    assert main(["train", config]) == 2
    assert "no such thing" in capsys.readouterr().err
    assert RunStore().list()[0].state == "failed"


def test_an_interrupt_says_how_to_go_on(config, monkeypatch, capsys):
    import nes_lab.experiment.run

    def stop(store, run_id, progress=None, data=None):
        with RunWriter(store, run_id) as writer:
            writer.status("cancelled", step=3, total=9, reason="SIGINT received")

    monkeypatch.setattr(nes_lab.experiment.run, "run_experiment", stop)
    assert main(["train", config]) == 130
    run_id = RunStore().list()[0].id
    assert f"stopped at step 3 of 9; continue it with: nes-lab resume {run_id}" in capsys.readouterr().err


def test_an_interrupt_before_it_begins_is_cancelled(config, monkeypatch):
    import nes_lab.experiment.run

    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(nes_lab.experiment.run, "run_experiment", stop)
    assert main(["train", config]) == 130
    assert RunStore().list()[0].state == "cancelled"


def test_a_run_that_is_at_work_is_not_resumed(capsys):
    store = RunStore()
    run_id = store.create({})
    with RunWriter(store, run_id) as writer:
        assert main(["resume", run_id]) == 2
        assert "is running" in capsys.readouterr().err
        writer.status("finished")


def test_a_missing_extra_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "nes_lab.experiment.demo", None)
    monkeypatch.setattr(
        "nes_lab.cli.demo.run_command",
        lambda _: (_ for _ in ()).throw(ModuleNotFoundError("no timm", name="timm.optim")),
    )
    assert main(["demo"]) == 2
    assert "pip install 'nes-lab[train]'" in capsys.readouterr().err


def test_a_label_cannot_write_to_the_terminal(capsys):
    RunStore().create({}, label="\x1b[2Jgone [red]x[/red]")
    assert main(["runs"]) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "[red]x[/red]" in out


def test_a_closed_pipe_is_no_traceback(tmp_path):
    command = f"{sys.executable} -m nes_lab.cli runs --json | true"
    store = RunStore()
    for _ in range(3):
        store.create({"x": "y" * 100_000})
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr


def test_a_home_that_is_a_file_is_one_message(tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("NES_LAB_HOME", str(tmp_path / "file"))
    assert main(["runs"]) == 2
    assert "NES_LAB_HOME" in capsys.readouterr().err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("count", [1, 100])  # less than the output's buffer, and more
def test_a_full_disk_is_one_message(count):
    store = RunStore()
    store.create({"x": "y" * 1000 * count})
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "nes_lab.cli", "runs", "--json"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "nes-lab: No space left on device\n")


@pytest.mark.parametrize(
    ("words", "rest", "found"),
    [
        (["a", "--x.y", "1", "--detach"], ["a", "--detach"], {"x.y": "1"}),
        (["--x.y=1=2", "a"], ["a"], {"x.y": "1=2"}),
        (["--x.y-z", "-1", "a"], ["a"], {"x.y_z": "-1"}),
        (["--data.download", "a"], ["a"], {"data.download": "true"}),
        (["--data.download", "false", "a"], ["a"], {"data.download": "false"}),
        (["--label", "two words", "a"], ["a"], {"label": "two words"}),
        (["-h"], ["-h"], {}),
    ],
)
def test_overrides_are_parted_from_words(words, rest, found):
    assert split_overrides(words, own=["--detach"]) == (rest, found)


@pytest.mark.parametrize("words", [["--x.y"], ["--x.y", "--detach"], ["--x.y", "1", "--x.y", "2"]])
def test_odd_overrides_are_refused(words):
    with pytest.raises(OptionError, match=r"x\.y"):
        split_overrides(words, own=["--detach"])


def test_data_is_loaded_once(config, monkeypatch):
    """It was looked through twice, to check it and to train: minutes of a large set, before the first step."""
    from nes_lab.experiment import build

    loads, load = [], build.load_dataset
    monkeypatch.setattr(build, "load_dataset", lambda *args, **kw: loads.append(args) or load(*args, **kw))
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
def test_a_training_that_cannot_begin_makes_no_run(config, words, message, capsys):
    assert main(["train", config, *words]) == 2
    assert message in capsys.readouterr().err
    assert RunStore().list() == []


def test_ctrl_c_that_a_package_hides_is_still_one(monkeypatch, capsys):
    """numpy, interrupted while it is imported, fails with an AttributeError: a traceback met whoever changed his mind."""

    def imports(words):
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            raise AttributeError("module 'numpy._core' has no attribute '_multiarray_umath'") from None

    monkeypatch.setattr("nes_lab.cli.entry._dispatch", imports)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        assert main(["train"]) == 130
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        assert capsys.readouterr().err == "\ninterrupted\n"
        monkeypatch.setattr("nes_lab.cli.entry._dispatch", lambda words: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            main(["train"])
    finally:
        signal.signal(signal.SIGINT, before)
