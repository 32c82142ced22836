"""The network for raw sound, and that 1-D epitomes compress it."""

from __future__ import annotations

import pytest
import torch

from nes_lab.backbones.registry import create_backbone
from nes_lab.cost.count import count
from nes_lab.errors import OptionError
from nes_lab.nn.conv import EpitomeConv1d
from nes_lab.planning.planner import plan_for_budget
from nes_lab.records.budget import Budget
from nes_lab.surgery.replace import materialize, replace_layers


def m5(**options) -> torch.nn.Module:
    torch.manual_seed(0)
    return create_backbone("m5", in_channels=1, **options)


def test_m5_has_the_size_of_the_paper_up_to_the_linear_layer() -> None:
    """Convolutions 80x128 + 3x128x128 + 3x128x256 + 3x256x512, norms, and 512 x 10 + 10."""
    convolutions = 80 * 128 + 3 * 128 * 128 + 3 * 128 * 256 + 3 * 256 * 512
    norms = 2 * (128 + 128 + 256 + 512)
    assert count(m5(num_classes=10), torch.zeros(1, 1, 32000)).params == convolutions + norms + 5130


@pytest.mark.parametrize("length", [1024, 1025, 7999, 40000])
def test_m5_takes_any_length_from_1024_samples_on(length: int) -> None:
    net = m5(num_classes=4, width=0.125).eval()
    assert net(torch.randn(2, 1, length)).shape == (2, 4)


def test_m5_refuses_wrong_input() -> None:
    with pytest.raises(OptionError, match=r"clips of 1023 samples are too short for m5, which needs 1024"):
        m5()(torch.zeros(1, 1, 1023))
    with pytest.raises(OptionError, match=r"shape \(1, 1, 32, 32\): m5 takes sound"):
        m5()(torch.zeros(1, 1, 32, 32))
    with pytest.raises(OptionError, match=r"width=0"):
        m5(width=0)


def test_m5_compresses_trains_and_materializes() -> None:
    net, example = m5(num_classes=4, width=0.25), torch.zeros(1, 1, 2000)
    plan = plan_for_budget(net, Budget(params="50%"), example)
    small = replace_layers(net, plan, initial_weights="fit")
    assert any(isinstance(module, EpitomeConv1d) for module in small.modules())
    assert count(small, example).params <= 0.5 * count(net, example).params
    optimizer = torch.optim.SGD(small.parameters(), lr=0.02)
    x, y = torch.randn(8, 1, 2000), torch.arange(8) % 4
    losses = []
    for _ in range(6):
        loss = torch.nn.functional.cross_entropy(small(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]
    small.eval()
    plain = materialize(small)
    assert torch.allclose(plain(x), small(x), atol=1e-5)  # float32, one sum ordered otherwise
    assert not any(isinstance(module, EpitomeConv1d) for module in plain.modules())
