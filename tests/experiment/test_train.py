"""``nes_lab.train``: runs are created after every check, trained here or in the background, and resumed."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

import nes_lab
from nes_lab.errors import BudgetError, OptionError
from tests.house.tree import ROOT
from tests.stand_in import lend

CONFIG = {"data": {"limit": 64, "batch_size": 16}, "training": {"epochs": 2, "threads": 1, "warmup_epochs": 0}}


def test_train_says_the_id_first_and_resumes_a_cancelled_run(tmp_path) -> None:
    events: list = []

    def stop(event) -> None:
        events.append(event)
        if len(events) == 2:
            nes_lab.open_run(events[0]["label"], root=tmp_path).cancel()

    run = nes_lab.train(CONFIG, root=tmp_path, progress=False, on_progress=stop)
    assert events[0]["phase"] == "created" and run.state == "cancelled"
    again = nes_lab.train(resume=run.id, root=tmp_path, progress=False)
    assert again == run and run.state == "finished" and run.info.attempt == 2


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"config": {"compression": {"madds": "1%"}}}, BudgetError, "least reachable"),
        ({"config": "cifar11"}, OptionError, "'cifar10'"),
        ({"config": 3}, OptionError, "config is a int"),
        ({"config": {}, "overrides": {"training.epoch": 3}}, OptionError, "'epochs'"),
        ({"config": {}, "resume": "x"}, OptionError, "leave out config"),
    ],
)
def test_train_refuses_a_mistake_and_leaves_no_run(tmp_path, arguments, error, message) -> None:
    with pytest.raises(error, match=message):
        nes_lab.train(**arguments, root=tmp_path, progress=False)
    assert nes_lab.list_runs(root=tmp_path) == []


DETACHED = """
import sys, nes_lab
run = nes_lab.train({"training": {"epochs": 2, "lr": 0.01}}, detach=True, check=False)
assert nes_lab.list_runs() == [run] and nes_lab.open_run(run.id).wait(60).state == "finished"
print(*(name for name in ("torch", "timm") if name in sys.modules), run.summary["top1"])
"""


def test_train_in_the_background_loads_no_torch_here(tmp_path, monkeypatch) -> None:
    """The app calls it so, and must start and answer fast."""
    lend(tmp_path, monkeypatch)  # the process in the background trains with a stand-in
    monkeypatch.setenv("NES_LAB_HOME", str(tmp_path))
    done = subprocess.run([sys.executable, "-c", DETACHED], capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout.split() == ["50.0"], done.stderr


@pytest.mark.slow
def test_train_page_about_python_works_as_written(tmp_path, monkeypatch, capsys) -> None:
    page = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert sum(bool(line.strip()) and not line.startswith("#") for line in code.splitlines()) <= 40
    monkeypatch.setenv("NES_LAB_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    space: dict = {"__name__": "page"}
    exec(compile(code, "docs/python.md", "exec"), space)
    run, dense = space["run"], space["dense"]
    assert run.state == dense.state == "finished" and run.info.extended_from == "epoch 2"
    assert run.plan == space["plan"] and 2 * run.summary["madds"] <= dense.summary["madds"]
    assert (tmp_path / "half.pt2").is_file() and "half" in capsys.readouterr().out


def test_train_leaves_no_waiting_run_when_on_progress_is_wrong(tmp_path) -> None:
    def fail(event) -> None:
        raise KeyError(event["phase"])

    with pytest.raises(OptionError, match="on_progress=3; give a function"):
        nes_lab.train({"data": {"limit": 64}}, root=tmp_path, on_progress=3)  # type: ignore[arg-type]
    assert nes_lab.list_runs(root=tmp_path) == []
    with pytest.raises(KeyError, match="created"):
        nes_lab.train({"data": {"limit": 64}}, root=tmp_path, on_progress=fail)
    assert [run.state for run in nes_lab.list_runs(root=tmp_path)] == ["cancelled"]
