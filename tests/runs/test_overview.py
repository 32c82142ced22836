"""The table of runs for people: short curves, filters, and runs that cannot be read."""

import json
import time

from nes_lab.runs.annotate import annotate
from nes_lab.runs.details import RunDetails
from nes_lab.runs.overview import budget_text, filter_runs, filter_values, overview
from nes_lab.runs.short_curve import ShortCurve, short_curve
from tests.figures.samples import write_run


def write_metrics(store, run_id, rows):
    text = "\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows)
    (store.path(run_id) / "metrics.jsonl").write_text(text)


def test_a_short_curve_has_at_most_60_points_and_both_ends(store):
    run_id = store.create({})
    write_metrics(store, run_id, [{"step": s, "split": "val", "top1": s / 10, "time": 5.0 + s} for s in range(1, 1001)])
    curve = short_curve(store, run_id)
    assert len(curve.values) == 60 and (curve.values[0], curve.values[-1]) == (0.1, 100.0)
    assert list(curve.values) == sorted(curve.values) and curve.seconds == 999


def test_a_short_curve_leaves_out_what_is_damaged_or_replaced(store):
    run_id = store.create({})
    row = {"split": "val", "attempt": 1}
    replaced = [row | {"step": 2, "top1": 90.0}, {"step": 2, "split": "val", "attempt": 2, "top1": 20.0}]
    write_metrics(store, run_id, [row | {"step": 1, "top1": 10.0}, *replaced, row | {"step": 3, "top1": None}, '{"val'])
    assert short_curve(store, run_id).values == (10.0, 20.0)


def test_a_short_curve_shows_another_metric(store):
    run_id = store.create({})
    write_metrics(store, run_id, [{"step": 1, "split": "val", "loss": 1.0, "iou": 0.5}])
    curve = short_curve(store, run_id)
    assert (curve.metric, curve.values) == ("iou", (0.5,))
    assert overview([store.get(run_id)], {run_id: RunDetails(curve)}).rows[0]["top1"] is None


def test_a_run_without_metrics_has_an_empty_curve(store):
    run_id = store.create({})
    assert short_curve(store, run_id) == short_curve(store, "no-such-run") == ShortCurve()


def test_short_curves_of_long_runs_are_quick(store):
    run_id = store.create({})
    write_metrics(store, run_id, [{"step": s, "split": "train", "loss": 1.0, "lr": 0.1} for s in range(10_000)])
    began = time.perf_counter()
    for _ in range(20):
        short_curve(store, run_id)
    assert time.perf_counter() - began < 0.5  # 200 runs within 2 s need 0.2 s; parsing every line takes 1 s


def test_an_unfinished_run_shows_its_latest_accuracy(store):
    run_id = write_run(store, state="failed", top1=71.0)
    row = overview([store.get(run_id)], {run_id: RunDetails(short_curve(store, run_id))}).rows[0]
    assert (row["top1"], row["madds"], row["state"]) == (71.0, None, "failed")


def test_a_damaged_run_is_listed(store):
    run_id = write_run(store, label="broken")
    (store.path(run_id) / "config.json").write_text("{")
    table = overview(store.list())
    assert table.rows[0]["id"] == run_id and table.rows[0]["state"] == "lost"
    assert table.grid()[0]["started"] is None


def test_filters_combine(store):
    for routing in ("free", "tiled", None):
        write_run(store, label=f"net {routing}", group="g" if routing else "", routing=routing)
    runs = store.list()
    assert filter_values(runs) == {
        "state": ["finished"],
        "group": ["g"],
        "routing": ["dense", "free", "tiled"],
        "tags": [],
    }
    assert [info.label for info in filter_runs(runs, routings=["free", "dense"])] == ["net None", "net free"]
    assert [info.label for info in filter_runs(runs, groups=["g"], text="TILED net")] == ["net tiled"]
    annotate(store, runs[0].id, tags=["paper", "x"], note="Look here")
    annotate(store, runs[1].id, tags=["paper"])
    runs = store.list()
    assert filter_values(runs)["tags"] == ["paper", "x"]
    assert len(filter_runs(runs, tags=["paper"])) == 2 and len(filter_runs(runs, tags=["paper", "x"], text="look")) == 1
    assert filter_runs(runs, states=["failed"]) == [] and len(filter_runs(runs, text=" ")) == 3


def test_budgets_as_text():
    assert budget_text({"compression": {"madds": 0.5, "latency_ms": 3, "params": None}}) == "MAdds 50 %, ms 3"
    assert budget_text({"compression": {"preset": "released_x2"}}) == "released_x2"
    assert budget_text({"compression": "damaged"}) == budget_text({}) == ""
