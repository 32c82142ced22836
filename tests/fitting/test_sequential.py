"""A fit layer after layer: each layer corrects the errors of the layers before it."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

import nes_lab
from nes_lab.errors import OptionError
from nes_lab.fitting.sequential_moments import dense_outputs, sequential_moments
from tests.fitting.networks import ONE_CHANNEL, batches, full_size_plan, network, output_error, plan


def silent(event) -> None:
    pass


def deep_network() -> nn.Sequential:
    """Convolutions with norms, enough for errors to add up."""
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for channels in (3, 16, 16, 16, 16):
        layers += [nn.Conv2d(channels, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU()]
    net = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10))
    return nes_lab.reestimate_norms(net, batches(2, seed=5)).eval()


def test_each_layer_corrects_the_errors_of_the_layers_before_it():
    net, x, unseen = deep_network(), batches(4), torch.cat(batches(1, seed=9))
    small = nes_lab.plan_for_budget(net, nes_lab.Budget(params="50%"), x[0][:1], **ONE_CHANNEL)
    options = {"search_starts": True, "calibration": x}
    at_once, in_turn = (nes_lab.fit(net, small, sequential=s, **options)[0] for s in (False, True))
    assert output_error(net, in_turn, unseen) < 0.8 * output_error(net, at_once, unseen)


FLAT = {"scope": "flat", "routing": "free", "patch_channels": (1, 1), "snap": True}


def test_flat_epitomes_are_fitted_layer_after_layer_too():
    net, x, unseen = deep_network(), batches(4), torch.cat(batches(1, seed=9))
    small = nes_lab.plan_for_budget(net, nes_lab.Budget(params="35%"), x[0][:1], **FLAT)
    options = {"search_starts": True, "calibration": x}
    (at_once, _), (in_turn, report) = (nes_lab.fit(net, small, sequential=s, **options) for s in (False, True))
    assert output_error(net, in_turn, unseen) < 0.7 * output_error(net, at_once, unseen)
    assert all(layer.error_after < layer.error_before for layer in report.layers)


def test_norms_get_the_variance_of_their_new_inputs():
    """Norms that are measured again on the same batches then change little, though least squares shrink what a layer puts out."""
    x = batches(4)
    net = nes_lab.reestimate_norms(deep_network(), x)
    small = nes_lab.plan_for_budget(net, nes_lab.Budget(params="30%"), x[0][:1], **ONE_CHANNEL)
    student, _ = nes_lab.fit(net, small, search_starts=True, calibration=x, sequential=True)
    again = nes_lab.reestimate_norms(student, x)
    for index in (1, 4, 7, 10):
        assert torch.allclose(student[index].running_var, again[index].running_var, rtol=0.15)


def test_the_target_is_the_regression_of_dense_outputs_on_the_inputs_of_the_compressed_network():
    """Least squares over the rows of the unfolded inputs, with the damping as further rows that lead back to the dense weight."""
    net, x = network(), batches(2)
    student = copy.deepcopy(net)
    with torch.no_grad():
        student[0].weight[:8] *= 0.3
    outputs = dense_outputs(net, ["3", "9"], x, silent)
    sums = sequential_moments(student, net, "3", x, outputs["3"])
    z, y = (torch.cat([_unfold(m, b) for b in x]) for m in (student, net))
    y = y @ net[3].weight.detach().double().flatten(1).T
    z, y = z - z.mean(0), y - y.mean(0)
    target, moment = sums.target(net[3].weight.detach().double(), centered=True)
    damping = float((moment - z.T @ z / len(z)).diagonal().mean()) * len(z)
    rows = torch.cat([z, damping**0.5 * torch.eye(z.shape[1], dtype=z.dtype)])
    wanted = torch.cat([y, damping**0.5 * net[3].weight.detach().double().flatten(1).T])
    expected = torch.linalg.lstsq(rows, wanted).solution.T
    assert torch.allclose(target.flatten(1), expected, atol=1e-4)
    assert (
        float((target - net[3].weight.detach()).norm() / net[3].weight.detach().norm()) > 0.05
    )  # the errors of layer 0 are corrected


def _unfold(net: nn.Sequential, x: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        windows = nn.functional.unfold(net[:3](x), 3, padding=1, stride=2)
    return windows.movedim(1, 2).flatten(0, 1).double()


def test_in_the_dense_network_the_target_is_the_dense_weight():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(4, 6, 3, groups=2), nn.ReLU(), nn.Conv2d(6, 5, 1), nn.Flatten(2), nn.Linear(36, 3))
    x = [torch.randn(4, 4, 8, 8), torch.randn(3, 4, 8, 8)]
    names = ["0", "2", "4"]
    outputs = dense_outputs(net, names, x, silent)
    for name in names:
        sums, weight = (
            sequential_moments(net, net, name, x, outputs[name]),
            net.get_submodule(name).weight.detach().double(),
        )
        for centered in (False, True):
            assert torch.allclose(sums.target(weight, centered)[0], weight, atol=1e-4)


def test_layers_are_fitted_in_the_order_of_their_calls_and_reported_in_the_order_of_the_plan():
    class Reversed(nn.Module):
        def __init__(self):
            super().__init__()
            self.last, self.first = nn.Linear(16, 16), nn.Linear(16, 16)

        def forward(self, x):
            return self.last(self.first(x).relu())

    torch.manual_seed(0)
    net, fitted = Reversed(), []
    small = nes_lab.plan_for_budget(net, nes_lab.Budget(params="60%"), torch.zeros(1, 16), **ONE_CHANNEL)
    options = {"calibration": iter([torch.randn(64, 16)]), "search_starts": True, "sequential": True}
    _, report = nes_lab.fit(net, small, **options, on_progress=lambda e: fitted.append(e["label"]))
    assert [label for label in fitted if label in ("last", "first")] == ["first", "last"]
    assert [layer.name for layer in report.layers] == list(small.layers) == ["last", "first"]
    assert report.calibration_batches == 1


def test_a_sequential_fit_changes_nothing_if_epitomes_are_as_large_as_weights():
    net, x = network(), batches()
    before = copy.deepcopy(net.state_dict())
    student, _ = nes_lab.fit(net, full_size_plan("tiled"), calibration=x, sequential=True, verify=False)
    assert output_error(net, student, x[0]) < 1e-4
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    assert not any(module._forward_pre_hooks for both in (net, student) for module in both.modules())


def test_a_sequential_fit_that_is_not_possible_is_refused():
    net, x = network(), batches(1)
    with pytest.raises(OptionError, match="sequential=True needs calibration"):
        nes_lab.fit(net, plan(), sequential=True)
    with pytest.raises(OptionError, match="sequential=1; give True or False"):
        nes_lab.fit(net, plan(), calibration=x, sequential=1)
    options = {"share": "network", "windows": 2, "routing": "random"}
    shared = nes_lab.plan_for_budget(net, nes_lab.Budget(params="20%"), x[0][:1], **options)
    with pytest.raises(OptionError, match=r"layers '0' and '3' share an epitome"):
        nes_lab.fit(net, shared, calibration=x, sequential=True)


def test_a_layer_that_gets_other_inputs_in_the_compressed_network_is_named():
    class Picky(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(16, 16), nn.Linear(16, 16)
            self.seen = None

        def forward(self, x):
            y = self.first(x)
            kept = isinstance(self.first, nn.Linear)
            return self.second(y if kept else y[:2])

    net = Picky()
    small = nes_lab.plan_for_budget(net, nes_lab.Budget(params="60%"), torch.zeros(1, 16), **ONE_CHANNEL)
    with pytest.raises(OptionError, match="layer 'second' gets inputs of another shape"):
        nes_lab.fit(net, small, calibration=[torch.randn(64, 16)], sequential=True)
