"""Results have names and units for people."""

from nes_lab.runs.result_rows import result_rows


def test_result_rows_have_names_units_and_dashes():
    summary = {"best_top1": 71.8, "latency_p90_ms": 2.0, "seconds": 125.0, "top5": None, "my_iou": 0.5}
    assert {row["result"]: row["value"] for row in result_rows(summary)} == {
        "Best top-1": "71.80 %",
        "Time of one image, 90th percentile": "2 ms",
        "Time of training": "2 min 5 s",
        "Top-5 of the last weights": "–",
        "My iou": "0.5",
    }


def test_result_rows_show_the_share_of_the_dense_network():
    rows = result_rows({"params": 500, "dense_params": 1000, "madds": float("nan"), "dense_madds": 7})
    assert rows[0]["value"] == "500 (50.0 % of dense)"
    assert rows[2]["value"] == "–"


def test_a_value_of_the_wrong_type_is_shown_as_it_is():
    assert result_rows({"top1": "high", "seed": 3})[0]["value"] == "high"
