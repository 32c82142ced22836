"""The planner: exact predictions, budgets met, order kept, refusals that say what to do."""

from __future__ import annotations

import json
import time

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import nes_lab
from nes_lab import Budget, CompressionPlan
from nes_lab.errors import BudgetError, OptionError, PlanError
from nes_lab.geometry.start_rules import ROUTING_MODES

X8 = torch.randn(1, 1, 8, 8)
SMALL = nes_lab.create_backbone("small_mobilenetv2", num_classes=10, in_channels=1)


def _check(model: nn.Module, plan: CompressionPlan, x: torch.Tensor) -> None:
    report = nes_lab.count(nes_lab.compress(model, plan), x)
    assert (report.params, report.madds) == (plan.predicted.params, plan.predicted.madds)


@settings(max_examples=25, deadline=None)
@given(
    params=st.none() | st.floats(0.3, 1.0),
    madds=st.none() | st.floats(0.45, 1.0),
    routing=st.sampled_from(["tiled", "stride", "random", "free", "learner"]),
    boundary=st.sampled_from(["clamp", "circular"]),
    round_to=st.sampled_from([1, 2, 4]),
    patch=st.none() | st.integers(1, 20),
)
def test_never_exceeds_a_budget_and_predicts_exactly(params, madds, routing, boundary, round_to, patch):
    if params is None and madds is None:
        params = 0.5
    plan = nes_lab.plan_for_budget(
        SMALL, Budget(params, madds), X8, routing=routing, boundary=boundary, round_to=round_to, patch_channels=patch
    )
    assert params is None or plan.predicted.params <= params * plan.dense.params
    assert madds is None or plan.predicted.madds <= madds * plan.dense.madds
    _check(SMALL, plan, X8)


@pytest.mark.parametrize("routing", ["tiled", "free"])
@pytest.mark.parametrize("scope", ["separable", "joint"])
def test_more_budget_never_means_fewer_params(routing, scope):
    shares = [0.32 + 0.04 * i for i in range(17)]
    plans = [
        nes_lab.plan_for_budget(SMALL, Budget(params=s), X8, routing=routing, scope=scope, round_to=1) for s in shares
    ]
    sizes = [p.predicted.params for p in plans]
    assert sizes == sorted(sizes) and len(set(sizes)) > 12


@pytest.mark.parametrize("budget", [Budget(madds="75%"), Budget(params="60%"), Budget(params="70%", madds="60%")])
@pytest.mark.parametrize("routing", ["tiled", "free"])
def test_mobilenetv2_lands_within_two_percent_below_the_tighter_limit_in_five_seconds(budget, routing):
    model, x = nes_lab.create_backbone("mobilenetv2_100"), torch.randn(1, 3, 224, 224)
    begin = time.perf_counter()
    plan = nes_lab.plan_for_budget(model, budget, x, routing=routing)
    assert time.perf_counter() - begin < 5  # a promise of the planner, and it takes about one
    used = [getattr(plan.predicted, name) / limit for name, limit in budget.limits(plan.dense).items()]
    assert 0.98 <= max(used) <= 1
    _check(model, plan, x)
    assert plan == nes_lab.plan_for_budget(model, budget, x, routing=routing)  # deterministic


def test_a_coarse_rounding_is_named():
    model, x = nn.Sequential(nn.Linear(64, 64)), torch.randn(1, 64)
    plan = nes_lab.plan_for_budget(model, Budget(madds=0.6), x, round_to=32)
    assert plan.predicted.madds == 2048 and "the step of 0 to an epitome of (32, 64)" in plan.notes[0]


