"""docs/faults.md is what its generator writes for the committed counts, and says what it claims."""

from __future__ import annotations

from pathlib import Path

from benchmarks import faults

ROOT = Path(__file__).resolve().parents[2]


def test_the_page_is_generated():
    assert faults.PAGE == ROOT / "docs" / "faults.md"
    assert faults.PAGE.read_text(encoding="utf-8") == faults.page(faults.read())


def test_nothing_was_lost_and_what_went_on_is_exact():
    rows = faults.read()["faults"]
    assert sum(row["lost"] for row in rows) == 0
    assert all(row["resumed"] == row["identical"] for row in rows)
    kills = [row for row in rows if row["fault"].startswith(("SIGKILL inside a save", "SIGKILL at random moments"))]
    assert sum(row["injected"] for row in kills) >= 30
    wanted = ("disk is full", "read-only", "zombie", "NaN", "out of memory", "schema", "bit flipped", ".pt", "ids like")
    text = " ".join(row["fault"] for row in rows)
    assert [word for word in wanted if word not in text] == []


def test_the_page_of_other_counts():
    row = {"fault": "a | b", "answer": "c", "injected": 1200, "resumed": 3, "identical": 3, "lost": 0}
    about = {"when": "d", "commit": "", "torch": "2", "python": "3", "system": "s", "seconds": 4, "faults": [row]}
    found = faults.page(about)
    assert "| a \\| b | c | 1,200 | 3 | 3 | 0 |" in found
    assert "1,200 of the faults are small ones" in found and "The other 0 are" in found
    assert "**1,200 faults injected; 3 runs resumed, 3 of them" in found
    assert "| c | 1,200 |  |  | 0 |" in faults.page(about | {"faults": [row | {"resumed": 0, "identical": 0}]})
