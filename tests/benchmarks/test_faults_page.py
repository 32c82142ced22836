"""docs/faults.md is the page that benchmarks/faults.py writes for the committed counts; nothing was lost."""

from __future__ import annotations

from pathlib import Path

from benchmarks import faults
from benchmarks.silent_faults import KINDS, kinds_table

ROOT = Path(__file__).resolve().parents[2]


def test_page_is_written_from_the_committed_counts():
    assert faults.PAGE == ROOT / "docs" / "faults.md"
    assert faults.PAGE.read_text(encoding="utf-8") == faults.page(faults.read())


def test_results_have_no_loss_and_every_resumed_run_is_exact():
    rows = faults.read()["faults"]
    assert sum(row["lost"] for row in rows) == 0
    assert all(row["resumed"] == row["identical"] for row in rows)
    kills = [row for row in rows if row["fault"].startswith(("SIGKILL inside a save", "SIGKILL at random moments"))]
    assert sum(row["injected"] for row in kills) >= 30
    faults_named = (
        "disk is full",
        "read-only",
        "zombie",
        "NaN",
        "out of memory",
        "schema",
        "bit flipped",
        ".pt",
        "ids like",
    )
    text = " ".join(row["fault"] for row in rows)
    assert [word for word in faults_named if word not in text] == []


def test_page_shows_other_counts():
    row = {"fault": "a | b", "answer": "c", "injected": 1200, "resumed": 3, "identical": 3, "lost": 0}
    about = {"when": "d", "commit": "", "torch": "2", "python": "3", "system": "s", "seconds": 4, "faults": [row]}
    text = faults.page(about)
    assert "| a \\| b | c | 1,200 | 3 | 3 | 0 |" in text
    assert "1,200 of the faults are small" in text and "other 0 are" in text
    assert "**1,200 faults were injected. 3 runs were resumed; 3 of them" in text
    assert "| c | 1,200 |  |  | 0 |" in faults.page(about | {"faults": [row | {"resumed": 0, "identical": 0}]})


def test_kinds_of_silent_faults_name_tests_that_exist():
    named = {name for kind in KINDS for name in kind.tests}
    assert [name for name in sorted(named) if not (ROOT / "tests" / name).is_file()] == []
    assert all("def test_" in (ROOT / "tests" / name).read_text(encoding="utf-8") for name in named)
    assert len(kinds_table().splitlines()) == len(KINDS) + 2 and all(kind.tests for kind in KINDS)
    assert "|" not in "".join(kind.fault + kind.answer for kind in KINDS)
