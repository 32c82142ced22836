"""Parts of benchmarks/speed.py: opponents of a given cost, the page written from the result file, a run of two rounds."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import allocator, opponents, plain_eval, speed
from benchmarks.speed_parts.floors import LayerFloor, floor_network, training_floor
from benchmarks.speed_parts.layers import AXES, MOBILENETV2, RESNET50, Shape, epitome_layer
from benchmarks.speed_parts.page import page
from benchmarks.speed_parts.record import Record, row
from benchmarks.speed_parts.settings import Job, Settings
from benchmarks.speed_parts.targets import TARGETS
from benchmarks.speed_parts.timing import Effort, Times, take_turns
from nes_lab import Budget, compress, count, fuse, plan_for_budget
from nes_lab.cost.count import stored_params
from nes_lab.nn.conv import EpitomeConv2d

ROOT = Path(__file__).resolve().parents[2]
FACTS = {
    "device": "a processor",
    "cores": 2,
    "threads": 2,
    "dtype": "float32",
    "torch": "2.11",
    "gpu": None,
    "commit": "abc",
    "date": "2026-01-01",
    "quick": False,
    "allocator": {"MALLOC_TRIM_THRESHOLD_": "1"},
    "relu_ms": {"default": 20.0, "here": 3.0},
    "copy_gb_per_s": 10.0,
    "seed": 0,
    "python": "3.11",
    "system": "Linux",
    "versions": {"timm": "1.0", "tensorly-torch": None},
}
LAYER = {"network": "resnet50", "batch": 1, "axes": "input axis", "baseline_ms": 2.0, "madd_ratio": 0.5}
NETWORK = {
    "network": "resnet50",
    "budget": 0.5,
    "batch": 16,
    "madds": 2_000_000_000,
    "params": 12_000_000,
    "median_ms": 50.0,
    "floor": 0.55,
    "executions": {"factored": 40, "materialize": 9},
}


def job(*rows, skipped=None):
    return {"seconds": 60.0, "date": "2026-01-01 00:00", "commit": "abc", "skipped": skipped, "rows": list(rows)}


def result(**jobs):
    return {"facts": FACTS, "jobs": {name.replace("_", "/"): value for name, value in jobs.items()}}


def layer_row(ratio, floor, starts="integer"):
    more = {"key": f"layer_{starts}", "target": 0.65, "floor": floor, "starts": starts, **LAYER}
    return row("3x3 64-64 at 56 px", "epitome", "dense", ratio, **more)


# ---- the page -----------------------------------------------------------------------------------------------------------


def test_page_is_written_from_the_committed_results():
    if not speed.RESULTS.exists():
        pytest.skip("benchmarks/results/speed.json is not there yet; `make bench` writes it")
    assert speed.PAGE.read_text(encoding="utf-8") == speed.page_text(), "run benchmarks/speed.py --page"
    assert "The numbers mean nothing" not in speed.page_text()


def test_page_without_results_says_so_for_every_target():
    text = page(result())
    assert text.count("not measured: not run yet") == len(TARGETS)
    assert "None of those that were measured." in text


def test_page_counts_the_rows_of_a_target_and_the_floors_above_it():
    text = page(result(layers_a=job(layer_row(0.60, 0.5), layer_row(0.80, 0.7, "fractional"))))
    targets = text.split("## Targets that were missed")[0]
    assert "0.60 (3x3 64-64 at 56 px, input axis, integer, batch 1) | yes" in targets
    assert "0.80 (3x3 64-64 at 56 px, input axis, fractional, batch 1) | no" in targets
    assert "1 of 2 miss their target, by 0.15 in the median and by up to 0.15. For 1 of them the floor is above" in text
    assert "| 0.60 (≤ 0.65; floor 0.50) | **0.80** (≤ 0.65; floor 0.70) |" in text


def test_page_shows_the_executions_of_a_network_and_its_distance_from_the_floor():
    row_ = row("resnet50, 50%", "epitome, plan for speed", "dense", 0.62, key="resnet50_50", target=0.6, **NETWORK)
    text = page(result(**{"networks_resnet50_50%_batch 16": job(row_)}))
    assert "40 factored, 9 materialize" in text
    assert "| dense | 0.62 | 0.60 | 0.55 | within reach: 0.07 above the floor |" in text


def test_page_gives_the_reason_for_skipped_jobs():
    text = page(
        result(
            **{
                "gpu_a": job(skipped="this machine has no GPU"),
                "expansion_cuda": job(skipped="this machine has no GPU"),
            }
        )
    )
    assert text.split("## The targets")[1].split("##")[0].count("not measured: this machine has no GPU") == 2
    assert "## GPU\n\nNot measured: this machine has no GPU." in text


def test_plain_evaluation_is_timed_beside_the_copy_for_inference(monkeypatch):
    monkeypatch.setattr(Settings, "effort", lambda *given, **options: Effort(2, 2, 0.0, 1))
    found = plain_eval.measure("mobilenetv2_100", 0.75, "separable", 1, "free", pixels=64)
    assert found["rounds"] == 2 and found["median_ms"].keys() == {"dense", "plain", "for_inference"}


def test_steps_with_both_settings_of_the_allocator_run_in_turns():
    found = allocator.measure("cifar_resnet14", 16, 8, "float32", steps=2)
    assert found["steps"] == 2 and found["lowest_ratio"] <= found["ratio"] <= found["highest_ratio"]
    assert min(found["ms"]) > 0 and min(found["peak_mib"]) > 100


def step(routing, ratio, **more):
    return row("resnet18, 55%, batch 8 at 64 px", routing, "dense", ratio, **more)


def test_page_begins_with_the_fastest_plan_of_each_network_and_what_a_step_takes():
    served = {"case": "resnet50, 50%", "baseline": "dense", "batch": 1, "keep_madds": True, "form": "onnx"}
    served |= {
        "baseline_form": "onnx",
        "median_ms": 1.0,
        "baseline_ms": 2.0,
        "target": 0.6,
        "madds": 1,
        "baseline_madds": 2,
    }
    slow, fast = (row(contender=plan, ratio=ratio, **served) for plan, ratio in (("by hand", 0.70), ("by table", 0.55)))
    parts = {"starts_step_resnet18": job(step("tiled", 0.7), step("free", 0.8)), "optimized_resnet50": job(slow, fast)}
    text = page(result(**parts)).split("## In short")[1].split("##")[0]
    assert "takes 0.70 and 0.80 of the dense step (resnet18, 55%, batch 8 at 64 px)" in text
    assert "0.55 (resnet50, 50%, batch 1)" in text and "0.70 (resnet50" not in text


def test_page_compares_learned_starts_with_those_of_an_earlier_commit():
    now = result(**{"starts_step_resnet18": job(step("free", 0.8, target=0.72))})
    before = result(**{"starts_step_resnet18": job(step("free", 0.9), step("gone", 0.9))})
    text = page(now, None, before).split("before and now")[1].split("###")[0]
    assert "| resnet18, 55%, batch 8 at 64 px | free | 0.90 | 0.80 | ≤ 0.72 |" in text and "gone" not in text


def test_page_marks_a_quick_run():
    assert "The numbers mean nothing" in page({"facts": FACTS | {"quick": True}, "jobs": {}})


# ---- rows and files -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ratio", "more", "met"), [(0.6, {}, None), (0.6, {"target": 0.6}, True), (0.7, {"target": 0.6}, False)]
)
def test_row_meets_a_target_at_its_limit(ratio, more, met):
    assert row("a", "b", "c", ratio, **more)["met"] is met


def test_row_with_at_least_meets_its_target_above_it():
    assert row("a", "b", "c", 0.8, target=0.7, at_least=True)["met"]
    assert not row("a", "b", "c", 0.6, target=0.7, at_least=True)["met"]


def test_run_measures_only_jobs_that_the_record_lacks(tmp_path):
    path, measured = tmp_path / "speed.json", []
    jobs = [Job(name, lambda name=name: measured.append(name) or []) for name in "ab"]
    speed.run(jobs[:1], Record.begin(path, FACTS, keep=False))
    speed.run(jobs, Record.begin(path, FACTS, keep=True))
    assert measured == ["a", "b"]
    speed.run(jobs[1:], Record.begin(path, FACTS, keep=True), again=True)
    assert measured == ["a", "b", "b"]
    assert list(json.loads(path.read_text())["jobs"]) == ["a", "b"]


def test_record_begin_refuses_results_of_other_settings(tmp_path):
    Record.begin(tmp_path / "speed.json", FACTS, keep=False).write()
    with pytest.raises(SystemExit, match="another threads"):
        Record.begin(tmp_path / "speed.json", FACTS | {"threads": 1}, keep=True)


def test_run_names_a_failed_job_and_continues(tmp_path, capsys):
    record = Record.begin(tmp_path / "speed.json", FACTS, keep=False)
    assert speed.run([Job("a", lambda: 1 // 0), Job("b", list)], record) == ["a"]
    assert list(record.jobs) == ["b"]
    assert "ZeroDivisionError" in capsys.readouterr().err


# ---- timing -------------------------------------------------------------------------------------------------------------


def test_take_turns_reverses_every_second_round():
    order = []
    times = take_turns({n: lambda n=n: order.append(n) for n in "ab"}, Effort(pairs=3, most=3, seconds=0, warmup=1))
    assert times.pairs == 3
    assert "".join(order[-6:]) == "abbaab"


def test_times_ratio_is_the_median_of_the_ratios_of_rounds():
    times = Times({"a": [1.0, 2.0, 9.0], "b": [2.0, 2.0, 3.0]})
    assert times.ratio("a", "b") == 1.0
    assert times.median("a") == 2.0
    assert times.p90("a") == 9.0


# ---- what is measured ---------------------------------------------------------------------------------------------------


def test_shape_has_target_for_large_layers_only():
    assert all(shape.has_target for shape in RESNET50)
    assert [str(shape) for shape in MOBILENETV2 if shape.has_target] == ["1x1 320-1280 at 7 px"]


@pytest.mark.parametrize("epitome", [(12, 5), (16, 4), (32, 8), (8, 8)])
def test_the_floor_of_a_training_step_has_the_shapes_and_products_of_the_layer(epitome):
    layer = EpitomeConv2d(8, 32, 3, padding=1, epitome_shape=(*epitome, 3, 3), execution="factored")
    x = torch.randn(2, 8, 5, 5, requires_grad=True)
    floor = training_floor(torch.nn.Sequential(layer))
    with FlopCounterMode(display=False) as counter:
        y = floor(x)
    assert y.shape == layer(x).shape and counter.get_total_flops() == 2 * layer.cost(x.shape).conv_madds
    y.sum().backward()
    assert x.grad is not None and x.grad.shape == x.shape


@pytest.mark.parametrize("axes", AXES)
@pytest.mark.parametrize("starts", ["integer", "fractional"])
def test_epitome_layer_samples_only_shrunk_axes_at_integer_or_fractional_starts(axes, starts):
    layer = epitome_layer(Shape("a", 3, 32, 64, 7), AXES[axes], starts, seed=0)
    shrunk = [share < 1 for share in AXES[axes]]
    states = layer.axis_states()
    assert [state == starts for state in states[:2]] == shrunk
    assert all(state == "identity" for state, is_shrunk in zip(states[:2], shrunk, strict=True) if not is_shrunk)
    tables = [table for table in layer.routing_map().starts if table is not None]
    assert all(bool((table % 1 > 0).all()) == (starts == "fractional") for table in tables)


def test_layer_floor_copies_the_bytes_that_fold_and_expansion_move():
    layer = epitome_layer(Shape("a", 3, 32, 64, 7), AXES["both axes"], "integer", seed=0)
    x = torch.zeros(2, 32, 7, 7)
    assert LayerFloor(layer, x).source.numel() == 2 * 49 * (32 + 16 + 64 + 32) // 2
    assert LayerFloor(layer, x, whole_copies=True).source.numel() == 2 * 49 * (32 + 64)
    assert LayerFloor(layer, x)().shape == (2, 32, 7, 7)


def test_floor_network_has_the_multiply_adds_of_the_factored_network():
    dense = nn.Sequential(nn.Conv2d(32, 64, 1, stride=2), nn.BatchNorm2d(64), nn.Conv2d(64, 48, 3, padding=1)).eval()
    x = torch.randn(1, 32, 8, 8)
    model = fuse(compress(dense, plan_for_budget(dense, Budget(madds=0.5), x)))
    floor = floor_network(model)
    assert floor(x).shape == model(x).shape
    assert count(floor, x).madds == count(model, x).madds


# ---- opponents ----------------------------------------------------------------------------------------------------------


def test_bisect_finds_the_nearest_cost():
    layer = opponents.bisect(lambda dial: nn.Linear(round(dial), 1, bias=False), stored_params, 70, 1, 100)
    assert stored_params(layer) == 70


@pytest.mark.parametrize("name", ["mobilenetv2_100", "resnet50"])
def test_narrower_has_the_asked_multiply_adds(name):
    pytest.importorskip("timm")
    x = torch.randn(1, 3, 32, 32)
    madds = 0.5 * count(opponents.wide_network(name), x).madds
    network = opponents.narrower(name, madds, x)
    assert count(network, x).madds == pytest.approx(madds, rel=0.1)  # its channels go in steps of 8


def test_pruned_has_the_asked_multiply_adds_and_all_classes():
    pytest.importorskip("torch_pruning", reason="torch-pruning comes with the extra bench")
    pytest.importorskip("timm")
    dense = opponents.wide_network("mobilenetv2_100", 0.5).eval()
    x = torch.randn(1, 3, 32, 32)
    madds = 0.6 * count(dense, x).madds
    network = opponents.pruned(dense, madds, x)
    assert count(network, x).madds == pytest.approx(madds, rel=0.1)  # its channels go in steps of 8
    assert network(x).shape == (1, 1000)


@pytest.mark.parametrize("kind", ["tucker", "cp"])
def test_factorized_layer_has_the_asked_params(kind):
    pytest.importorskip("tltorch", reason="tensorly-torch comes with the extra bench")
    conv = nn.Conv2d(32, 48, 3, padding=1, bias=False)
    layer = opponents.factorized_layer(conv, conv.weight.numel() / 2, kind)
    assert stored_params(layer) == pytest.approx(conv.weight.numel() / 2, rel=0.05)
    assert layer(torch.randn(1, 32, 8, 8)).shape == (1, 48, 8, 8)


def test_randomize_norms_gives_every_channel_its_own_numbers():
    norm = opponents.randomize_norms(nn.Sequential(nn.BatchNorm2d(16)), seed=0)[0]
    assert len(norm.weight.unique()) == len(norm.running_var.unique()) == 16


# ---- the script ---------------------------------------------------------------------------------------------------------


def test_jobs_have_unique_names_and_cover_every_target():
    names = [job.name for job in speed.jobs(Settings())]
    assert len(names) == len(set(names))
    assert all(any(name.startswith(target.part) for name in names) for target in TARGETS)


@pytest.mark.slow
def test_quick_run_of_every_part_writes_results_and_a_page(tmp_path):
    out = tmp_path / "speed.json"
    command = [sys.executable, "benchmarks/speed.py", "--quick", "--out", str(out)]
    subprocess.run(command, cwd=ROOT, check=True, timeout=280, env=os.environ | {"OMP_NUM_THREADS": "1"})
    data = json.loads(out.read_text())
    assert data["facts"]["allocator"]["MALLOC_TRIM_THRESHOLD_"]
    assert {name.split("/")[0] for name, job in data["jobs"].items() if job["rows"]} >= {
        "networks",
        "training",
        "layers",
    }
    assert "The numbers mean nothing" in page(data)


def test_jobs_of_another_machine_name_it_and_replace_older_ones():
    first = {"facts": {"device": "a"}, "jobs": {"starts/x": {"rows": [1]}, "layers/y": {"rows": [2]}}}
    other = {"facts": {"device": "b", "cores": 4, "torch": "2.9"}, "jobs": {"starts/x": {"rows": [3]}}}
    found = speed.merged([first, other])
    assert found["facts"] == first["facts"] and found["jobs"]["layers/y"] == {"rows": [2]}
    assert found["jobs"]["starts/x"] == {"rows": [3], "machine": "b, 4 cores, torch 2.9"}