def test_json_round_trip():
    plan = nes_lab.plan_for_budget(
        SMALL, Budget(params="50%"), X8, routing="learner", round_to=2, layer_options={"reach": 2.0}
    )
    again = CompressionPlan.from_json(plan.to_json())
    assert again == plan
    a, b = nes_lab.compress(SMALL, plan), nes_lab.compress(SMALL, again)
    assert all(torch.equal(v, b.state_dict()[k]) for k, v in a.state_dict().items())
    assert a.get_submodule(next(iter(plan.layers))).routing.reach == 2.0


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "no compression plan"),
        ("[]", "schema"),
        ('{"schema": 99}', "schema=99"),
        ('{"schema": 1}', "lacks or misnames"),
    ],
)
def test_a_broken_plan_is_refused(text, says):
    with pytest.raises(PlanError, match=says):
        CompressionPlan.from_json(text)


def test_infeasible_budgets_name_the_least_and_who_holds_it():
    with pytest.raises(BudgetError, match=r"madds=.* least reachable is .*held by .*depthwise"):
        nes_lab.plan_for_budget(SMALL, Budget(madds="1%"), X8, round_to=2)
    with pytest.raises(BudgetError, match=r"scope='joint'"):
        nes_lab.plan_for_budget(SMALL, Budget(madds="90%"), X8, scope="joint")
    with pytest.raises(BudgetError, match=r"params=.*madds="):
        nes_lab.plan_for_budget(SMALL, Budget(params=2, madds=2), X8)
    # the number it names is reachable
    try:
        nes_lab.plan_for_budget(SMALL, Budget(params=2), X8, round_to=2)
    except BudgetError as error:
        least = int(str(error).split("(")[1].split(",")[0] + str(error).split("(")[1].split(",")[1])
        assert nes_lab.plan_for_budget(SMALL, Budget(params=least), X8, round_to=2).predicted.params == least


def test_dense_unless_asked():
    plan = nes_lab.plan_for_budget(SMALL, Budget(params="60%"), X8, round_to=2)
    assert "stem" in plan.kept["stem.0"] and "classifier" in plan.kept["classifier"]
    assert "depthwise" in plan.kept["blocks.1.depthwise.0"] and "blocks.1.expand.0" in plan.layers
    asked = nes_lab.plan_for_budget(
        SMALL, Budget(params="98%"), X8, round_to=1, include=["classifier", "blocks.1.depthwise.0"]
    )
    assert set(asked.layers) <= {"classifier", "blocks.1.depthwise.0"} and asked.layers
    _check(SMALL, asked, X8)
    model = nes_lab.create_backbone("efficientnet_b0")
    plan = nes_lab.plan_for_budget(model, Budget(params="70%"), torch.randn(1, 3, 64, 64))
    assert "squeeze-excite" in plan.kept["blocks.1.0.se.conv_reduce"]


def test_patterns():
    plan = nes_lab.plan_for_budget(SMALL, Budget(params="80%"), X8, round_to=2, exclude="head*")
    assert plan.kept["head.0"] == "excluded by a pattern of exclude="
    with pytest.raises(OptionError, match=r"include='blocks.9\*' matches no layer"):
        nes_lab.plan_for_budget(SMALL, Budget(params="80%"), X8, include=["blocks.9*"])


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"routing": "tild"}, "tiled"),
        ({"round_to": 0}, "round_to=0"),
        ({"strategy": "best"}, "uniform"),
        ({"patch_channels": 0}, "patch_channels=0"),
        ({"scope": "x"}, "separable"),
    ],
)
def test_options_are_checked(options, says):
    with pytest.raises(OptionError, match=says):
        nes_lab.plan_for_budget(SMALL, Budget(params=0.5), X8, **options)


def test_shared_tied_and_bypassed_layers():
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(50, 32)
            self.shared = nn.Linear(32, 32)
            self.bypassed = nn.Linear(32, 64)
            self.norm = nn.utils.parametrizations.weight_norm(nn.Linear(64, 32))
            self.head = nn.Linear(32, 50, bias=False)
            self.head.weight = self.embed.weight

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.shared(self.shared(self.embed(x)))
            y = nn.functional.linear(y, self.bypassed.weight, self.bypassed.bias)
            return self.head(self.norm(y))

    model, x = Odd().eval(), torch.randint(0, 50, (1, 7))
    plan = nes_lab.plan_for_budget(model, Budget(params="75%"), x, round_to=2)
    assert "tied to that of 'embed'" in plan.kept["head"] and "norm" in plan.kept
    assert plan.layers["bypassed"].execution == "materialize"
    _check(model, plan, x)
    small = nes_lab.compress(model, plan)
    assert small.head.weight is small.embed.weight
    assert torch.allclose(small(x), nes_lab.materialize(small)(x), atol=1e-5)


