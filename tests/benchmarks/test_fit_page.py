"""docs/fit.md is written from its result file, and its verdict follows from the numbers."""

from __future__ import annotations

import copy
import json

import pytest

from benchmarks.fit_parts.mobilenet_page import mobilenet_section
from benchmarks.fit_parts.page import page, readme_sentence
from tests.house.tree import ROOT

RESULTS, PAGE = ROOT / "benchmarks" / "results" / "fit_resnet56.json", ROOT / "docs" / "fit.md"
SIZES = ROOT / "benchmarks" / "results" / "fit_sizes.json"
IN_TURN = ROOT / "benchmarks" / "results" / "fit_sequential.json"
MOBILENET = ROOT / "benchmarks" / "results" / "fit_mobilenet.json"
DATA = {
    "facts": {
        "date": "2026-01-01", "seed": 0, "quick": False, "device": "a processor", "threads": 1, "torch": "2.15",
        "versions": {"timm": "1.0"}, "data": "CIFAR-10", "calibration": 512, "norms": 1024,
        "recipe": {"optimizer": "SGD", "batch": 128, "lr": 0.01, "lr_scratch": 0.1, "schedule": "cosine", "weight_decay": 1e-4},
    },
    "rows": {
        "dense": {"title": "dense", "params": 800_000, "madds": 120_000_000, "fit": 93.0},
        "ones": {"title": "epitome A", "params": 400_000, "madds": 6e7, "fit": 30.0, "norms": 80.0, "residual": 0.5, "seconds": 9.0},
        "svd_window": {"title": "SVD", "params": 400_000, "madds": 6e7, "fit": 85.0, "norms": 89.5},
    },
}  # fmt: skip


def test_page_is_written_from_the_committed_results():
    if not RESULTS.exists():
        pytest.skip("benchmarks/results/fit_resnet56.json is not there yet; benchmarks/fit_resnet56.py makes it")
    results, *others = (
        json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
        for path in (RESULTS, SIZES, IN_TURN, MOBILENET)
    )
    assert PAGE.read_text(encoding="utf-8") == page(results, *others)


def test_readme_quotes_the_committed_results():
    results = [json.loads(path.read_text(encoding="utf-8")) for path in (RESULTS, IN_TURN, MOBILENET)]
    assert readme_sentence(*results) in (ROOT / "README.md").read_text(encoding="utf-8")


def test_page_names_the_best_contenders_by_their_numbers():
    text = page(DATA)
    assert "epitome A (30.00) loses to SVD (85.00) by 55.00 points" in text
    assert "| SVD | 400.0 | 60.0 | – | 85.00 | 89.50 | – |" in text and text.index("| SVD |") < text.index(
        "| epitome A |"
    )
    other = copy.deepcopy(DATA)
    other["rows"]["ones"]["norms"] = 91.0
    assert "With new norms: epitome A (91.00) leads SVD (89.50) by 1.50 points" in page(other)


def test_page_says_which_way_to_size_layers_is_best():
    row = {"params": 400_000, "madds": 6e7, "fit": 70.0, "commit": "abc"}
    sizes = {"facts": DATA["facts"], "rows": {"uniform": row | {"title": "one ratio", "norms": 80.0}}}
    sizes["rows"]["weighed"] = row | {"title": "importance", "norms": 79.0, "madds": 9e7}
    text = page(DATA, sizes)
    assert "No way to measure sensitivity keeps more" in text and text.index("| one ratio |") < text.index(
        "| importance | 400.0 | 90.0 | 70.00 | 79.00 |"
    )
    sizes["rows"]["weighed"]["norms"] = 81.5
    assert (
        "Best is: importance, by 1.50 points over one ratio for all layers, with 1.50 times the multiply-adds"
        in page(DATA, sizes)
    )
    assert "How large each layer" not in page(DATA)


def test_page_compares_sequential_fits_with_the_best_opponent_at_each_stage():
    row = {"title": "epitome B", "params": 400_000, "madds": 6e7, "fit": 91.0, "commit": "abc"}
    text = page(DATA, None, {"facts": DATA["facts"], "rows": {"ones_sequential": row}})
    assert "epitome B (91.00) is 1.50 points above SVD (89.50), with 60.0 M multiply-adds against 60.0 M." in text
    assert "| epitome B | 400.0 | 60.0 | 91.00 | – |" in text
    assert "Fitted in this way" not in text and "After lr" not in text  # nothing to compare it with
    rival = row | {"title": "SVD in turn", "fit": 92.0, "slow": 91.0, "fast": 93.0}
    trained = row | {"slow": 93.5, "fast": 90.0}
    ways = [
        {"key": "fast", "title": "lr 0.01"},
        {"key": "slow", "title": "lr 0.003"},
        {"key": "none", "title": "not run"},
    ]
    both = {"ones_sequential": trained, "svd_sequential": rival}
    text = page(DATA, None, {"facts": DATA["facts"], "ways": ways, "rows": both})
    assert "Fitted in this way: epitome B (91.00) is 1.00 points below SVD in turn (92.00)" in text
    assert "After lr 0.01: epitome B (90.00) is 3.00 points below SVD in turn (93.00)" in text
    assert "After lr 0.003: epitome B (93.50) is 2.50 points above SVD in turn (91.00)" in text
    assert "| new norms | lr 0.01 | lr 0.003 |" in text and "| 91.00 | – | 90.00 | 93.50 |" in text


def test_section_about_mobilenet_says_if_the_aim_is_reached_and_orders_its_rows():
    row = {"params": 2_800_000, "madds": 1.5e8, "commit": "abc"}
    rows = {
        "svd_80": row | {"title": "SVD", "other": 20.0, "madds": 9e7},
        "flat_80": row | {"title": "flat", "other": 59.5, "calibrated": 61.0, "residual": 0.04},
        "flat_50": row | {"title": "smaller", "other": 70.0, "params": 1_750_000},
    }
    facts = DATA["facts"] | {"size": 160, "other": 200, "calibration": 200}
    data = {"facts": facts, "dense": {"params": 3_500_000, "madds": 1.5e8, "top1": 78.5}, "rows": rows}
    text = mobilenet_section(data)
    assert (
        "| flat | 80.0 % | 100 % | 0.040 | 59.5 % | 61.0 % |\n| SVD | 80.0 % | 60 % | – | 20.0 % | – |\n| smaller | 50.0 %"
        in text
    )
    assert "flat, 59.5 %, which is not the 60 % that were the aim" in text
    rows["flat_80"]["other"] = 90.5
    assert "flat, 90.5 %, which is more than the 60 %" in mobilenet_section(data)
