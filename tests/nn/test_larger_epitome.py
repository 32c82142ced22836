"""An epitome that stores more than its weight is told, wherever it is asked for, and only where it can be helped."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import nn

import nes_lab
from nes_lab import Budget, CompressionPlan

X = torch.zeros(1, 8, 6, 6)
LARGE = {"epitome_shape": (8, 8, 5, 5)}
SAYS = r"the epitome \(8, 8, 5, 5\) has 1,600 cells, more than the 576 numbers of the weight \(8, 8, 3, 3\).*2\.8 times"


def network() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(8, 8, 3), nn.Conv2d(8, 8, 3))


@pytest.mark.parametrize(
    "make",
    [
        lambda: nes_lab.EpitomeConv2d(8, 8, 3, **LARGE),
        lambda: nes_lab.EpitomeConv2d.from_conv(nn.Conv2d(8, 8, 3), **LARGE),
    ],
    ids=["made", "from_conv"],
)
def test_epitome_layer_warns_of_an_epitome_larger_than_its_weight(make) -> None:
    with pytest.warns(UserWarning, match=SAYS) as told:
        make()
    assert [warning.filename for warning in told] == [__file__]
    with pytest.warns(UserWarning, match=r"more than the 16 numbers of the weight \(4, 4\)"):
        nes_lab.EpitomeLinear.from_linear(nn.Linear(4, 4), epitome_shape=(4, 8))


def test_compress_warns_of_a_larger_epitome_and_its_plan_notes_it(tmp_path) -> None:
    plan = nes_lab.plan_for_budget(network(), Budget(params=10**6), X, overrides={"0": LARGE}, round_to=1)
    assert [note for note in plan.notes if note.startswith("layer '0': the epitome (8, 8, 5, 5) has 1,600 cells")]
    with pytest.warns(UserWarning, match=f"layer '0': {SAYS}") as told:
        small = nes_lab.compress(network(), plan)
    assert [warning.filename for warning in told] == [__file__]
    with warnings.catch_warnings():  # what is saved can no longer be helped
        warnings.simplefilter("error")
        nes_lab.save_pretrained(small, tmp_path / "small", plan=plan)
        nes_lab.from_pretrained(tmp_path / "small", model=network())


def test_compress_does_not_warn_of_a_shared_epitome_that_is_smaller_than_its_weights() -> None:
    plan = nes_lab.plan_for_budget(network(), Budget(params=10**6), X, overrides={"*": {"epitome_shape": (8, 8, 4, 4)}})
    data = plan.to_dict()
    data["layers"]["1"]["reads"] = "0"
    shared = CompressionPlan.from_dict(data)  # 1,024 cells, read by two weights of 576 numbers
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        small = nes_lab.compress(network(), shared, verify=False)  # its counts are those of two epitomes
    assert small[0].epitome is small[1].epitome
