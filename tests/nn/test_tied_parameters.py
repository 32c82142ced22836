"""An epitome that layers share stays one parameter where torch makes new parameters."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from nes_lab.errors import OptionError
from tests.shared_epitomes import owners, shared_net

LAYERS = (0, 2, 7)
"""Places of the layers that share an epitome."""


def meta_net() -> nn.Module:
    return copy.deepcopy(shared_net()).to("meta")


def is_tied(net: nn.Module) -> bool:
    """One epitome, which is listed once and has values for gradients of all layers."""
    listed = [name for name, _ in net.named_parameters() if name.endswith("epitome")]
    return owners(net) == 1 and listed == ["0.epitome"]


@pytest.mark.parametrize("share", ["network", "stage"])
def test_empty_network_from_the_meta_device_stays_tied_and_takes_a_state_dict(share: str) -> None:
    source = shared_net("free", share)
    empty = copy.deepcopy(source).to("meta").to_empty(device="cpu")
    assert owners(empty) == owners(source) and len(list(empty.parameters())) == len(list(source.parameters()))
    for parameter in empty.parameters():
        nn.init.constant_(parameter, torch.nan)
    empty.load_state_dict(source.state_dict())
    x = torch.randn(2, 1, 8, 8)
    torch.testing.assert_close(empty.eval()(x), source.eval()(x), rtol=0, atol=0)
    for later in (copy.deepcopy(empty), copy.deepcopy(empty).double(), copy.deepcopy(empty).to("meta").half()):
        assert owners(later) == owners(source)


def test_training_after_to_empty_changes_all_layers() -> None:
    net = meta_net().to_empty(device="cpu")
    net.load_state_dict(shared_net().state_dict())
    net(torch.randn(4, 1, 8, 8)).square().sum().backward()
    torch.optim.SGD(net.parameters(), lr=0.1).step()
    assert is_tied(net) and all(torch.equal(net[i].epitome, net[0].epitome) for i in LAYERS)


def test_layers_moved_one_by_one_from_the_meta_device_stay_tied() -> None:
    """As wrappers do that give each module memory in turn."""
    net = meta_net()
    for module in net.modules():
        module.to_empty(device="cpu", recurse=False)
    assert is_tied(net) and not net[0].epitome.is_meta


def test_layers_moved_to_different_dtypes_are_refused() -> None:
    net = meta_net()
    net[0].to_empty(device="cpu")
    net[2].double()  # on the meta device a dtype changes in place, for all layers that are still there
    with pytest.raises(
        OptionError, match=r"epitome: layers share this parameter.* on cpu with torch\.float32.*network\.to_empty"
    ):
        net[7].to_empty(device="cpu")


def test_two_copies_from_the_meta_device_are_not_tied_to_each_other() -> None:
    net = meta_net()
    first, second = copy.deepcopy(net).to_empty(device="cpu"), copy.deepcopy(net).to_empty(device="cpu")
    assert is_tied(first) and is_tied(second) and first[0].epitome is not second[0].epitome


def test_conversions_that_overwrite_parameters_keep_the_tie_and_the_gradient() -> None:
    net = shared_net()
    net(torch.randn(4, 1, 8, 8)).square().sum().backward()
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    try:
        net.double()
    finally:
        torch.__future__.set_overwrite_module_params_on_conversion(False)
    assert is_tied(net) and net[7].epitome.dtype == net[7].epitome.grad.dtype == torch.float64


def test_assigned_state_dict_keeps_the_tie_and_must_agree_with_itself() -> None:
    source, net = shared_net(), meta_net()
    net.load_state_dict(source.state_dict(), assign=True)
    assert is_tied(net) and torch.equal(net[7].epitome, source[0].epitome)
    state = source.state_dict()
    state["7.epitome"] = state["7.epitome"] + 1
    with pytest.raises(
        RuntimeError, match=r"7\.epitome: layers share this parameter, but the state dict has different"
    ):
        meta_net().load_state_dict(state, assign=True)
