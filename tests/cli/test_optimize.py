"""``nes-lab optimize``: the report of a saved network and of a run; the ONNX file that it writes."""

from __future__ import annotations

import json

import pytest

import nes_lab
from nes_lab.cli import main
from nes_lab.models import fast_forms

NET = ["small_mobilenetv2", "--input", "1", "8", "8", "--classes", "10", "--round-to", "2", "--madds", "75%"]


@pytest.fixture
def no_compiler(monkeypatch):
    monkeypatch.setattr(fast_forms, "why_not_compiled", lambda device: "torch.compile needs a C++ compiler")


@pytest.mark.slow
def test_optimize_reports_all_forms_of_a_folder_and_writes_an_onnx_file(tmp_path, no_compiler, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["compress", *NET, "small"]) == 0
    before = {file.name: file.read_bytes() for file in (tmp_path / "small").iterdir()}
    words = ["optimize", "small", "--seconds", "0.2", "--batch", "2", "--no-keep-madds", "--write", "fast.onnx"]
    capsys.readouterr()
    assert main([*words, "--json"]) == 0
    out, error = capsys.readouterr()
    report = nes_lab.OptimizeReport.from_dict(json.loads(out))
    assert report.key.input_shape == (2, 1, 8, 8) and not report.keep_madds and len(report.forms) == 7
    assert (tmp_path / "fast.onnx").is_file() == ("wrote fast.onnx" in error) == report.chosen.endswith("onnx")
    assert {file.name: file.read_bytes() for file in (tmp_path / "small").iterdir()} == before
    for more, message in ((["--batch", "0"], "batch=0"), (["--seconds", "-1"], "seconds=-1")):
        assert main(["optimize", "small", *more]) == 2 and message in capsys.readouterr().err
    assert (
        main(["optimize", "none"]) == 2 and "neither the folder of a saved network nor a run" in capsys.readouterr().err
    )


@pytest.mark.slow
def test_optimize_takes_a_run(tmp_path, no_compiler, monkeypatch, capsys):
    config = {"compression": {"madds": "60%"}, "data": {"limit": 64}, "training": {"epochs": 1, "threads": 1}}
    run = nes_lab.train(config, root=tmp_path, progress=False)
    capsys.readouterr()
    assert main(["optimize", str(run.folder), "--seconds", "0.2"]) == 0
    assert "torch.compile needs a C++ compiler" in (told := capsys.readouterr().out) and "Chosen: " in told
