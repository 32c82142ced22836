"""A plan's advice: only what a measured row supports, with its numbers, and nothing where the plan already follows it."""

from __future__ import annotations

import pytest
import torch

import nes_lab
from nes_lab.planning import advice
from nes_lab.planning.advice import ONE_EPITOME
from nes_lab.records.compression_plan import CompressionPlan
from nes_lab.records.measured_accuracy import measured


def rows(contender: str, *top1: float, kind: str = "residual", quantity: str = "stored_bytes", share: float = 0.05):
    """Return the rows of a narrower network and of epitomes, trained with the same seeds."""
    same = {"network": "ResNet-14", "data": "CIFAR-10", "epochs": 12, "status": "study cpu", "seeds": [0, 1, 2]}
    same |= {"kind": kind, "quantity": quantity, "share": share}
    return same | {"contender": "width", "top1": [65.0, 60.0, 70.0]}, same | {"contender": contender, "top1": [*top1]}


def storage_plan(share: str, budget: str = "6%") -> CompressionPlan:
    dense, x = nes_lab.create_backbone("cifar_resnet20", num_classes=10), torch.zeros(1, 3, 32, 32)
    return nes_lab.plan_for_budget(dense, nes_lab.Budget(stored_bytes=budget), x, share=share, windows=2)


@pytest.mark.parametrize(
    ("top1", "says", "if_shared"),
    [  # the seeds of the narrower network are far apart: only differences seed by seed tell the two apart
        ((67.0, 62.1, 71.9), "try one epitome for all layers (share='network', windows=2): it was better than a narrower network by "
         "2.0 points of top-1 (95 % interval 1.8 to 2.2), measured at 5 % of the bytes of ResNet-14 on CIFAR-10 (12 epochs, 3 seeds each)",
         False),
        ((66.0, 61.0, 69.0), "level within ±3.2 points", True),
        ((63.0, 58.1, 67.9), "a narrower network was better than one epitome for all layers (share='network', windows=2) by 2.0 points",
         True),
    ],
)  # fmt: skip
def test_a_storage_budget_is_compared_seed_by_seed(
    top1: tuple[float, ...], says: str, if_shared: bool, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(advice, "measured", lambda: rows(ONE_EPITOME, *top1))
    plan = storage_plan("stage")
    (sentence,) = plan.advice
    assert says in sentence and sentence.startswith("for 6")
    assert sentence in str(plan) and nes_lab.CompressionPlan.from_json(plan.to_json()) == plan
    assert bool(storage_plan("network").advice) is if_shared
    assert storage_plan("stage", "30%").advice == ()


def test_one_training_each_recommends_no_epitome(monkeypatch: pytest.MonkeyPatch):
    one_seed = [row | {"top1": row["top1"][:1], "seeds": [0]} for row in rows(ONE_EPITOME, 75.0)]
    for found in (one_seed, [{k: v for k, v in row.items() if k != "seeds"} for row in rows(ONE_EPITOME, 75, 75, 75)]):
        monkeypatch.setattr(advice, "measured", lambda found=found: tuple(found))
        assert storage_plan("stage").advice == ()


def test_rows_of_the_study_have_their_seeds():
    for row in measured():
        assert row["status"] == "first look" or len(set(row["seeds"])) == len(row["top1"]) > 1


def test_a_thin_network_of_depthwise_convolutions_is_advised_to_be_narrower(monkeypatch: pytest.MonkeyPatch):
    dense, x = nes_lab.create_backbone("small_mobilenetv2"), torch.zeros(1, 3, 16, 16)
    budget = nes_lab.Budget(madds="50%")
    (sentence,) = nes_lab.plan_for_budget(dense, budget, x, round_to=1).advice
    assert "a narrower network without epitomes" in sentence and any(row["kind"] == "depthwise" for row in measured())
    assert "measured at 50 % of the MAdds of MobileNetV2 on CIFAR-10 at 24 px" in sentence
    monkeypatch.setattr(advice, "measured", lambda: ())
    assert nes_lab.plan_for_budget(dense, budget, x, round_to=1).advice == ()


@pytest.mark.parametrize(
    ("top1", "says"),
    [
        ((63.0, 58.1, 67.9), "without epitomes was better than tiled epitomes by 2.0 points of top-1 (95 % interval 1.8"),
        ((66.0, 61.0, 69.0), "a narrower network without epitomes and tiled epitomes are level within ±3.2 points"),
        ((67.0, 62.1, 71.9), ""),
    ],
)  # fmt: skip
def test_a_thin_network_is_compared_seed_by_seed(top1: tuple[float, ...], says: str, monkeypatch: pytest.MonkeyPatch):
    found = rows("tiled epitomes", *top1, kind="depthwise", quantity="madds", share=0.5)
    monkeypatch.setattr(advice, "measured", lambda: found)
    dense, x = nes_lab.create_backbone("small_mobilenetv2"), torch.zeros(1, 3, 16, 16)
    sentences = nes_lab.plan_for_budget(dense, nes_lab.Budget(madds="50%"), x, round_to=1).advice
    assert len(sentences) == bool(says) and says in "".join(sentences)


def test_a_network_that_only_other_contenders_were_tried_on_is_not_advised_to_share(monkeypatch: pytest.MonkeyPatch):
    others = [row | {"contender": row["contender"].replace(ONE_EPITOME, "other")} for row in measured()]
    monkeypatch.setattr(advice, "measured", lambda: tuple(others))
    assert storage_plan("stage").advice == ()


@pytest.mark.parametrize(
    ("top1", "tiled", "free"),
    [
        ((63.0, 58.1, 67.9), "a narrower network was better than tiled epitomes on both axes by 2.0", "a narrower network was better"),
        ((66.0, 61.0, 69.0), "are level within ±3.2 points of top-1, measured at 50 % of the MAdds", "The narrower network trains faster"),
        ((67.0, 62.1, 71.9), "", "try routing='tiled' and wiring='both_axes': it was better than a narrower network by 2.0 points"),
    ],
)  # fmt: skip
def test_a_resnet_for_fewer_multiply_adds_is_compared_seed_by_seed(
    top1: tuple[float, ...], tiled: str, free: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(advice, "measured", lambda: rows(advice.TILED, *top1, quantity="madds", share=0.5))
    dense, x = nes_lab.create_backbone("cifar_resnet20", num_classes=10), torch.zeros(1, 3, 32, 32)
    for routing, says in (("tiled", tiled), ("free", free)):
        sentences = nes_lab.plan_for_budget(dense, nes_lab.Budget(madds="50%"), x, routing=routing).advice
        assert len(sentences) == bool(says) and says in "".join(sentences)
    one_axis = nes_lab.plan_for_budget(dense, nes_lab.Budget(madds="50%"), x, wiring="input_axis").advice
    assert free in "".join(one_axis)  # both axes were measured
    assert nes_lab.plan_for_budget(dense, nes_lab.Budget(madds="80%"), x).advice == ()  # no row is near
    linear = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.Linear(64, 64))
    assert nes_lab.plan_for_budget(linear, nes_lab.Budget(madds="50%"), torch.zeros(1, 64)).advice == ()