def test_encoder_layers_that_bypass_their_children_run_materialized():
    model, x = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True).eval(), torch.randn(1, 6, 32)
    plan = nes_lab.plan_for_budget(model, Budget(params="80%"), x)
    assert {p.execution for p in plan.layers.values()} == {"materialize"} and plan.predicted.madds == plan.dense.madds
    _check(model, plan, x)
    small = nes_lab.compress(model, plan)
    with torch.no_grad():  # torch's fast path reads linear1.weight itself
        assert torch.allclose(small(x), nes_lab.materialize(small)(x), atol=1e-5)


def test_rows_cover_every_layer_in_module_order():
    plan = nes_lab.plan_for_budget(SMALL, Budget(params="60%"), X8, round_to=2)
    rows = plan.rows()
    assert [r["name"] for r in rows] == [n for n, m in SMALL.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert sum(r["madds"] for r in rows) == plan.predicted.madds
    json.dumps(rows)


@pytest.mark.parametrize(
    ("budget", "routing", "scope"),
    [
        (Budget(params="50%"), "random", "joint"),
        (Budget(params="60%"), "free", "joint"),
        (Budget(params="50%"), "tiled", "separable"),
        (Budget(params="50%"), "stride", "separable"),
        (Budget(madds="60%"), "random", "separable"),
        (Budget(params="50%", madds="100%"), "random", "joint"),
    ],
)
def test_auto_scope_follows_what_must_fall(budget, routing, scope):
    plan = nes_lab.plan_for_budget(SMALL, budget, X8, scope="auto", round_to=2, routing=routing)
    assert {layer.scope for layer in plan.layers.values()} == {scope}
    _check(SMALL, plan, X8)


@pytest.mark.parametrize("routing", [mode.name for mode in ROUTING_MODES.values() if mode.separable])
def test_rules_that_know_no_blocks_give_one_weight_in_both_scopes(routing):
    weights = []
    for scope in ("separable", "joint"):
        chosen = {"scope": scope, "round_to": 2, "patch_channels": 4, "routing": routing}
        plan = nes_lab.plan_for_budget(SMALL, Budget(params="60%"), X8, **chosen)
        weights.append(nes_lab.compress(SMALL, plan, initial_weights="reset").get_submodule("head.0").weight)
    assert torch.equal(*weights)


def test_steps_that_cost_more_than_they_save_are_joined_with_later_ones():
    """A thin layer with one start per channel: its first steps down would add more starts than they save cells."""
    model, x = nn.Sequential(nn.Linear(8, 640), nn.Linear(640, 256), nn.Linear(256, 256)), torch.randn(1, 8)
    sizes = []
    for share in [0.95 + 0.005 * i for i in range(10)]:
        plan = nes_lab.plan_for_budget(model, Budget(params=share), x, routing="free", patch_channels=1, round_to=8)
        for layer in plan.layers.values():
            assert layer.predicted.params <= layer.dense.params and layer.predicted.madds <= layer.dense.madds
        sizes.append(plan.predicted.params)
    assert sizes == sorted(sizes)


def test_uniform_shrinks_all_axes_alike():
    plan = nes_lab.plan_for_budget(SMALL, Budget(params="50%"), X8, round_to=1)
    ratios = [
        n / c
        for layer in plan.layers.values()
        for n, c in zip(layer.epitome_shape[:2], layer.weight_shape[:2], strict=True)
    ]
    assert len(ratios) > 20 and max(ratios) - min(ratios) < 2 / 16  # a rounding step of the shortest axis, either way


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"layer_options": {"scope": "joint"}}, "layer_options='scope'"),
        ({"layer_options": {"rech": 2}}, "Did you mean 'reach'"),
        ({"layer_options": {"reach": -1}}, "reach=-1"),
        ({"seed": -3}, "seed=-3"),
        ({"patch_channels": "3"}, "patch_channels='3'"),
        ({"include": 5}, "include=5"),
    ],
)
def test_wrong_options_are_refused_at_plan_time(options, says):
    with pytest.raises(OptionError, match=says):
        nes_lab.plan_for_budget(SMALL, Budget(params=0.5), X8, **options)


