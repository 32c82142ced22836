"""Budgets of time: the search, with a timer that is scripted; and once for real."""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest
import torch
from torch import nn

import nes_lab
from nes_lab import Budget
from nes_lab.errors import BudgetError, OptionError
from nes_lab.planning import latency
from nes_lab.planning.latency import MARGIN, DeviceTimer, Timing

MODEL = nn.Sequential(nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 128)).eval()
X = torch.randn(4, 128)


class FakeTimer:
    """Time goes by multiply-adds: ``dense_ms`` for the dense model; scripted errors for the calls in order."""

    def __init__(self, dense_ms: float = 10.0, floor: float = 0.0, noise: list[float] | None = None) -> None:
        self.dense_ms, self.floor, self.noise, self.seen = dense_ms, floor, noise or [], []

    def __call__(self, plan, seconds):
        share = plan.predicted.madds / plan.dense.madds
        factor = self.noise[len(self.seen)] if len(self.seen) < len(self.noise) else 1.0
        self.seen.append((share, seconds))
        return Timing(plan, max(share, self.floor) * self.dense_ms * factor, self.dense_ms, 0.0, 11, "0 9 ms")


@pytest.fixture
def timer(monkeypatch):
    def use(**options):
        fake = FakeTimer(**options)
        monkeypatch.setattr(latency, "DeviceTimer", lambda *args: fake)
        return fake

    return use


def test_meet_latency_takes_the_first_rung_that_is_fast_enough(timer):
    fake = timer()
    plan = nes_lab.plan_for_budget(MODEL, Budget(latency_ms="60%"), X, round_to=16)
    share = plan.predicted.madds / plan.dense.madds
    assert share * (1 + MARGIN) <= 0.6 and plan.latency_ms == pytest.approx(10 * share)
    assert fake.seen[-1][0] == share and fake.seen[-1][1] == 2 * fake.seen[0][1]  # the last measurement, longer
    slower = [s for s, _ in fake.seen if s > share]
    assert slower and all(s * (1 + MARGIN) > 0.6 for s in slower)
    note = plan.notes[-1]
    assert "6 ms, which is 60 % of dense" in note and "margin of 2 %" in note and "median of 11 rounds" in note
    assert nes_lab.CompressionPlan.from_json(plan.to_json()) == plan


def test_meet_latency_reads_numbers_below_1_as_milliseconds(timer):
    timer(dense_ms=1.0)
    plan = nes_lab.plan_for_budget(MODEL, Budget(latency_ms=0.5), X)
    assert 0.4 < plan.latency_ms <= 0.5


def test_meet_latency_keeps_to_the_other_limits(timer):
    timer()
    plan = nes_lab.plan_for_budget(MODEL, Budget(params=0.3, latency_ms="90%"), X)
    assert plan.predicted.params <= 0.3 * plan.dense.params
    assert plan == replace(  # fast enough at once: the search ends where the other limit does
        nes_lab.plan_for_budget(MODEL, Budget(params=0.3), X),
        budget=plan.budget,
        notes=plan.notes,
        latency_ms=plan.latency_ms,
    )
    plan = nes_lab.plan_for_budget(MODEL, Budget(params=0.9, latency_ms="30%"), X)
    assert plan.predicted.madds <= 0.3 * plan.dense.madds


def test_meet_latency_keeps_a_dense_model_that_is_fast_enough(timer):
    timer()
    plan = nes_lab.plan_for_budget(MODEL, Budget(latency_ms=20), X)
    assert not plan.layers and plan.latency_ms == 10


def test_meet_latency_names_the_shortest_time_if_the_limit_cannot_be_met(timer):
    timer(floor=0.4)
    with pytest.raises(
        BudgetError,
        match=r"the shortest measured time is 4 ms \(40 % of the dense model's 10 ms\).*3 ms.*slowest there: 0",
    ) as caught:
        nes_lab.plan_for_budget(MODEL, Budget(latency_ms="30%"), X)
    assert caught.value.least.params < 0.2 * 33_024


def test_meet_latency_shrinks_further_if_the_last_measurement_fails(timer):
    fake = timer(noise=[1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.5])
    plan = nes_lab.plan_for_budget(MODEL, Budget(latency_ms="60%"), X, round_to=1)
    taken = plan.predicted.madds / plan.dense.madds
    assert len(fake.seen) > 9 and taken < fake.seen[8][0] and fake.seen[-1][0] == taken
    fake = timer(noise=[1.0, 1.0] + [1e6] * 30)
    with pytest.raises(BudgetError, match="cannot be met"):
        nes_lab.plan_for_budget(MODEL, Budget(latency_ms="60%"), X)


