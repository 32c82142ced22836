"""A network and the global state are bit for bit as before, whatever the forward method does, and also after an error."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import nes_lab
from nes_lab.cost.global_state import SETTINGS
from nes_lab.cost.left_as_it_was import left_as_it_was
from nes_lab.errors import OptionError
from tests.whole_state import Restless, differences, global_state, state_of


@pytest.mark.parametrize("fails", [False, True])
def test_left_as_it_was_puts_back_network_input_and_global_state(fails: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    network, x = Restless(draws=True), torch.randn(2, 3, 8, 8)
    network.head.weight.grad = torch.ones_like(network.head.weight)
    monkeypatch.setattr(Restless, "fails_in", 1 if fails else None)
    before = state_of(network), state_of(x), global_state()  # type: ignore[arg-type]
    try:
        with left_as_it_was(network, [x]):
            network.eval()
            network(x)
            assert not torch.equal(x, x * 0)
    except RuntimeError:
        assert fails
    after = state_of(network), state_of(x), global_state()  # type: ignore[arg-type]
    assert [differences(b, a) for b, a in zip(before, after, strict=True)] == [[], [], []]


def test_the_restless_network_changes_all_that_is_compared() -> None:
    """If it did not, the test above would show nothing."""
    network, x = Restless(draws=True), torch.randn(2, 3, 8, 8)
    with left_as_it_was():  # for the global state alone
        before = state_of(network), state_of(x), global_state()  # type: ignore[arg-type]
        network.eval()
        network(x)
        after = state_of(network), state_of(x), global_state()  # type: ignore[arg-type]
    changed = [differences(b, a) for b, a in zip(before, after, strict=True)]
    for part in (
        "seen",
        "table",
        "calls",
        "history",
        "deep.calls",
        "flags",
        "state",
        "numbers",
        "meter.total",
        "draws",
    ):
        assert any(part in name for name in changed[0]), part
    for part in (
        "new_attribute",
        "proj",
        "training",
        "hooks",
        "weight.grad",
        "head._parameters.bias is",
        "running_mean",
    ):
        assert any(part in name for name in changed[0]), part
    assert changed[1]
    assert {"Python's random state", "numpy's random state", "torch's random state"} <= set(changed[2])
    assert {"deterministic", "threads", "warning filters", "environment"} <= set(changed[2])


@pytest.mark.parametrize("name", SETTINGS)
def test_left_as_it_was_puts_back_each_setting(name: str, tmp_path: Path) -> None:
    read, write = SETTINGS[name]
    before = read()
    other = {
        "default dtype": torch.float64,
        "deterministic algorithms": (True, True),
        "threads": before + 1 if isinstance(before, int) else None,
        "precision of products": "medium",
        "warning filters": [],
        "environment": {"A": "1"},
        "working directory": str(tmp_path),
    }.get(name, not before)
    with left_as_it_was():
        write(other)
        assert read() == other
    assert read() == before


def test_left_as_it_was_keeps_memory_formats_versions_and_inference_tensors() -> None:
    network = nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)
    with torch.inference_mode():
        network.register_buffer("made_there", torch.zeros(2))
    network.register_buffer("nan", torch.tensor([float("nan"), -0.0]))
    network.register_buffer("empty", torch.zeros(0))
    network.register_buffer("complex", torch.zeros(2, dtype=torch.complex128))
    versions, before = [network.weight._version, network.nan._version], state_of(network)
    with left_as_it_was(network):
        pass
    assert versions == [network.weight._version, network.nan._version], "a graph that was kept can still run backward"
    with left_as_it_was(network), torch.inference_mode():
        network.made_there += 1
        network.nan.copy_(torch.tensor([float("nan"), 0.0]))
        network.complex += 1j
        network.weight.data = network.weight.data.double()
    assert differences(before, state_of(network)) == []
    with torch.inference_mode(), left_as_it_was(network):
        network.made_there += 1
        network.nan.fill_(1.0)
    assert differences(before, state_of(network)) == []
    assert network.weight.is_contiguous(memory_format=torch.channels_last)


def test_left_as_it_was_puts_back_generators_that_a_network_owns() -> None:
    network = nn.Identity()
    network.own = [random.Random(0), np.random.default_rng(0), np.random.RandomState(0)]
    with left_as_it_was(network):
        drawn = [network.own[0].random(), network.own[1].random(), network.own[2].rand()]
    assert [network.own[0].random(), network.own[1].random(), network.own[2].rand()] == drawn


def test_a_layer_without_a_shape_is_named() -> None:
    with pytest.raises(OptionError, match="layer '0' is a LazyLinear, which has no shape yet; call the model once"):
        nes_lab.count(nn.Sequential(nn.LazyLinear(3)), torch.zeros(1, 2))
