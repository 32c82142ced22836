"""Settings averaged over seeds, and the verdict under a budget."""

import pytest

from nes_lab.errors import BudgetError, OptionError
from nes_lab.runs.compare_settings import compare_settings
from nes_lab.runs.measures import read_limit, read_result
from nes_lab.runs.settings import setting_results
from nes_lab.runs.verdict import latency_finding, setting_table, verdict


def row(routing="free", seed=0, top1=90.0, madds=10, **options):
    return {
        "id": f"{routing}-{seed}",
        "routing": routing,
        "setting": f"{routing}-{madds}",
        "seed": seed,
        "top1": top1,
        "madds": madds,
        "params": 5,
    } | options


def test_only_the_newest_run_of_a_setting_and_seed_counts():
    (entry,) = setting_results([row(id="a", top1=10.0), row(id="b", top1=90.0), row(seed=1, id="c", top1=92.0)])
    assert (entry.result, entry.n, [seed.run for seed in entry.seeds]) == (91.0, 2, ["c", "b"])
    assert entry.spread == pytest.approx(2**0.5)


def test_runs_without_the_numbers_are_left_out():
    assert setting_results([row(madds=None), row(top1=float("nan"))]) == []
    assert verdict([]).best is None and "No run has MAdds and top-1" in verdict([]).answer


def test_the_front_is_of_each_method():
    rows = [row(madds=10), row(madds=20, top1=89.0), row(madds=30, top1=95.0), row(None, madds=40, top1=50.0)]
    assert [(e.method, e.cost, e.on_front) for e in setting_results(rows)] == [
        ("dense", 40, True), ("free", 10, True), ("free", 20, False), ("free", 30, True)
    ]  # fmt: skip


def test_verdict_says_better_only_where_the_interval_excludes_zero():
    rows = [row(seed=seed, top1=90 + seed) for seed in (0, 1, 2)]
    rows += [row("tiled", seed=seed, top1=89.9 + seed) for seed in (0, 1, 2)]
    rows += [row("stride", seed=seed, top1=80 + seed) for seed in (0, 1, 2)]
    rows += [row("learner", top1=85.0)]
    answer = verdict(setting_results(rows))
    assert answer.best is not None and answer.best.method == "free" and answer.answer == "free: 91.0 ± 1.0 %"
    notes = {item.other.method: (not item.gap.is_known, item.gap.sign > 0) for item in answer.comparisons}
    assert notes == {"tiled": (False, False), "stride": (False, True), "learner": (True, False)}
    # Welch with equal spreads of 1 and n = 3: 2.776 * sqrt(2 / 3)
    interval = next(item for item in answer.comparisons if item.other.method == "stride")
    assert (interval.gap.low, interval.gap.high) == (
        pytest.approx(10 - 2.2666, abs=1e-3),
        pytest.approx(10 + 2.2666, abs=1e-3),
    )
    words = " ".join(answer.lines)
    assert "Cannot be told apart from tiled" in words and "Too few seeds to tell it from learner" in words


def test_a_low_loss_is_the_better_one():
    rows = [row(val_loss=0.5), row("tiled", val_loss=0.4), row("tiled", madds=20, val_loss=0.6)]
    settings = setting_results(rows, result="val_loss")
    assert verdict(settings, result="val_loss").answer == "tiled: 0.400"
    assert [entry.on_front for entry in settings] == [True, True, False]


def test_nothing_under_the_budget_names_the_smallest():
    answer = verdict(setting_results([row(madds=30), row("tiled", madds=20)]), budget=10)
    assert answer.best is None and answer.lines == ("The smallest is tiled at 20 MAdds, with 20 MAdds.",)


