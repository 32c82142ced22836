"""The worker's plans equal the library's own, on the device that stores no weights too."""

from __future__ import annotations

import pytest
import torch

import nes_lab
from nes_lab.errors import BudgetError, OptionError
from nes_lab.models.source import DenseSource
from nes_lab.worker import plans
from nes_lab.worker.plans import PlanDesk

SMALL = {"backbone": {"name": "small_mobilenetv2"}, "input_shape": [1, 8, 8], "classes": 10}


def test_plan_desk_answers_as_the_library_plans():
    desk = PlanDesk()
    dense = DenseSource("small_mobilenetv2", (1, 8, 8), 10).make()
    for limits in ({"madds": "75%"}, {"params": 0.6}, {"params": "60 %", "madds": "70%"}):
        answer = desk.answer(SMALL | {"compression": limits | {"round_to": 2, "routing": "free"}})
        plan = nes_lab.plan_for_budget(
            dense, nes_lab.Budget(**limits), torch.zeros(1, 1, 8, 8), round_to=2, routing="free"
        )
        assert nes_lab.CompressionPlan.from_dict({k: v for k, v in answer.items() if k != "rows"}) == plan
        assert [row["name"] for row in answer["rows"]] == [row["name"] for row in plan.rows()]


def test_plan_desk_says_what_can_be_reached():
    desk = PlanDesk()
    question = SMALL | {"compression": {"madds": "60%", "round_to": 2}}
    region = desk.region(question)
    plan = desk.answer(question)
    assert region["dense"] == plan["dense"] and region["least"]["madds"] < plan["predicted"]["madds"]
    assert len(region["madds"]) == len(region["fewest_params"]) == len(region["most_params"])


def test_plan_desk_uses_weights_where_a_plan_needs_them():
    answer = PlanDesk().answer(SMALL | {"compression": {"madds": "75%", "strategy": "sensitivity", "round_to": 2}})
    assert "sensitivity" in answer["origin"]
    answer = PlanDesk().answer(SMALL | {"compression": {"preset": "both_axes"}})
    assert "both_axes" in answer["origin"]


def test_plan_desk_refuses_in_the_words_of_the_library():
    with pytest.raises(BudgetError, match="cannot be met") as refused:
        PlanDesk().answer(SMALL | {"compression": {"madds": "1%"}})
    assert 0 < refused.value.least.madds < refused.value.dense.madds
    with pytest.raises(OptionError, match=r"small_mobilenetv3.*Did you mean"):
        PlanDesk().answer(SMALL | {"backbone": {"name": "small_mobilenetv3"}, "compression": {"madds": "75%"}})


def test_plan_desk_surveys_a_network_once(monkeypatch: pytest.MonkeyPatch):
    made = []
    real = plans._survey
    monkeypatch.setattr(plans, "_survey", lambda source: made.append(source.name) or real(source))
    monkeypatch.setattr(plans, "NETWORKS_KEPT", 2)
    desk = PlanDesk()
    for name in (
        "small_mobilenetv2",
        "cifar_resnet20",
        "small_mobilenetv2",
        "cifar_resnet32",
        "small_mobilenetv2",
        "cifar_resnet20",
    ):
        question = {"backbone": {"name": name}, "input_shape": [3, 16, 16], "classes": 10}
        desk.answer(question | {"compression": {"madds": "75%", "round_to": 2}})
    assert made == ["small_mobilenetv2", "cifar_resnet20", "cifar_resnet32", "cifar_resnet20"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "vit_tiny_patch16_224",
        "swin_tiny_patch4_window7_224",
        "convnext_atto",
        "efficientnet_b0",
        "regnetx_002",
        "mixer_s32_224",
    ],
)
def test_plan_desk_without_weights_equals_a_plan_with_them(name: str):
    question = {"backbone": {"name": name}, "input_shape": [3, 224, 224], "classes": 1000}
    source = DenseSource(name)
    answer = PlanDesk().answer(question | {"compression": {"params": "70%"}})
    plan = nes_lab.plan_for_budget(source.make(), nes_lab.Budget(params="70%"), source.example())
    assert nes_lab.CompressionPlan.from_dict({k: v for k, v in answer.items() if k != "rows"}) == plan
