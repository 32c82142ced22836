"""The table of a network's forms says what changed, and no more than the times allow."""

from __future__ import annotations

from nes_lab.records.network_forms import forms_finding, forms_table, forms_text

FOUND = {
    "forms": [
        {
            "form": "dense",
            "params": 61_002,
            "madds": 10,
            "stored_bytes": 256_320,
            "median_ms": 1.1,
            "p90_ms": 1.2,
            "difference": 1e-7,
        },
        {"form": "as trained", "params": 14_998, "madds": 5, "stored_bytes": 72_304, "median_ms": 2.0, "p90_ms": 2.2},
        {
            "form": "fused",
            "params": 14_390,
            "madds": 5,
            "stored_bytes": 57_560,
            "median_ms": 1.9,
            "p90_ms": 2.3,
            "difference": 0,
        },
    ],
    "device": "cpu",
    "threads": 1,
    "dtype": "float32",
    "batch": 1,
    "repeats": 60,
    "weights": "weights of step 220",
    "notes": ["A note."],
}


def test_the_table_has_shares_of_the_time_and_a_dash_for_what_is_not_compared():
    text = forms_table(FOUND).text()
    assert "Dense layers of the same shapes" in text and "55 %" in text and "–" in text


def test_the_finding_speaks_only_of_differences_beyond_the_spread():
    assert "fastest form is “Dense layers of the same shapes”" in forms_finding(FOUND)
    assert "Fewer multiply-adds do not save time here" in forms_finding(FOUND)
    assert forms_finding(FOUND | {"forms": FOUND["forms"][1:]}).startswith("No form is faster")


def test_the_text_says_where_it_was_measured():
    assert forms_text(FOUND) == (
        "Measured on cpu, 1 thread, float32, with 1 input a call: 60 calls of each form in turn, with the weights of step 220. A note."
    )
