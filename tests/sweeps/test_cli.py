"""``nes-lab sweep``: what is said, in which order, and with which exit status."""

import json
import os
import re
import signal
import subprocess
import sys

import psutil
import pytest
import yaml

from nes_lab.cli import main
from nes_lab.cli.sweep import print_result
from nes_lab.config import load_sweep
from nes_lab.runs.store import RunStore
from nes_lab.sweeps.result import SweepResult, SweepTrial
from nes_lab.sweeps.sweep import Sweep

pytestmark = pytest.mark.usefixtures("fake_training")


@pytest.fixture
def file(tmp_path, tree, monkeypatch):
    monkeypatch.setenv("NES_LAB_HOME", str(tmp_path))

    def write(**changed):
        path = tmp_path / "sweep.yaml"
        path.write_text(yaml.safe_dump(tree(**changed)))
        return str(path)

    return write


def test_a_dry_run_lists_the_trials_and_touches_nothing(file, tmp_path, capsys):
    assert main(["sweep", file(), "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert "sweep seeds: 3 trials (grid)" in out and out.splitlines()[-1].split() == ["2", "seed", "2"]
    assert not (tmp_path / "runs").exists() and not (tmp_path / "sweeps").exists()
    assert main(["sweep", file(), "--dry-run", "--json"]) == 0
    assert [trial["settings"] for trial in json.loads(capsys.readouterr().out)["trials"]] == [
        {"seed": s} for s in (0, 1, 2)
    ]


def test_a_dry_run_tells_what_cannot_begin_once_a_reason(file, tmp_path, capsys):
    space = {"backbone.name": ["small_mobilenetv2", "resnet20"], "compression.madds": ["60%", "1%"], "seed": [0, 1]}
    base = {"compression": {"round_to": 1}, "training": {"epochs": 1, "warmup_epochs": 0}}
    assert main(["sweep", file(space=space, base=base), "--dry-run"]) == 1
    said = capsys.readouterr().out.splitlines()
    assert [line.endswith("  cannot start") for line in said[1:9]] == [False] * 2 + [True] * 6
    assert said[9] == "6 of 8 trials cannot start:" and len(said) == 12
    assert "and 1 more" in said[11] and "'resnet20'" in said[11] and "Did you mean" in said[11]
    assert "MAdds 1 %" in said[10] and "least" in said[10]
    assert main(["sweep", file(space=space, base=base), "--dry-run", "--json"]) == 1
    told = json.loads(capsys.readouterr().out)["trials"]
    assert [bool(trial["problem"]) for trial in told] == [False] * 2 + [True] * 6
    assert not (tmp_path / "runs").exists()


def test_a_table_a_front_and_what_failed(file, capsys):
    assert main(["sweep", file(space={"seed": [1, 0, 13]}), "--jobs", "3"]) == 1
    said = capsys.readouterr()
    lines = said.out.splitlines()
    assert "2 of 3 trials finished" in lines and "seed 13 is failed: ValueError: boom" in lines
    assert any(line.split()[:3] == ["seed", "0", "50.00"] and " finished " in line for line in lines)
    assert ["*", "all", "seeds", "2", "of", "3", "50.50", "±", "0.71", "100.5", "±", "0.7071", "10"] in [
        line.split() for line in lines
    ]
    assert "* the Pareto front of top1, madds and params: 1 of 1 settings" in lines
    assert "--retry-failed" in said.out and "finished  seed 1" in said.err
    assert main(["sweep", file(space={"seed": [1, 0, 13]}), "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["front"] == ["all seeds"] and [trial["state"] for trial in found["trials"]] == [
        "finished",
        "finished",
        "failed",
    ]


def shown(capsys, trials):
    sweep = Sweep(load_sweep({"name": "s", "space": {"training.lr": [1, 2]}}), RunStore())
    print_result(SweepResult("s", "", tuple(trials), {"top1": "maximize", "madds": "minimize"}, len(trials)), sweep)
    return capsys.readouterr().out.splitlines()


def test_one_reason_is_told_once_for_all_trials_that_have_it(capsys):
    trials = [SweepTrial(i, f"lr={i}", {"training.lr": i}, "a-run", "failed", {}, "no such backbone") for i in range(5)]
    trials += [SweepTrial(5, "lr=5", {"training.lr": 5}, "a-run", "failed", {}, "a flood")]
    told = [line for line in shown(capsys, trials) if " failed: " in line]
    assert told == ["lr=0, lr=1, lr=2 and 2 more are failed: no such backbone", "lr=5 is failed: a flood"]


def test_without_two_seeds_of_a_setting_one_table_has_the_front(capsys):
    settings = [{"training.lr": lr, "seed": lr} for lr in (1, 2)]
    lines = shown(
        capsys,
        [SweepTrial(i, f"lr={i}", s, "a-run", "finished", {"top1": 5, "madds": i}) for i, s in enumerate(settings)],
    )
    assert "mean over seeds" not in "".join(lines) and [line[0] for line in lines if " a-run" in line] == ["*", " "]


@pytest.mark.parametrize("width", [70, 100, 140])
def test_a_narrow_terminal_cuts_run_ids_and_neither_numbers_nor_settings(capsys, monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("FORCE_COLOR", "1")
    numbers = {"top1": 42.5, "madds": 1234567.0, "params": 31914.0}
    label, run = "madds=50% lr=1", "20261122-232851-madds-50-routing-tiled-s-0e1ec8"
    lines = shown(capsys, [SweepTrial(0, label, {"training.lr": 1}, run, "finished", numbers)])
    head, row = (re.sub(r"\x1b\[[0-9;]*m", "", line) for line in lines[:2])
    assert len(row.rstrip()) <= width and "top-1" in head and "params" in head
    assert all(word in row for word in (label, "42.50", "1,234,567", "31,914", "finished", "0e1ec8"))


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_the_running_trials_and_the_same_command_goes_on(file, tmp_path, wait, number):
    path = file(base={"training": {"epochs": 60, "lr": 0.03, "warmup_epochs": 0}}, space={"seed": [0]})
    words = [sys.executable, "-m", "nes_lab.cli", "sweep", path]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    store = RunStore(tmp_path / "runs")
    wait(lambda: [info for info in store.list() if info.step > 2])
    os.kill(process.pid, number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert f"{number.name}: running trials save a checkpoint" in err and "continues from the last checkpoints" in out
    (info,) = store.list()
    assert info.state == "cancelled" and 2 < info.step < 60
    assert main(["sweep", path]) == 0
    assert [row["step"] for row in store.metrics(info.id)] == list(range(1, 61))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["gone.yaml"], "gone.yaml cannot be read"),
        (["--address", "a:1"], "add --executor ray"),
        (["--executor", "ray", "--address", "a"], "should be host:port"),
        (["--jobs", "0"], "jobs=0 should be at least 1"),
    ],
)
def test_mistakes_end_with_2_and_a_message(file, capsys, words, message):
    words = words if words[0] == "gone.yaml" else [file(), *words]
    assert main(["sweep", *words]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.slow
def test_sweep_command_on_its_own_ray_leaves_nothing_when_it_is_killed(file, tmp_path, wait):
    path = file(base={"training": {"epochs": 400, "lr": 0.03, "warmup_epochs": 0}}, space={"seed": [0]})
    words = [sys.executable, "-m", "nes_lab.cli", "sweep", path, "--executor", "ray"]
    store, before = RunStore(tmp_path / "runs"), ray_processes()
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait(lambda: process.poll() is not None or [info for info in store.list() if info.step > 2], 120)
    process.kill()
    process.communicate()
    wait(lambda: store.list()[0].state == "lost", 60)
    wait(lambda: ray_processes() <= before, 60)
    assert main(["sweep", path, "--jobs", "1"]) == 0  # begun on Ray, ended here
    (info,) = store.list()
    rows = store.metrics(info.id)
    assert [row["step"] for row in rows] == list(range(1, 401)) and {row["attempt"] for row in rows} == {1, 2}


def ray_processes():
    found = [process for process in psutil.process_iter(["name", "status"]) if process.info["status"] != "zombie"]
    return {process.pid for process in found if process.info["name"] in ("raylet", "gcs_server")}
