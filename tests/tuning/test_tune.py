"""Tuning: what is measured, chosen and set. The clock is a fake one wherever a choice is tested."""

from __future__ import annotations

import copy
import sys
import threading
import time
from functools import partial

import pytest
import torch
from torch import nn

import nes_lab
from nes_lab import Budget
from nes_lab.errors import OptionError
from nes_lab.nn.conv import EpitomeConv2d
from nes_lab.nn.inspect import epitome_layers
from nes_lab.nn.layer import EpitomeLayer
from nes_lab.nn.linear import EpitomeLinear
from nes_lab.tuning.layer_inputs import record_calls
from tests.tuning.fake_clock import script_times

TUNE = sys.modules["nes_lab.tuning.tune"] if nes_lab.tune else None
QUICK = {"seconds": 0.2}


def _net(routing: str = "tiled") -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        EpitomeConv2d(4, 16, 3, padding=1, epitome_shape=(8, 4, 3, 3), routing=routing),
        nn.BatchNorm2d(16),
        EpitomeConv2d(16, 24, 1, epitome_shape=(24, 8, 1, 1), routing=routing),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        EpitomeLinear(24, 10, epitome_shape=(10, 12), routing=routing, scope="joint"),
    )


def _chain(widths: tuple[int, ...] = (32, 40, 48, 56)) -> nn.Sequential:
    """Linear layers of different sizes, so that each is timed."""
    pairs = zip(widths, (*widths[1:], 16), strict=True)
    return nn.Sequential(*[EpitomeLinear(a, b, epitome_shape=(8, 8)) for a, b in pairs])


def _executions(model: nn.Module) -> list[str]:
    return [layer.execution for _, layer in epitome_layers(model)]


@pytest.fixture
def clock(monkeypatch):
    return partial(script_times, monkeypatch)


# ---- multiply-adds ------------------------------------------------------------------------------------------------------


def _planned(budget: Budget, x: torch.Tensor) -> nn.Module:
    torch.manual_seed(0)
    dense = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 4))
    return nes_lab.compress(dense, nes_lab.plan_for_budget(dense, budget, x))


DENSE_IS_FASTER = [{"materialize": 1, "factored": 3, "wrapped": 2, "product_map": 4}] * 3


def test_tune_keeps_the_multiply_adds_of_a_network_planned_for_them(clock, tmp_path):
    x = torch.randn(2, 32)
    model = _planned(Budget(madds="60%"), x)
    loaded = nes_lab.from_pretrained(nes_lab.save_pretrained(model, tmp_path / "net"), model=nes_lab.materialize(model))
    before = nes_lab.count(model, x).madds
    for network in (model, loaded):
        clock(DENSE_IS_FASTER, [1.5])  # slower than dense, and still no layer is materialized
        report = nes_lab.tune(network, x)
        assert (report.madds_before, report.keep_madds) == (before, True)
        assert report.madds_after == nes_lab.count(network, x).madds <= before
        assert report.keep_madds_ms >= len(report.layers) and "this costs about" in str(report)
        assert all("keeps the multiply-adds; materialize takes 0." in layer.reason for layer in report.layers)
        assert nes_lab.TuneReport.from_json(report.to_json()) == report


def test_tune_says_that_it_raises_the_multiply_adds(clock):
    x = torch.randn(2, 32)
    for budget, options in ((Budget(params="60%"), {}), (Budget(madds="60%"), {"keep_madds": False})):
        model = _planned(budget, x)
        dense, before = nes_lab.count(nes_lab.materialize(model), x).madds, nes_lab.count(model, x).madds
        clock(DENSE_IS_FASTER, [0.9])
        report = nes_lab.tune(model, x, **options)
        assert (report.madds_before, report.madds_after, report.keep_madds) == (before, dense, False)
        assert report.keep_madds_ms == 0 and "keep_madds=True would keep them" in str(report)
    clock(DENSE_IS_FASTER, [0.9])
    assert nes_lab.tune(_planned(Budget(params="60%"), x), x, keep_madds=True).madds_after <= before
    with pytest.raises(OptionError, match="keep_madds='yes'; give True, False, or None"):
        nes_lab.tune(model, x, keep_madds="yes")