def test_meet_latency_divides_its_time_and_reports_progress(timer):
    fake, told = timer(), []
    nes_lab.plan_for_budget(MODEL, Budget(latency_ms="60%"), X, round_to=1, seconds=5, on_progress=told.append)
    assert sum(seconds for _, seconds in fake.seen) <= 5
    assert [news["done"] for news in told] == list(range(len(told))) and told[-1]["label"] == "last measurement"
    for seconds in (0, -1, True, "5", float("inf")):
        with pytest.raises(OptionError, match="seconds="):
            nes_lab.plan_for_budget(MODEL, Budget(latency_ms="60%"), X, seconds=seconds)


def test_meet_latency_works_with_sensitivity_and_scope_auto(timer):
    timer()
    plan = nes_lab.plan_for_budget(MODEL, Budget(latency_ms="60%"), X, strategy="sensitivity", scope="auto")
    assert plan.predicted.madds <= 0.6 * plan.dense.madds
    assert {layer.scope for layer in plan.layers.values()} == {"separable"}


def test_device_timer_refuses_the_meta_device():
    model = nn.Sequential(nn.Linear(64, 64)).to("meta")
    with pytest.raises(OptionError, match="meta device, which computes nothing"):
        nes_lab.plan_for_budget(model, Budget(latency_ms="50%"), torch.randn(1, 64, device="meta"))


def test_device_timer_tunes_and_leaves_the_model_unchanged():
    before = {name: value.clone() for name, value in MODEL.state_dict().items()}
    random = torch.random.get_rng_state()
    plan = nes_lab.plan_for_budget(MODEL, Budget(madds=0.5), X)
    timing = DeviceTimer(MODEL, X, Budget(madds=0.5, latency_ms=5))(plan, 0.2)
    assert timing.ms > 0 and timing.rounds >= 7 and any("executions tuned on" in n for n in timing.plan.notes)
    assert {layer.execution for layer in timing.plan.layers.values()} <= {"materialize", "factored", "wrapped"}
    assert timing.plan.predicted.madds <= 0.5 * plan.dense.madds  # although materialized may be faster
    count = nes_lab.count(nes_lab.compress(MODEL, timing.plan), X)
    assert count.madds == timing.plan.predicted.madds
    assert all(torch.equal(value, before[name]) for name, value in MODEL.state_dict().items())
    assert torch.equal(torch.random.get_rng_state(), random)


def test_device_timer_keeps_to_the_limit_on_multiply_adds(monkeypatch):
    """Where the fastest plan of a layer costs all its multiply-adds, the next that saves some is taken instead."""

    def rounds(contenders, device, seconds, **options):
        return {name: [1.0 if name in ("materialize", "net", "dense") else 2.0] * 7 for name in contenders}

    assert nes_lab.tune
    monkeypatch.setattr(sys.modules["nes_lab.tuning.tune"], "time_rounds", rounds)
    monkeypatch.setattr(
        sys.modules["nes_lab.tuning.tune"],
        "_time_networks",
        lambda c, d, e: ({"tuned": [1.0], "materialize": [1.0]}, latency.ratio_of_times([1.0], [1.0])),
    )
    plan = nes_lab.plan_for_budget(MODEL, Budget(madds=0.75), X)
    free = DeviceTimer(MODEL, X, Budget(latency_ms=5))(plan, 0.1).plan
    assert {layer.execution for layer in free.layers.values()} == {"materialize"}
    assert free.predicted.madds == free.dense.madds
    held = DeviceTimer(MODEL, X, Budget(madds=0.75, latency_ms=5))(plan, 0.1).plan
    assert held.predicted.madds <= 0.75 * held.dense.madds


@pytest.mark.slow
def test_meet_latency_on_a_real_network():
    """ResNet-18 in three quarters of its time; measured again, it stays there but for the noise of a busy machine."""
    model, x = nes_lab.create_backbone("resnet18").eval(), torch.randn(1, 3, 160, 160)
    plan = nes_lab.plan_for_budget(model, Budget(latency_ms="80%"), x, wiring="narrow_axis", round_to=32, seconds=20)
    net = nes_lab.compress(model, plan, initial_weights="reset").eval()
    with torch.inference_mode():
        again = nes_lab.measure_latency({"dense": model, "net": net}, x, pairs=30)
    assert plan.layers and again["net"].median_ms / again["dense"].median_ms <= 0.9
