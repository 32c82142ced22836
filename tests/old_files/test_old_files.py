"""What version 0.1.0 wrote still loads, and what its README shows still runs.

The folder ``version_0_1_0`` holds small files that version wrote: a compression plan, four reports, a saved network with its output,
a cancelled run (free starts, ``compression.weights: search``), and the two Python blocks of its README.
"""

from __future__ import annotations

import copy
import json
import shutil
import warnings
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import nes_lab
from nes_lab.nn.inspect import epitome_layers
from nes_lab.records.compression_plan import CompressionPlan
from nes_lab.records.cost_report import CostReport
from nes_lab.runs.store import RunStore

OLD = Path(__file__).parent / "version_0_1_0"
RUN = "20261129-100000-written-by-version-0-1-0-e28ace"
LOSSES = {4: 2.30573469, 6: 2.30512936, 8: 2.30482471, 24: 2.32433471}
"""Validation loss by step, when the code of 0.1.0 resumed the same run."""


def dense() -> nn.Module:
    """The network behind the plan and the reports; its weights do not matter."""
    body = [nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1)]
    return nn.Sequential(*body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10)).eval()


def test_compression_plan_of_schema_1_compresses_to_the_counts_it_predicts():
    plan = CompressionPlan.from_json((OLD / "plan.json").read_text())
    counted = nes_lab.count(nes_lab.compress(dense(), plan), torch.randn(plan.input_shape))
    assert (counted.params, counted.madds) == (plan.predicted.params, plan.predicted.madds)
    assert CompressionPlan.from_json(plan.to_json()) == plan


def test_cost_report_of_0_1_0_loads():
    data = json.loads((OLD / "cost.json").read_text())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        report = CostReport.from_dict(data)
        assert report.bytes == data["bytes"]
    assert (report.params, report.madds, len(report.by_layer)) == (data["params"], data["madds"], len(data["by_layer"]))


@pytest.mark.parametrize(
    ("name", "file"),
    [("FitReport", "fit_report"), ("SensitivityReport", "sensitivity"), ("TuneReport", "tune_report")],
)
def test_reports_of_0_1_0_load_and_print(name, file):
    report = getattr(nes_lab, name).from_json((OLD / f"{file}.json").read_text())
    assert str(report) and getattr(nes_lab, name).from_json(report.to_json()) == report


def test_saved_network_of_0_1_0_answers_as_it_did():
    model = nes_lab.from_pretrained(OLD / "saved", model=dense())
    expected = torch.tensor(json.loads((OLD / "saved_output.json").read_text()))
    torch.testing.assert_close(
        model(torch.ones(1, 3, 8, 8)), expected, rtol=1e-4, atol=1e-5
    )  # other CPUs round otherwise


def test_starts_of_0_1_0_are_loaded_bit_for_bit():
    """Version 0.1.0 stored starts in cells, as parameters; now they are offsets from anchors."""
    stored = load_file(OLD / "saved" / "model.safetensors")
    model = nes_lab.from_pretrained(OLD / "saved", model=dense())
    loose = copy.deepcopy(model)
    loose.load_state_dict(stored)
    for net in (model, loose):
        axes = [(name, layer, axis) for name, layer in epitome_layers(net) for axis in layer.routing.sampled]
        cells = [stored[f"{name}.routing.starts_{layer.geometry.axes[axis].name}"] for name, layer, axis in axes]
        assert len(cells) == 5
        assert all(torch.equal(layer.routing.current()[a], s) for (_, layer, a), s in zip(axes, cells, strict=True))


def test_run_of_0_1_0_is_listed_and_resumes_to_the_same_end(tmp_path):
    from nes_lab.experiment.run_experiment import resume

    shutil.copytree(OLD / "runs", tmp_path / "runs")
    store = RunStore(tmp_path / "runs")
    (info,) = store.list()
    assert (info.id, info.state, info.step, info.total) == (RUN, "cancelled", 3, 24)
    assert store.snapshots(RUN) == [0, 2] and all(s.epitome is not None for s in store.snapshot(RUN, 2).values())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        assert resume(store, RUN)["state"] == "finished"
    losses = {row["step"]: row["loss"] for row in store.metrics(RUN) if row["split"] == "val"}
    for step in (4, 6, 8):  # a resumed step that differs shows at once
        assert losses[step] == pytest.approx(LOSSES[step], rel=1e-5)
    # later rounding decides: starts lie on borders of cells, and 48 images train; the layout of images alone moves this loss by 0.4 %
    assert losses[24] == pytest.approx(LOSSES[24], rel=5e-3)


def test_readme_of_0_1_0_runs(capsys):
    exec(compile((OLD / "readme_first.txt").read_text(), "readme_first.txt", "exec"), {"__name__": "readme"})
    assert "params" in capsys.readouterr().out


def test_readme_of_0_1_0_runs_from_pretrained_to_file_with_a_warning(monkeypatch, tmp_path):
    """Its second block: a stand-in for the pretrained resnet18, which would be fetched."""
    monkeypatch.chdir(tmp_path)
    net = dense()
    monkeypatch.setattr(nes_lab, "create_backbone", lambda name, pretrained: net)
    load = nes_lab.from_pretrained
    monkeypatch.setattr(nes_lab, "from_pretrained", lambda folder: load(folder, model=net))
    images = torch.randn(2, 3, 8, 8)
    code = compile(
        (OLD / "readme_second.txt").read_text().replace("50%", "80%").replace("60%", "80%"), "second", "exec"
    )
    with pytest.warns(FutureWarning, match="search_starts"):
        exec(code, {"nes_lab": nes_lab, "images": images, "batches": [images]})
    assert (tmp_path / "small.onnx").is_file()