# ---- the choice ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("times", "chosen"),
    [
        ({"materialize": [4.0] * 7}, "materialize"),
        ({"materialize": [4.0] * 7, "factored": [3.0] * 7, "wrapped": [2.0] * 7}, "wrapped"),
        ({"materialize": [4.0] * 7, "factored": [3.93] * 7}, "materialize"),  # 1.75 % is not enough
        ({"materialize": [4.0] * 7, "factored": [3.90] * 7}, "factored"),  # 2.5 % is, where nothing scatters
        # 0.9 on the median, but scattered so that it might be 1
        ({"materialize": [1.0] * 7, "factored": [0.5, 0.6, 0.7, 0.9, 1.2, 1.4, 1.5]}, "materialize"),
        # the fastest is unsure; the second is clearly faster
        ({"materialize": [1.0] * 7, "wrapped": [0.1, 0.2, 0.3, 0.7, 1.2, 1.4, 1.5], "factored": [0.8] * 7}, "factored"),
        # a machine that slows down threefold slows both
        ({"materialize": [1.0, 1, 1, 2, 3, 3, 3], "factored": [0.9, 0.9, 0.9, 1.8, 2.7, 2.7, 2.7]}, "factored"),
    ],
)
def test_choose_execution_takes_the_fastest_that_is_clearly_faster(times, chosen):
    assert TUNE.choose_execution(times)[0] == chosen


def test_tune_sets_and_reports_its_choices(clock):
    clock([{"materialize": 4, "factored": 3, "wrapped": 2}, {"materialize": 1, "factored": 5}] * 2, [0.9])
    model = _chain()
    report = nes_lab.tune(model, torch.randn(2, 32))
    assert _executions(model) == ["wrapped", "materialize"] * 2 == list(report.executions.values())
    assert report.ratio == 0.9 and report.rounds == 11 and report.tuned_ms == 0.9
    first, second = report.layers[:2]
    assert first.times_ms == {"materialize": 4, "factored": 3, "wrapped": 2} and first.calls == 1
    assert "0.50" in first.reason and "not clearly" in second.reason


def test_tune_materializes_the_smallest_gains_of_a_slower_network_first(clock):
    gains = [3.0, 1.0, 4.0, 2.0]
    times = [{"materialize": 10, "factored": 10 - g} for g in gains]
    model = _chain()
    clock(times, [1.5, 1.2, 0.9])
    report = nes_lab.tune(model, torch.randn(2, 32))
    assert _executions(model) == ["materialize", "materialize", "factored", "materialize"]
    assert "1.500 of materialized" in report.layers[1].reason and "1.200" in report.layers[0].reason
    assert report.ratio == 0.9


def test_tune_materializes_all_layers_in_the_end(clock):
    model = _chain()
    clock([{"materialize": 2, "factored": 1}] * 4, [1.5, 1.4, 1.3, 1.01])
    report = nes_lab.tune(model, torch.randn(2, 32))
    assert _executions(model) == ["materialize"] * 4
    assert report.ratio == 1.01  # as measured: noise and bookkeeping, told and not hidden


def test_tune_materializes_all_at_once_if_no_time_is_left(clock):
    noisy = [0.7, 0.8, 0.9, 1.01, 1.2, 1.3, 1.4]  # would be measured again
    model = _chain()
    fake = clock([{"materialize": 2, "factored": 1}] * 4, [noisy, 1.2, "never"])
    report = nes_lab.tune(model, torch.randn(2, 32), seconds=1e-6)
    assert _executions(model) == ["materialize"] * 4 and fake.ratios == ["never"] and report.ratio == 1.2


def test_tune_times_the_networks_again_if_noise_may_be_the_reason(clock):
    noisy = [0.7, 0.8, 0.9, 1.01, 1.2, 1.3, 1.4]
    model = _chain()
    clock([{"materialize": 2, "factored": 1}] * 4, [noisy, [0.9] * 7])
    report = nes_lab.tune(model, torch.randn(2, 32))
    assert _executions(model) == ["factored"] * 4 and report.rounds == 14 and report.ratio == 0.9


def test_tune_times_the_networks_again_only_once(clock):
    noisy = [0.7, 0.8, 0.9, 1.01, 1.2, 1.3, 1.4]
    model = _chain()
    clock([{"materialize": 2, "factored": 1}] * 4, [noisy, noisy, 0.9])
    nes_lab.tune(model, torch.randn(2, 32))
    assert _executions(model) == ["materialize"] * 2 + ["factored"] * 2  # of equal gains, the first in module order


def test_tune_times_layers_of_equal_keys_once(clock):
    patches = {"epitome_shape": (16, 16), "patch_channels": (4, 4)}
    alike = [EpitomeLinear(32, 32, **patches) for _ in range(3)]
    other = EpitomeLinear(32, 32, routing="random", seed=1, **patches)  # reads other places, in more runs
    fake = clock([{"materialize": 2, "factored": 1}, {"materialize": 1}], [0.9])
    report = nes_lab.tune(nn.Sequential(*alike, other), torch.randn(2, 32))
    assert fake.runs == 2 and list(report.executions.values()) == ["factored"] * 3 + ["materialize"]


