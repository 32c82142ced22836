"""docs/zoo.md is what its generator writes for the committed rows, and says what it claims."""

from __future__ import annotations

from pathlib import Path

from benchmarks import zoo
from benchmarks.zoo_page import page
from nes_lab.backbones.families import families

ROOT = Path(__file__).resolve().parents[2]


def test_page_is_what_its_generator_writes():
    assert zoo.PAGE == ROOT / "docs" / "zoo.md"
    assert zoo.PAGE.read_text(encoding="utf-8") == page(zoo.read())


def test_page_has_every_family_and_19_of_20_pass():
    rows = zoo.read()
    assert set(rows) == set(families())
    assert all(rows[name]["model"] == family.model for name, family in families().items())
    passed = [row for row in rows.values() if row["status"] == "passed"]
    assert len(passed) >= 0.95 * len(rows)
    assert all(row["reason"] for row in rows.values() if row["status"] != "passed")


def test_page_of_other_rows():
    base = {"torch": "2", "timm": "1", "seed": 0, "input_shape": [1, 3, 8, 8]}
    good = {"model": "a_tiny", "status": "passed", "params": 100, "madds": 200, "asked": 0.6, "agreement": 1e-6}
    good |= {"reached_params": 59, "reached_madds": 120, "replaced": 2, "kept": 1, "note": "smaller input; odd"}
    bad = {
        "model": "b_tiny",
        "status": "refused",
        "stage": "plan",
        "reason": "two\nlines | a bar",
        "least": 0.99,
        "asked": 1.09,
    }
    text = page({"b": base | bad, "a": base | good})
    assert "**1 of 2 families pass (50.0%).**" in text
    assert "| a | a_tiny | 3×8×8 | 100 | 200 | 60.0% | 59.0% | 60.0% | 2 / 1 | 1e-06 | passed |" in text
    assert "109.0% *" in text and "**refused** at plan: two lines \\| a bar |" in text
    assert "- Odd: a." in text and "cannot be reached, because too much must stay dense: b." in text


def test_is_pending_for_missing_rows_and_with_redo_for_failed_ones():
    assert zoo.is_pending(None, False) and not zoo.is_pending({"status": "passed"}, True)
    assert zoo.is_pending({"status": "failed"}, True) and not zoo.is_pending({"status": "failed"}, False)
