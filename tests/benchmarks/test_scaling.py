"""docs/scaling.md has the tables of its result file, and the text around them stays."""

import json

from benchmarks import scaling

RESULT = {
    "devices": {
        "a processor": {
            "kind": "cpu",
            "cores": 2,
            "threads": 2,
            "torch": "2.15",
            "timm": "1.0",
            "steps": {
                "imagenet_mobilenetv2": {
                    "batch": 16,
                    "dense": {"images_per_s": 20.0},
                    "epitome": {"images_per_s": 10.0},
                    "checkpoint_bytes": {"dense": 4, "epitome": 2},
                },
                "commit": "abc",
            },
            "loader": {
                "image": [500, 375],
                "mean_kb": 110.0,
                "standard, 0 workers": 200.0,
                "standard, 2 workers": 400.0,
                "commit": "abc",
            },
            "ranks": {"task": "digits", "images_per_s": {"1": 100.0, "2": 180.0}, "commit": "abc"},
            "sweep": {
                "overhead_s": 9.5,
                "run_bytes": 2e6,
                "list_s": 0.5,
                "front_s": 0.002,
                "study_s": 30.0,
                "study_bytes": 1e6,
                "commit": "abc",
            },
        }
    }
}


def test_tables_show_what_was_measured():
    text = scaling.tables(RESULT)
    days = 300 * scaling.IMAGES / 20 / 86400
    assert (
        f"| imagenet_mobilenetv2 | modern | 300 | a processor | 16 | 20 | 10 | 0.50 | {days:,.0f} d / {2 * days:,.0f} d |"
        in text
    )
    assert "No GPU has been measured yet" in text
    assert "| a processor | standard, 0 workers | 200 | 5 |" in text
    assert "| a processor | standard, 2 workers | 400 | 5 |" in text
    assert "| a processor | digits | 100 | 180 | 1.80 |" in text
    assert "| a processor | 9.5 s | 2.00 MB | 0.50 s | 2 ms | 30 s | 1.00 MB |" in text


def test_tables_warn_only_while_no_gpu_is_measured():
    devices = {"a gpu": RESULT["devices"]["a processor"] | {"kind": "gpu"}}
    assert "No GPU" not in scaling.tables({"devices": devices})


def test_page_replaces_only_the_tables():
    text = f"before\n{scaling.BEGIN}\nstale\n{scaling.END}\nafter\n"
    new = scaling.page(text, RESULT)
    assert new.startswith("before\n") and new.endswith("\nafter\n") and "stale" not in new
    assert scaling.page(new, RESULT) == new


def test_page_is_written_from_the_committed_results():
    text = scaling.PAGE.read_text(encoding="utf-8")
    assert scaling.page(text, json.loads(scaling.RESULTS.read_text())) == text