def test_tune_times_the_execution_it_names(monkeypatch, clock):
    ran: list[str] = []
    forward = EpitomeLayer.forward

    def watched(self, x):
        assert not self.epitome.is_inference()  # else nothing would be kept from one round to the next
        ran.append(self.resolved_execution(tuple(x.shape)).name)
        return forward(self, x)

    monkeypatch.setattr(EpitomeLayer, "forward", watched)
    model = _chain((32, 40))
    clock([{"materialize": 9, "factored": 1}, {"materialize": 5, "wrapped": 1}], [1.5, 0.9])
    with torch.inference_mode():
        nes_lab.tune(model, torch.randn(2, 32))
    ran = [*ran[:2], *ran[4:-2]]  # the rest counts multiply-adds, before and after
    auto, alone, first, second = ran[:2], ran[2:8], ran[8:10], ran[10:]
    assert auto == ["factored"] * 2 and alone == ["materialize", "factored", "wrapped"] * 2
    assert first == ["factored", "wrapped"] and second == ["factored", "materialize"]


# ---- a real run -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("routing", ["tiled", "learner"])
def test_tune_keeps_outputs_and_is_never_slower_than_materialized(routing):
    model, x = _net(routing).train(), torch.randn(3, 4, 12, 12)
    model[1].eval()
    state, modes = copy.deepcopy(model.state_dict()), [m.training for m in model.modules()]
    attributes = {name: sorted(vars(layer)) for name, layer in epitome_layers(model)}
    rng, before = torch.get_rng_state(), copy.deepcopy(model).eval()(x)
    report = nes_lab.tune(model, x, **QUICK)
    assert torch.equal(torch.get_rng_state(), rng)
    assert [m.training for m in model.modules()] == modes
    assert all(torch.equal(v, state[k]) for k, v in model.state_dict().items())
    assert {name: sorted(vars(layer)) for name, layer in epitome_layers(model)} == attributes
    assert not any(m._forward_hooks for m in model.modules())
    # the same sums in another order: float32 rounding
    torch.testing.assert_close(copy.deepcopy(model).eval()(x), before, rtol=1e-5, atol=1e-5)
    assert report.executions == {name: layer.execution for name, layer in epitome_layers(model)}
    assert set(report.layers[0].times_ms) == {"materialize", "factored", "wrapped"}
    assert set(report.layers[2].times_ms) == {"materialize"}  # joint
    assert all(t > 0 for layer in report.layers for t in layer.times_ms.values())
    assert report.ratio <= 1 or set(report.executions.values()) == {"materialize"}
    assert report.ratio_quartiles[0] <= report.ratio <= report.ratio_quartiles[1]
    assert report.rounds >= 7 and report.seconds > 0 and report.tuned_ms > 0
    key = report.key
    assert (key.dtype, key.input_shape, key.batch, key.memory_format) == ("float32", (3, 4, 12, 12), 3, "contiguous")
    assert (key.threads, key.torch) == (torch.get_num_threads(), torch.__version__) and key.device


def test_tune_reports_progress_for_each_layer_and_the_end():
    events: list[dict] = []
    nes_lab.tune(_net(), torch.randn(1, 4, 8, 8), on_progress=events.append, **QUICK)
    assert [event["label"] for event in events if event["phase"] == "layers"] == ["0", "2", "5"]
    assert events[-1]["done"] == events[-1]["total"] == 4 and "of materialized" in events[-1]["label"]
    assert [event["done"] for event in events] == sorted(event["done"] for event in events)


def test_tune_draws_a_bar_on_standard_error_if_asked(monkeypatch, capsys):
    threads: set[int] = set()
    forward = EpitomeLayer.forward
    watched = lambda self, x: (threads.add(threading.active_count()), forward(self, x))[1]  # noqa: E731
    monkeypatch.setattr(EpitomeLayer, "forward", watched)
    before = threading.active_count()
    nes_lab.tune(_net(), torch.randn(1, 4, 8, 8), progress=True, **QUICK)
    out, err = capsys.readouterr()
    assert not out and "tuning" in err
    assert threads == {before}  # none that redraws the bar while layers are timed


def test_tune_prints_nothing_unless_asked(capsys):
    nes_lab.tune(_net(), torch.randn(1, 4, 8, 8), **QUICK)
    assert capsys.readouterr() == ("", "")


def test_tune_times_kept_weights_also_inside_inference_mode():
    model = _net()
    with torch.inference_mode():
        report = nes_lab.tune(model, torch.randn(1, 4, 8, 8), **QUICK)
    assert report.rounds and not model[0].epitome.is_inference()
    model(torch.randn(2, 4, 8, 8)).sum().backward()


# ---- inputs -------------------------------------------------------------------------------------------------------------


class _Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = EpitomeLinear(8, 8, epitome_shape=(4, 4))

    def forward(self, x, y):
        return self.fc(self.fc(x)), self.fc(y)


