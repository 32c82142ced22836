"""A batch is an input, or an input and its labels; a pair that may be two arguments of the model is not taken in silence."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

import nes_lab
from nes_lab.errors import OptionError
from nes_lab.fitting.calibration_batches import calibration_batches
from nes_lab.fitting.norm_statistics import reestimate_norms


class Masked(nn.Module):
    """Takes an input and a mask."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(2)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Normalize the input where the mask says so."""
        return self.norm(x * mask)


class MaybeMasked(Masked):
    """Takes an input, and perhaps a mask."""

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Normalize the input where the mask says so."""
        return super().forward(x, torch.ones_like(x) if mask is None else mask)


X, MASK, LABELS = torch.tensor([[1.0, 10.0], [3.0, 30.0]]), torch.zeros(2, 2), torch.zeros(2, dtype=torch.long)


def test_calibration_batches_refuses_a_pair_that_must_be_two_arguments():
    with pytest.raises(
        OptionError, match=r"Masked takes several arguments. For two arguments write \(\(a, b\), labels\)"
    ):
        reestimate_norms(Masked(), [(X, MASK)])
    for form in (((X, MASK), LABELS), ((X, MASK), None), {"x": X, "mask": MASK}):
        assert reestimate_norms(Masked(), [form]).norm.running_mean.tolist() == [0.0, 0.0]


def test_calibration_batches_warns_of_a_pair_that_may_be_two_arguments():
    with pytest.warns(UserWarning, match="only the first entry of each batch is used"):
        assert reestimate_norms(MaybeMasked(), [(X, MASK)]).norm.running_mean.tolist() == [2.0, 20.0]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        reestimate_norms(MaybeMasked(), [(X, LABELS)])
        reestimate_norms(nn.BatchNorm1d(2), [(X, MASK)])  # labels of a regression


def test_calibration_batches_refuses_a_tuple_of_tensors():
    with pytest.raises(OptionError, match="may be one batch or several"):
        list(calibration_batches("norms", (X, LABELS)))


@dataclass
class Batch:
    """An argument that is not a tensor."""

    x: Tensor


def test_fit_takes_the_arguments_that_plans_take():
    class Reads(nn.Sequential):
        def forward(self, batch: Batch) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
            return super().forward(batch.x)

    model, batch = Reads(nn.Linear(32, 32)), Batch(torch.randn(64, 32))
    plan = nes_lab.plan_for_budget(model, nes_lab.Budget(params="60%"), (batch,))
    _, report = nes_lab.fit(model, plan, calibration=[((batch,), None)], example_input=(batch,))
    assert report.verified and report.layers[0].error_after is not None
