"""torchvision's detection, segmentation and video networks, there and back."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import nes_lab
from nes_lab import Budget
from nes_lab.nn.conv import EpitomeConv3d
from nes_lab.nn.layer import EpitomeLayer
from nes_lab.zoo.random_weights import set_norms_
from tests.foreign_networks import numbers

pytest.importorskip("torchvision")
pytestmark = pytest.mark.slow
NO_WEIGHTS = {"weights": None, "weights_backbone": None}


def _there_and_back(model: nn.Module, x: Any, params: float = 0.7) -> nn.Module:
    """Plan, compress and count hold, and so does the materialized network's output."""
    model.eval()
    plan = nes_lab.plan_for_budget(model, Budget(params=params), x)
    small = nes_lab.compress(model, plan)
    report = nes_lab.count(small, x)
    assert (report.params, report.madds) == (plan.predicted.params, plan.predicted.madds)
    assert report.params <= params * plan.dense.params and report.madds < plan.dense.madds
    plain = nes_lab.materialize(small)
    assert plain.state_dict().keys() == model.state_dict().keys()
    assert [type(m) for m in plain.modules()] == [type(m) for m in model.modules()]
    with torch.no_grad():
        a, b = (numbers(net(*x) if isinstance(x, tuple) else net(x)) for net in (small, plain))
    assert sum(t.numel() for t in a) and [t.shape for t in a] == [t.shape for t in b]
    for s, t in zip(a, b, strict=True):
        assert torch.allclose(s, t, atol=1e-3 * max(1.0, float(t.abs().max()) if t.numel() else 0.0))
    return small


def _reaches_all(small: nn.Module, loss: torch.Tensor) -> None:
    loss.backward()
    lacking = [n for n, m in small.named_modules() if isinstance(m, EpitomeLayer) and m.epitome.grad is None]
    assert not lacking


@pytest.mark.parametrize(
    "name",
    ["fasterrcnn_mobilenet_v3_large_320_fpn", "ssdlite320_mobilenet_v3_large"],
)
def test_detection(name):
    from torchvision.models import detection

    torch.manual_seed(0)
    model = getattr(detection, name)(**NO_WEIGHTS, num_classes=5)
    images = [torch.rand(3, 160, 160), torch.rand(3, 120, 160)]
    set_norms_(model.eval(), images)
    model, images = (
        model.double(),
        [image.double() for image in images],
    )  # in float32, rounding decides between equal boxes
    small = _there_and_back(model, (images,)).train()
    target = {"boxes": torch.tensor([[10.0, 10.0, 80.0, 90.0]], dtype=torch.float64), "labels": torch.tensor([1])}
    losses = small(images, [target, target])
    assert all(bool(loss.isfinite()) for loss in losses.values())
    _reaches_all(small, sum(losses.values()))


@pytest.mark.parametrize("name", ["lraspp_mobilenet_v3_large", "deeplabv3_mobilenet_v3_large"])
def test_segmentation(name):
    from torchvision.models import segmentation

    torch.manual_seed(0)
    model = getattr(segmentation, name)(**NO_WEIGHTS, num_classes=5)
    x = torch.randn(1, 3, 96, 96)
    set_norms_(model.eval(), torch.randn(2, 3, 96, 96))
    small = _there_and_back(model, x).train()
    _reaches_all(small, small(torch.randn(2, 3, 96, 96))["out"].square().mean())


def test_video():
    """Its convolutions are subclasses that only set arguments."""
    from torchvision.models.video import r3d_18

    torch.manual_seed(0)
    model, x = r3d_18(weights=None, num_classes=5), torch.randn(1, 3, 4, 32, 32)
    set_norms_(model.eval(), torch.randn(2, 3, 4, 32, 32))
    small = _there_and_back(model, x)
    assert isinstance(small.layer1[0].conv1[0], EpitomeConv3d)
