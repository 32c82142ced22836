"""One run against another one: settings, the accuracy at an epoch that both have, times and costs."""

from __future__ import annotations

from nes_lab.runs.info import RunInfo
from nes_lab.runs.kept_curve import KeptCurve
from nes_lab.runs.run_against import results_beside, run_against


def curve(top1, seconds, pause=0.0):
    """A curve with one validation an epoch. After the second epoch the run was resumed, ``pause`` seconds later."""
    made = KeptCurve()
    for epoch, value in enumerate(top1, start=1):
        late, attempt = (pause, 2) if epoch > 2 else (0.0, 1)
        row = {"step": 10 * epoch, "split": "val", "epoch": epoch, "top1": value, "attempt": attempt}
        made.add(row | {"time": 100.0 + seconds * epoch + late})
    return made


def run(name, routing, **options):
    compression = {"madds": "60%", "routing": routing, "wiring": options.pop("wiring", "both_axes")}
    data = {"name": options.pop("data", "digits")}
    return RunInfo(name, label=name, config={"data": data, "compression": compression}, **options)


def test_run_against_compares_at_the_last_epoch_that_both_have_and_skips_pauses():
    this = run("mine", "learner", summary={"madds": 225, "params": 70, "latency_ms": 2.0}, wiring="input_axis")
    other = run("yours", "tiled", summary={"madds": 225, "params": 35, "latency_ms": 2.004})
    table = run_against(this, other, (curve([50, 60, 71.8], 9, pause=5000), curve([40, 61, 71.6, 90], 6)))
    assert [column.title for column in table.columns] == ["what", "this run", "yours", "difference"]
    rows = {row["field"]: (row["this"], row["other"], row["difference"]) for row in table.rows}
    assert rows == {
        "Who sets the starts": ("learner", "tiled", "–"),
        "Channels that shrink": ("input", "output and input", "–"),
        "Top-1 at epoch 3": ("71.80 %", "71.60 %", "+0.20 points, one run each: may be chance"),
        "Time of an epoch": ("9 s", "6 s", "1.5 ×"),
        "MAdds": ("225", "225", "equal"),
        "Params": ("70", "35", "2 ×"),
        "Time of one image": ("2 ms", "2 ms", "equal"),
    }


def test_run_against_does_not_compare_accuracies_on_different_data():
    table = run_against(run("a", "free"), run("b", "free", data="flowers"), (curve([50], 1), curve([40], 1)))
    assert table.rows[-1]["difference"] == "+10.00 points, not the same data"


def test_results_beside_has_the_results_of_both_runs():
    table = results_beside(
        run("a", "free", summary={"top1": 90.0}), run("b", "free", summary={"top1": 80.0, "seed": 1})
    )
    assert [tuple(row.values()) for row in table.rows] == [
        ("Top-1 of the last weights", "90.00 %", "80.00 %"),
        ("Seed", "–", "1"),
    ]
