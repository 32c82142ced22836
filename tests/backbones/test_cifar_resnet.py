"""The CIFAR ResNets: their published sizes, their keys, and the accuracy of weights made elsewhere."""

from __future__ import annotations

import pytest
import torch

import nes_lab
from nes_lab.errors import OptionError
from tests.shared_data import reader


@pytest.mark.parametrize(
    ("layers", "thousands", "millions"), [(20, 270, 40.55), (32, 464, 68.86), (44, 659, 97.17), (56, 853, 125.49)]
)
def test_cifar_resnet_has_the_published_size(layers, thousands, millions):
    net = nes_lab.create_backbone(f"cifar_resnet{layers}")
    report = nes_lab.count(net, torch.randn(1, 3, 32, 32))
    assert round(report.params / 1e3) == thousands
    assert report.madds / 1e6 == pytest.approx(millions, abs=0.01)


def test_cifar_resnet_has_the_published_names():
    keys = set(nes_lab.create_backbone("cifar_resnet20").state_dict())
    assert {"conv1.weight", "bn1.weight", "layer1.0.conv1.weight", "layer3.2.bn2.running_var", "linear.bias"} <= keys
    assert not any("shortcut" in key or "downsample" in key for key in keys)


def test_cifar_resnet_takes_its_options():
    net = nes_lab.create_backbone("cifar_resnet20", num_classes=7, in_channels=1, width=0.5)
    assert net(torch.randn(2, 1, 15, 17)).shape == (2, 7) and net.conv1.out_channels == 8
    with pytest.raises(OptionError, match="width=0"):
        nes_lab.create_backbone("cifar_resnet20", width=0)


@pytest.mark.slow
def test_cifar_resnet_scores_what_was_published_with_published_weights():
    load = reader()
    net = nes_lab.create_backbone("cifar_resnet56").eval()
    net.load_state_dict({k: torch.from_numpy(v) for k, v in load.state_dict("cifar10_resnet56").items()})
    images, labels, _ = load.cifar10("test", limit=2000)
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    x = (torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255 - mean) / std
    with torch.no_grad():
        guesses = torch.cat([net(part).argmax(1) for part in x.split(250)])
    top1 = 100 * (guesses == torch.from_numpy(labels)).float().mean().item()
    assert top1 == pytest.approx(93.10, abs=0.11)  # measured; 93.39 on all 10,000, as published; two images of rounding


def test_channels_can_be_given_stage_by_stage() -> None:
    net = nes_lab.create_backbone("cifar_resnet14", num_classes=10, widths=(5, 11, 23))
    assert [layer.weight.shape[0] for layer in (net.conv1, net.layer2[0].conv1, net.layer3[1].conv2)] == [5, 11, 23]
    assert net(torch.randn(2, 3, 16, 16)).shape == (2, 10)


@pytest.mark.parametrize(
    "options", [{"widths": (5, 11)}, {"widths": (5, 11, 0)}, {"widths": (5, 11, 23), "width": 0.5}]
)
def test_channels_that_make_no_network_are_refused(options: dict) -> None:
    with pytest.raises(OptionError, match="widths="):
        nes_lab.create_backbone("cifar_resnet14", **options)