def test_a_least_result_alone_asks_for_the_cheapest_that_reaches_it():
    rows = [row(madds=10, top1=80.0 + seed, seed=seed) for seed in range(3)]
    rows += [row("tiled", madds=20, top1=95.0 + seed, seed=seed) for seed in range(3)]
    rows += [row("stride", madds=5, top1=60.0 + seed, seed=seed) for seed in range(3)]
    settings = setting_results(rows)
    answer = verdict(settings, least=75.0)
    assert answer.best is not None and answer.best.method == "free"
    assert answer.heading == "Fewest MAdds with a top-1 of at least 75.0 %"
    text = " ".join(answer.lines)
    assert "Cheaper, but worse than tiled at 20 MAdds (15.0 points)." in text
    assert "1 setting is not good enough in top-1." in text
    notes = {line["setting"]: line["verdict"] for line in setting_table(settings, answer).rows}
    assert list(notes.values()) == ["★ best", "better", "outside the limits"] or notes["tiled at 20 MAdds"] == "better"
    both = verdict(settings, budget=20, least=75.0)
    assert (
        both.best is not None and both.best.method == "tiled" and "within both limits is free" in " ".join(both.lines)
    )
    assert verdict(settings, least=99.0).answer == "Nothing is that good."


def test_the_latency_is_compared_with_the_largest_dense_network():
    rows = [row(None, madds=40, latency_ms=4.0), row(None, madds=20, latency_ms=1.0), row("tiled", latency_ms=3.0)]
    assert latency_finding(setting_results(rows)) == (
        "Every epitome network here is faster than the largest dense one: 3 ms against 4 ms."
    )
    rows += [row("free", latency_ms=5.0)]
    assert latency_finding(setting_results(rows)).startswith("1 of 2 epitome networks here are faster")
    assert latency_finding(setting_results([row("free", latency_ms=5.0), row(None)])) == ""


@pytest.mark.parametrize(
    ("text", "result"), [("much", "top1"), ("101", "top1"), ("-1", "val_loss"), ("inf", "val_loss")]
)
def test_wrong_results_are_refused(text, result):
    with pytest.raises(BudgetError, match="cannot be read"):
        read_result(text, result)


def test_names_say_only_what_differs_and_are_unique():
    rows = [row(lr=0.1, setting="a"), row(lr=0.2, setting="b"), row("tiled", setting="c"), row("tiled", setting="d")]
    names = [entry.name for entry in setting_results(rows)]
    assert names[:2] == ["free learning rate 0.1 at 10 MAdds", "free learning rate 0.2 at 10 MAdds"]
    assert len(set(names)) == 4
    settings = setting_results(rows)
    assert {line["verdict"] for line in setting_table(settings, verdict(settings)).rows} == {
        "★ best",
        "too few seeds to tell",
    }


@pytest.mark.parametrize("text", ["60%", "many", "-3", "0.5", "1e999"])
@pytest.mark.parametrize("cost", ["madds", "stored_bytes"])
def test_wrong_budgets_are_refused(text, cost):
    with pytest.raises(BudgetError, match="budget"):
        read_limit(text, cost)


@pytest.mark.parametrize("text", ["60%", "fast", "-1 ms", "nan", "inf"])
def test_wrong_times_are_refused(text):
    with pytest.raises(BudgetError, match="milliseconds"):
        read_limit(text, "latency_ms")


def test_unknown_measures_are_refused():
    with pytest.raises(OptionError, match="cost"):
        setting_results([], cost="flops")


def test_compare_settings_tells_apart_what_the_interval_tells_apart():
    rows = [
        {"routing": routing, "setting": routing, "seed": seed, "madds": 10, "top1": top1 + seed}
        for routing, top1 in (("free", 90.0), ("tiled", 89.0), ("random", 70.0))
        for seed in range(3)
    ]
    comparison = compare_settings([*rows, {"routing": "stride", "setting": "s", "seed": 0, "madds": 10, "top1": 50.0}])
    assert comparison.verdict.best.method == "free"
    assert (comparison.worse, comparison.undecided) == (("random",), ("tiled", "stride"))
    text = str(comparison)
    assert "too few seeds to tell" in text and "91.0 ± 1.0 %" in text and "params" not in text


def test_compare_settings_needs_results():
    with pytest.raises(OptionError, match="none of the 1 runs has madds and top1"):
        compare_settings([{"routing": "free", "madds": 10}])
