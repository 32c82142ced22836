"""A pair in a list of batches: an input with its labels, or two arguments that someone wrote in the wrong form."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import nes_lab
from nes_lab.cost.batch_pair import check_pair
from nes_lab.errors import OptionError

X, LABELS = torch.randn(16, 32), torch.arange(16) % 4
MASK = torch.zeros(16, 64)


class Masked(nn.Module):
    """Its second argument is optional, so a call without it runs and means something else."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(32, 64), nn.Linear(64, 4)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        hidden = torch.relu(self.a(x))
        return self.b(hidden if mask is None else hidden * mask)


class Needy(Masked):
    def forward(self, x: Tensor, mask: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        return super().forward(x, mask)


def takes(forward: Callable[..., Tensor]) -> nn.Module:
    return type("Takes", (nn.Module,), {"forward": forward})()


def fit(net: nn.Module, batches: list[object]) -> None:
    plan = nes_lab.plan_for_budget(net, nes_lab.Budget(params="60%"), (X, MASK))
    nes_lab.fit(net, plan, calibration=batches)


def squared(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs - targets.reshape(len(targets), -1)).square().mean()


@pytest.mark.parametrize(
    ("use", "second"),
    [
        (fit, MASK),
        (lambda net, batches: nes_lab.reestimate_norms(net, batches), MASK),
        (lambda net, batches: nes_lab.evaluate(net, batches[0], loss=squared), torch.zeros(16, 4)),
        (
            lambda net, batches: nes_lab.measure_sensitivity(net, X, calibration=batches, loss=squared, ratios=(0.5,)),
            torch.zeros(16, 4),
        ),
    ],
    ids=["fit", "reestimate_norms", "evaluate", "measure_sensitivity"],
)
def test_check_pair_says_once_how_a_mask_in_a_batch_is_read(use, second) -> None:
    with pytest.warns(UserWarning, match="though its forward also takes mask=; the others count as labels") as told:
        use(Masked().eval(), [(X, second), (X, second)])
    assert len(told) == 1 and told[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        use(Masked().eval(), [(X, LABELS)])
    with pytest.raises(OptionError, match="Needy takes several arguments"):
        use(Needy().eval(), [(X, second)])


@pytest.mark.parametrize(
    ("forward", "second", "warns"),
    [
        (lambda self, x, lengths=None: x, LABELS, True),
        (lambda self, ids, attention_mask=None: ids, torch.ones(16, 8, dtype=torch.long), True),
        (lambda self, x, attn_mask=None: x, LABELS, False),  # timm's vision transformers
        (lambda self, x, features=False: x, LABELS, False),
        (lambda self, images, targets=None: images, LABELS, False),
        (lambda self, x: x, MASK, False),
        (lambda self, *x: x, MASK, False),
    ],
    ids=["lengths", "tokens", "timm", "switch", "targets", "one", "any"],
)
def test_check_pair_warns_only_if_the_second_may_be_an_argument(forward, second: Tensor, warns: bool) -> None:
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        check_pair("norms", (X, second), takes(forward))
        assert bool(told) == warns
        told.clear()
        list(nes_lab.fitting.calibration_batches.calibration_batches("norms", [((X,), second)], takes(forward)))
        assert not told
