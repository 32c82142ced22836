"""What a notebook shows of plans and reports: one or two lines as text, and a folded table without markup from outside."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
import torch
from torch import nn

import nes_lab
from nes_lab.datasets.check.report import DataReport, SplitReport
from nes_lab.export.report import ExportReport
from nes_lab.records.columns import columns
from nes_lab.records.cost_report import LatencyReport, LatencyReports
from nes_lab.records.html_table import MOST_ROWS
from nes_lab.records.table import Table, merge_rows
from nes_lab.records.training_report import TrainingReport
from nes_lab.runs.info import RunInfo
from nes_lab.sweeps.result import SweepResult, SweepTrial
from nes_lab.zoo.result import ZooRow
from tests.figures.samples import make_sensitivity

X = torch.zeros(1, 8, 4, 4)


@pytest.fixture(scope="module")
def network():
    convs = [nn.Conv2d(8, 16, 1), *(nn.Conv2d(16, 16, 1) for _ in range(MOST_ROWS))]
    norms = [nn.BatchNorm2d(16) for _ in convs]
    grouped = [nn.Conv2d(16, 16, 1, groups=16) for _ in range(3)]
    return nn.Sequential(*(m for pair in zip(convs, norms, strict=True) for m in pair), *grouped)


@pytest.fixture(scope="module")
def plan(network):
    return nes_lab.plan_for_budget(network, nes_lab.Budget(params="80%"), X)


@pytest.fixture(scope="module")
def small(network, plan):
    return nes_lab.compress(network, plan)


@pytest.fixture(scope="module")
def shown(plan, small):
    bad = "<img src=x>"
    trial = SweepTrial(0, bad, {"width": bad}, "a-run", "failed", reason=bad)
    return {
        "plan": plan,
        "layer plan": next(iter(plan.layers.values())),
        "cost": nes_lab.count(small, X),
        "latency": LatencyReport(1.5, 1.8, 20, 1, 1, "cpu", "float32"),
        "sensitivity": make_sensitivity(name=bad + "{}"),
        "data": DataReport(bad, None, "image", (bad,), (SplitReport("train", (2,), 2),), problems=(bad,)),
        "sweep": SweepResult(bad, "", (trial,), {"top1": "maximize"}, 1),
        "export": ExportReport(bad, "onnx", "factored", 2048, 500, 1000),
        "zoo": ZooRow(bad, "refused", stage="plan", reason=bad),
        "training": TrainingReport("top1", "higher", ({"split": "val", bad: 1.0},), None, "last", 4, 2.0),
        "run": RunInfo("a", bad, state="failed", reason=bad, config={bad: bad}, summary={"top1": 91.0}),
        "layer": next(m for m in small if isinstance(m, nes_lab.EpitomeConv2d)),
        "latencies": LatencyReports({bad: LatencyReport(1.5, 1.8, 20, 1, 1, "cpu", "float32")}),
        "routing map": next(m for m in small if isinstance(m, nes_lab.EpitomeConv2d)).routing_map(),
    }


KINDS = (
    "plan",
    "layer plan",
    "cost",
    "latency",
    "sensitivity",
    "data",
    "sweep",
    "export",
    "zoo",
    "run",
    "routing map",
    "layer",
    "latencies",
    "training",
)


@pytest.mark.parametrize("kind", KINDS)
def test_html_table_and_short_repr_of_every_kind(shown, kind):
    value = shown[kind]
    text, page = repr(value), value._repr_html_()
    if kind not in ("layer", "latencies"):  # as torch and dict show them
        assert text.startswith(type(value).__name__) and len(text) < 300 and text.count("\n") <= 1
    assert "<table>" in page and "<img" not in page
    assert not re.search(r"color: (#|black|white)", page)  # a fixed color would not be seen in one of the themes


def test_html_table_folds_layers_that_stay_dense_for_one_reason(plan):
    page = plan._repr_html_()
    short, full = page.split("<details>")
    assert "8 layers" in short and "3 layers" in short and f"all {len(plan.rows())} rows" in full
    assert short.count("<tr>") < full.count("<tr>") == len(plan.rows()) + 2  # titles and totals
    assert "26, 27, 28: kept dense (depthwise" in page


def test_html_table_of_counts_folds_norms_and_compares_with_the_dense_layers(network, small):
    report, dense = nes_lab.count(small, X), nes_lab.count(network, X)
    short, _ = report._repr_html_().split("<details>")
    assert short.count("BatchNorm2d") == 1 and f"{MOST_ROWS + 1} layers" in short and ">madds, dense</th>" in short
    assert (report.dense.params, report.dense.madds) == (dense.params, dense.madds)
    assert report.dense.stored_bytes == dense.stored_bytes
    assert f"madds {report.madds:,} of {dense.madds:,}" in repr(report)
    assert "madds, dense" not in dense._repr_html_() and dense.dense == dense.counts


def test_html_table_shows_a_short_table_whole_and_a_long_one_by_its_ends():
    rows = [{"name": f"layer{n}", "ratio": 0.25} for n in range(MOST_ROWS + 1)]
    table = Table(columns("name", "ratio"), rows[:-1])
    assert "<details>" not in table.html() and "25.0%, transparent" in table.html()
    long = replace(table, rows=rows)
    assert "… 3 more" in long.html() and long._repr_html_() == long.html()
    assert repr(long) == "Table: 13 rows of layer, ratio" and str(long) == long.text()


def test_merge_rows_keeps_what_is_equal_and_adds_what_counts():
    rows = [{"name": str(n), "kind": "norm", "shape": n, "params": 2} for n in range(3)]
    assert merge_rows(rows, lambda row: "norms", ["params"]) == [{"name": "3 layers", "kind": "norm", "params": 6}]
    assert merge_rows(rows[:1], lambda row: "norms", ["params"]) == rows[:1]
