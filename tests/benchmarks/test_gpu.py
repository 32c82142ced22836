"""The benchmark for a GPU: it says so if there is none, and its parts work on a CPU, without the packages that such a machine may lack."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch

from benchmarks import gpu
from benchmarks.gpu_parts import layers
from tests.house.tree import ROOT

TINY = ["--device", "cpu", "--size", "tiny"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_without_a_gpu_it_measures_nothing_and_exits_with_2(tmp_path, capsys):
    assert gpu.main(["--out", str(tmp_path / "gpu.json")]) == 2
    assert "no GPU that torch can use" in capsys.readouterr().err and not list(tmp_path.iterdir())


def test_rows_are_written_after_each_job_also_after_a_failure(tmp_path, monkeypatch, capsys):
    out = tmp_path / "gpu.json"
    monkeypatch.setattr(layers, "_passes", lambda *args: 1 / 0)
    names = ["expansion", "fold", "step/tiled", "graph"]
    assert gpu.main([*TINY, "--out", str(out), *(w for name in names for w in ("--only", name))]) == 1
    found = json.loads(out.read_text(encoding="utf-8"))
    jobs = {name.split("/")[0]: job for name, job in found["jobs"].items()}
    assert found["facts"]["quick"] and found["facts"]["device"] and found["facts"]["torch"] == torch.__version__
    assert len(jobs["expansion"]["rows"]) == 6 and all(row["ratio"] > 0 for row in jobs["expansion"]["rows"])
    assert jobs["fold"]["skipped"].startswith("failed: ZeroDivisionError") and not jobs["fold"]["rows"]
    step, memory = jobs["step"]["rows"]
    assert step["contender"] == "tiled" and step["ratio"] > 0 and memory["mib"] > 0
    assert "CUDA graphs need a GPU" in jobs["graph"]["skipped"] and "failed: fold/" in capsys.readouterr().err
    assert gpu.main([*TINY, "--out", str(out), "--limit", "0"]) == 0
    late = json.loads(out.read_text(encoding="utf-8"))["jobs"]
    assert (
        all("is up" in job["skipped"] or "CUDA graphs" in job["skipped"] for job in late.values()) and len(late) == 10
    )


@pytest.mark.slow
def test_it_runs_with_torch_and_numpy_alone(tmp_path):
    missing = ["pydantic", "pydantic_core", "timm", "torchvision", "tyro", "rich", "humanize", "tabulate", "yaml"]
    program = (
        "import sys\n"
        f"sys.modules.update(dict.fromkeys({missing!r}))\n"  # imports of them fail as if they were not installed
        "from benchmarks.gpu import main\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    words = [*TINY, "--only", "fold", "--only", "step/learner", "--out", str(tmp_path / "gpu.json")]
    done = subprocess.run(
        [sys.executable, "-c", program, *words], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert len(json.loads((tmp_path / "gpu.json").read_text(encoding="utf-8"))["jobs"]) == 2


@pytest.mark.slow
def test_all_parts_work_on_a_cpu(tmp_path):
    assert gpu.main([*TINY, "--out", str(tmp_path / "gpu.json")]) == 0
    jobs = json.loads((tmp_path / "gpu.json").read_text(encoding="utf-8"))["jobs"]
    assert {name.split("/")[0] for name, job in jobs.items() if job["rows"]} == {
        "expansion",
        "fold",
        "layer",
        "step",
        "compile",
    }
