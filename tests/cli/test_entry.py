"""The command line as a whole: help, exit statuses, and one message for each mistake."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nes_lab.cli import main
from nes_lab.cli.entry import VERBS
from nes_lab.runs.store import RunStore
from tests.cli.samples import TINY_PLAN


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
        (["train"], "nothing to train"),
    ],
)
def test_main_exits_with_2_and_one_message_for_a_mistake(words, message, capsys):
    assert main(words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in " ".join(err.replace("│", " ").split())
    assert "Traceback" not in err


def test_main_help_is_quick_and_lists_every_command():
    began = time.perf_counter()
    done = subprocess.run([sys.executable, "-m", "nes_lab.cli", "--help"], capture_output=True, text=True, check=True)
    assert time.perf_counter() - began < 5  # importing torch alone takes longer on a loaded machine
    assert all(f"  {verb} " in done.stdout for verb in VERBS)
    assert "_run" not in done.stdout


def test_main_imports_torch_only_for_commands_that_need_it():
    """One process answers all these commands; a command that imports torch would leave it in sys.modules."""
    code = """
import sys
from nes_lab.cli import main
for words in (["--help"], ["runs"], ["runs", "--json"], ["cancel", "x"], ["train", "--help"]):
    main(words)
    heavy = {"torch", "timm", "plotly"} & set(sys.modules)
    assert not heavy, (words, heavy)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("verb", VERBS)
def test_main_shows_the_help_of_every_command(verb, capsys):
    assert main([verb, "--help"]) == 0
    out = capsys.readouterr().out
    assert f"nes-lab {verb}" in out and "--json" in out


def test_main_without_words_prints_help_and_exits_with_2(capsys):
    assert main([]) == 2
    assert "usage" in capsys.readouterr().out


def test_main_says_how_to_install_a_missing_package(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "nes_lab.experiment.demo", None)
    monkeypatch.setattr(
        "nes_lab.cli.demo.run_command",
        lambda _: (_ for _ in ()).throw(ModuleNotFoundError("no timm", name="timm.optim")),
    )
    assert main(["demo"]) == 2
    assert "pip install 'nes-lab[train]'" in capsys.readouterr().err


def test_main_ignores_a_closed_pipe(tmp_path):
    command = f"{sys.executable} -m nes_lab.cli runs --json | true"
    store = RunStore()
    for _ in range(3):
        store.create({"x": "y" * 100_000})
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr


def test_main_reports_a_home_that_is_a_file(tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("NES_LAB_HOME", str(tmp_path / "file"))
    assert main(["runs"]) == 2
    assert "NES_LAB_HOME" in capsys.readouterr().err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("count", [1, 100])  # less than the output's buffer, and more
def test_main_reports_a_full_disk(count):
    store = RunStore()
    store.create({"x": "y" * 1000 * count})
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "nes_lab.cli", "runs", "--json"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "nes-lab: No space left on device\n")


def test_main_recognizes_ctrl_c_that_a_package_hides(monkeypatch, capsys):
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
