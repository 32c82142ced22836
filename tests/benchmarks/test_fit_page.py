"""docs/fit.md is written from its result file, and its verdict follows from the numbers."""

from __future__ import annotations

import copy
import json

import pytest

from benchmarks.fit_parts.page import page
from tests.house.tree import ROOT

RESULTS, PAGE = ROOT / "benchmarks" / "results" / "fit_resnet56.json", ROOT / "docs" / "fit.md"
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
    assert PAGE.read_text(encoding="utf-8") == page(json.loads(RESULTS.read_text(encoding="utf-8")))


def test_page_names_the_best_contenders_by_their_numbers():
    text = page(DATA)
    assert "epitome A (30.00) loses to SVD (85.00) by 55.00 points" in text
    assert "| SVD | 400.0 | 60.0 | – | 85.00 | 89.50 | – |" in text and text.index("| SVD |") < text.index(
        "| epitome A |"
    )
    other = copy.deepcopy(DATA)
    other["rows"]["ones"]["norms"] = 91.0
    assert "With new norms: epitome A (91.00) leads SVD (89.50) by 1.50 points" in page(other)