def test_nothing_to_plan_and_no_budget():
    with pytest.raises(BudgetError, match="ReLU has no convolution or linear layer"):
        nes_lab.plan_for_budget(nn.ReLU(), Budget(params=0.5), X8)
    with pytest.raises(BudgetError, match="budget='50%'"):
        nes_lab.plan_for_budget(SMALL, "50%", X8)
    plan = nes_lab.plan_for_budget(SMALL, Budget(params="60%"), X8, round_to=2)
    with pytest.raises(BudgetError, match="least reachable"):
        nes_lab.plan_for_budget(nes_lab.compress(SMALL, plan), Budget(params="10%"), X8)
    broken = json.loads(plan.to_json())
    next(iter(broken["layers"].values()))["options"] = {"execution": "materialize"}
    with pytest.raises(PlanError, match="layer option 'execution'"):
        CompressionPlan.from_dict(broken)


@pytest.mark.parametrize(
    ("wiring", "shapes"),
    [
        ("both_axes", None),
        ("input_axis", [(32, 32), (64, 16)]),
        ("output_axis", [(16, 64), (32, 32)]),
        ("narrow_axis", [(16, 64), (64, 16)]),
    ],
)
def test_wiring_says_which_axes_shrink(wiring, shapes):
    """Half the multiply-adds of two layers between 64 and 32 channels; the narrow axis is the one of 32 both times."""
    model, x = nn.Sequential(nn.Conv2d(64, 32, 1), nn.Conv2d(32, 64, 1)), torch.zeros(1, 64, 4, 4)
    plan = nes_lab.plan_for_budget(model, Budget(madds="50%"), x, wiring=wiring)
    found = [layer.epitome_shape[:2] for layer in plan.layers.values()]
    if shapes is None:
        assert all(e[0] < w[0] and e[1] < w[1] for e, w in zip(found, [(32, 64), (64, 32)], strict=True))
    else:
        assert found == shapes
    assert plan.predicted.madds <= plan.dense.madds / 2
    _check(model, plan, x)


def test_an_unknown_wiring_names_the_choices():
    with pytest.raises(OptionError, match=r"wiring='wide'.*narrow_axis"):
        nes_lab.plan_for_budget(nn.Conv2d(8, 8, 1), Budget(madds="50%"), torch.zeros(1, 8, 4, 4), wiring="wide")


def test_thin_layers_stay_dense_when_asked():
    model, x = nn.Sequential(nn.Conv2d(64, 32, 1), nn.Conv2d(32, 64, 1), nn.Conv2d(64, 64, 1)), torch.zeros(1, 64, 4, 4)
    plan = nes_lab.plan_for_budget(model, Budget(madds="75%"), x, min_channels=48)
    assert list(plan.layers) == ["2"] and "min_channels=48" in plan.kept_layers["0"].reason
    _check(model, plan, x)
    asked = nes_lab.plan_for_budget(model, Budget(madds="75%"), x, min_channels=48, include=["0", "1"])
    assert list(asked.layers) == ["0", "1"]
    with pytest.raises(OptionError, match="min_channels=0"):
        nes_lab.plan_for_budget(model, Budget(madds="75%"), x, min_channels=0)
