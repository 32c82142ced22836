"""`nes-lab doctor`: what it finds, what it advises, and when it is not content."""

import fcntl
import json
import os
import subprocess

import pytest

from nes_lab.cli import environment_checks, main


@pytest.fixture(autouse=True)
def _home(tmp_path, monkeypatch):
    monkeypatch.setenv("NES_LAB_HOME", str(tmp_path / "home"))


@pytest.fixture
def quick(monkeypatch):
    """Torch's answer without torch."""
    told = {"version": "2.0", "cuda": None, "hip": None, "threads": 3, "mps": False, "gpus": []}

    def answer(**changes):
        reply = subprocess.CompletedProcess([], 0, json.dumps(told | changes), "")
        monkeypatch.setattr(subprocess, "run", lambda *_, **__: reply)

    answer()
    return answer


def findings(capsys, status=0):
    assert main(["doctor", "--json"]) == status
    told = json.loads(capsys.readouterr().out)
    assert told["ok"] is (status == 0)
    return {finding["name"]: finding for finding in told["findings"]}


def test_doctor_finds_nothing_missing_on_this_machine(capsys, tmp_path):
    results = findings(capsys)
    assert {"python", "cpu cores", "memory", "run root", "free disk", "torch", "gpu", "chromium"} <= set(results)
    assert {"numpy", "accelerate", "timm", "streamlit", "optuna", "ray", "onnx"} <= set(results)
    assert results["torch"]["state"] == results["run root"]["state"] == "ok"
    assert not (tmp_path / "home").exists()  # looking leaves nothing


def test_doctor_prints_text_for_people(capsys, quick):
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert "CPU build, 3 threads" in out and "everything essential is installed" in out


def test_doctor_reports_a_torch_that_cannot_be_imported(capsys, monkeypatch):
    broken = subprocess.CompletedProcess([], -11, "", "x\nImportError: libcudart.so.13")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: broken)
    results = findings(capsys, 1)["torch"]
    assert (results["state"], results["value"]) == ("missing", "ImportError: libcudart.so.13")
    assert "pip install torch" in results["advice"]
    assert main(["doctor"]) == 1
    assert "missing and essential: torch" in capsys.readouterr().out


def test_doctor_notes_a_gpu_that_torch_does_not_see(capsys, quick, monkeypatch):
    assert findings(capsys)["gpu"]["state"] == "ok"
    monkeypatch.setattr("shutil.which", lambda name: "/bin/x" if name == "nvidia-smi" else None)
    results = findings(capsys)
    assert "CUDA build" in results["gpu"]["advice"]
    assert results["chromium"]["state"] == "note" and "apt-get install chromium" in results["chromium"]["advice"]
    quick(gpus=["H, 9 GiB"], cuda="13.0")
    assert findings(capsys)["gpu"]["value"] == "H, 9 GiB"


@pytest.mark.parametrize(
    ("module", "name", "message"),
    [
        (fcntl, "flock", "lock files"),
        (os, "link", "link files"),
        (os, "replace", "replace files"),
        (os, "fsync", "written"),
    ],
)
def test_doctor_reports_a_root_that_cannot_hold_runs(capsys, quick, monkeypatch, module, name, message):
    def refuse(*_, **__):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(module, name, refuse)
    results = findings(capsys, 1)["run root"]
    assert results["state"] == "missing" and message in results["value"] and "NES_LAB_HOME" in results["advice"]


def test_doctor_reports_a_file_system_that_gives_a_lock_twice(capsys, quick, monkeypatch):
    monkeypatch.setattr(fcntl, "flock", lambda *_: None)
    assert "same file lock" in findings(capsys, 1)["run root"]["value"]


def test_doctor_reports_old_and_missing_packages(capsys, quick, monkeypatch):
    lines = ["numpy>=999", "nothere>=1 ; extra == 'app'", "rich>=1.0", "never; extra == 'dev'"]
    monkeypatch.setattr(environment_checks, "requires", lambda _: lines)
    results = findings(capsys, 1)
    assert results["numpy"]["state"] == "missing" and "does not meet >=999" in results["numpy"]["value"]
    assert results["nothere"]["state"] == "note" and results["nothere"]["advice"] == "pip install 'nes-lab[app]'"
    assert results["rich"]["state"] == "ok" and "never" not in results


def test_doctor_notes_little_disk_and_memory(capsys, quick, monkeypatch):
    monkeypatch.setattr(environment_checks, "LEAST_DISK", 1 << 60)
    monkeypatch.setattr(environment_checks, "LEAST_MEMORY", 1 << 60)
    results = findings(capsys)
    assert results["free disk"]["state"] == results["memory"]["state"] == "note"
    assert "nes-lab rm" in results["free disk"]["advice"]
