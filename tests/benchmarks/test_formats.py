"""docs/formats.md has the table of its result file, and the text around it stays."""

import json

import pytest

from benchmarks import formats

ROW = {
    "dense_bytes": 1000,
    "folder_bytes": 500,
    "materialized": {"bytes": 990, "params": 250, "madds": 200, "relative_difference": 1e-6},
    "factored": {"bytes": 520, "params": 125, "madds": 90, "relative_difference": 3e-6},
    "time_ratio": 0.8,
    "quartiles": [0.7, 0.9],
}
RESULT = {
    "params": "50%",
    "size": 224,
    "device": "a processor",
    "cores": 2,
    "threads": 2,
    "versions": {"onnxruntime": "1.31"},
    "networks": {"net": ROW},
}


def test_table_shows_what_was_measured():
    text = formats.table(RESULT)
    assert "| net | 0.00 | 50.0% | 99.0% | 52.0% | 45.0% | 0.80 (0.70 to 0.90) |" in text
    assert "is 3.0e-06 of the largest output." in text


def test_page_replaces_only_the_table():
    text = f"before\n{formats.BEGIN}\nstale\n{formats.END}\nafter\n"
    new = formats.page(text, RESULT)
    assert new.startswith("before\n") and new.endswith("\nafter\n") and "stale" not in new
    assert formats.page(new, RESULT) == new


def test_page_is_written_from_the_committed_results():
    text, result = formats.PAGE.read_text(encoding="utf-8"), json.loads(formats.RESULTS.read_text(encoding="utf-8"))
    assert formats.page(text, result) == text
    assert list(result["networks"]) == list(formats.JOBS)


@pytest.mark.parametrize("name", formats.JOBS)
def test_results_keep_the_limits_of_size_and_difference(name):
    row = json.loads(formats.RESULTS.read_text(encoding="utf-8"))["networks"][name]
    assert row["folder_bytes"] <= 0.52 * row["dense_bytes"]
    assert (
        row["factored"]["madds"] < row["materialized"]["madds"] and row["factored"]["bytes"] < 0.6 * row["dense_bytes"]
    )
    assert max(row[form]["relative_difference"] for form in ("materialized", "factored")) <= 1e-4