def test_tune_counts_every_call_of_a_layer(monkeypatch, clock):
    model, x, y = _Twice(), torch.randn(2, 8), torch.randn(5, 3, 8)
    assert list(record_calls(model, (x, y))["fc"].values()) == [2, 1]
    seen: list[tuple[int, ...]] = []
    forward = EpitomeLayer.forward
    clock([{"materialize": 2, "factored": 1}], [0.9])
    monkeypatch.setattr(EpitomeLayer, "forward", lambda self, x: (seen.append(tuple(x.shape)), forward(self, x))[1])
    report = nes_lab.tune(model, {"x": x, "y": y})
    plans = len(report.layers[0].times_ms)
    assert (
        sorted(seen[3 : 3 + 3 * plans]) == [(2, 8)] * 2 * plans + [(5, 3, 8)] * plans
    )  # after the three recorded calls
    assert report.layers[0].calls == 3
    assert report.layers[0].madds["factored"] == nes_lab.count(model, (x, y)).madds


def test_tune_leaves_layers_whose_weight_alone_is_used(clock):
    block = nn.TransformerEncoderLayer(32, 2, 64, batch_first=True)
    plan = nes_lab.plan_for_budget(block, Budget(params="60%"), torch.randn(1, 4, 32))
    model = nn.Sequential(nes_lab.compress(block, plan), EpitomeLinear(32, 8, epitome_shape=(8, 8)))
    model[0].linear1.execution = "auto"
    clock([{"materialize": 2, "factored": 1}], [0.9])
    report = nes_lab.tune(model, torch.randn(1, 4, 32))
    assert list(report.executions) == ["1"]
    left = {layer.name: layer for layer in report.layers if not layer.times_ms}
    assert "0.linear1" in left and left["0.linear1"].calls == 0 and "not called" in left["0.linear1"].reason
    assert model[0].linear1.execution == "auto" and model[1].execution == "factored"


def test_tune_key_names_the_memory_format(clock):
    model = _net().to(memory_format=torch.channels_last)
    clock([{"materialize": 1.0}] * 3, [1.0])
    x = torch.randn(2, 4, 6, 6).contiguous(memory_format=torch.channels_last)
    key = nes_lab.tune(model, x).key
    assert key.memory_format == "channels_last" and "channels_last" in str(key)


# ---- errors -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("when", ["layer", "network"])
def test_tune_sets_nothing_if_measuring_fails_half_way(clock, when):
    model = _chain()
    times = [{"materialize": 2, "factored": 1}] * (4 if when == "network" else 2)
    clock(times, [1.5] if when == "network" else [])  # then the script runs out
    before = [sorted(vars(layer)) for _, layer in epitome_layers(model)]
    with pytest.raises(IndexError):
        nes_lab.tune(model.train(), torch.randn(2, 32))
    assert _executions(model) == ["auto"] * 4 and all(m.training for m in model.modules())
    assert [sorted(vars(layer)) for _, layer in epitome_layers(model)] == before


@pytest.mark.parametrize(
    ("model", "x", "options", "says"),
    [
        (nn.Sequential(nn.Linear(4, 4)), torch.randn(1, 4), {}, "Sequential without epitome layers"),
        ("model", torch.randn(1, 4), {}, "model is a str"),
        (_chain(), torch.randn(2, 31), {}, r"example_input of shape \(2, 31\): Sequential cannot run it"),
        (_chain(), None, {}, "cannot run it"),
        (_chain().to("meta"), torch.randn(2, 32), {}, "meta device"),
        (_chain(), torch.randn(2, 32), {"seconds": 0}, "seconds=0"),
        (_chain(), torch.randn(2, 32), {"seconds": float("nan")}, "seconds=nan"),
        (_chain(), torch.randn(2, 32), {"progress": "yes"}, "progress='yes'"),
    ],
)
def test_tune_refuses_wrong_arguments(model, x, options, says):
    with pytest.raises(OptionError, match=says):
        nes_lab.tune(model, x, **options)


# ---- a network people use -----------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_tune_takes_at_most_two_minutes_for_mobilenetv2():
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        model, x = nes_lab.create_backbone("mobilenetv2_100").eval(), torch.randn(1, 3, 224, 224)
        small = nes_lab.compress(model, nes_lab.preset("released_x2", model, x))
        with torch.no_grad():
            before = small(x)
        begun = time.perf_counter()
        report = nes_lab.tune(small, x)
        assert time.perf_counter() - begun < 120
        with torch.no_grad():
            after = small(x)
    finally:
        torch.set_num_threads(threads)
    assert report.key.threads == 2 and len(report.layers) == 32
    assert report.ratio <= 1 or set(report.executions.values()) == {"materialize"}
    assert (after - before).abs().max() <= 1e-4 * before.abs().max()  # 50 layers of float32 rounding
