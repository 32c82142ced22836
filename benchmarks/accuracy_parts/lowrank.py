"""Make a network whose convolutions are split into three: 1x1 to few channels, the usual kernel, 1x1 back (a Tucker factorization).

The network is trained from scratch in this form. Stem and classifier stay dense, as they do with epitomes. Nothing stands between the
three, so they compute one convolution of low rank. Every layer keeps about the same share of its channels.

Source: the form of Kim et al., *Compression of deep convolutional neural networks*, ICLR 2016; the code is our own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

import nes_lab
from nes_lab.errors import BudgetError, OptionError

__all__ = ["network"]


def network(
    backbone: str,
    madds: str,
    input_shape: tuple[int, ...],
    num_classes: int = 10,
    in_channels: int = 3,
    options: Mapping[str, Any] | None = None,
) -> nn.Module:
    """Return a backbone with split convolutions that needs at most a share of its multiply-adds.

    Args:
        backbone: Name of the backbone.
        madds: Share of the backbone's multiply-adds, such as ``"25%"``.
        input_shape: Shape of one input, without the batch axis.
        num_classes: Number of outputs.
        in_channels: Channels of the input.
        options: Options of the backbone.

    Raises:
        OptionError: If ``madds`` is not a share.
        BudgetError: If no layer can be split that far.

    Examples:
        >>> small = network("cifar_resnet14", "25%", (3, 32, 32))
        >>> [part.out_channels for part in small.layer3[1].conv1]
        [24, 24, 64]
    """
    if not madds.endswith("%"):
        raise OptionError(f"madds={madds!r}: give a share of the dense network, such as '25%'")
    made = nes_lab.create_backbone(backbone, num_classes=num_classes, in_channels=in_channels, **dict(options or {}))
    x = torch.zeros(1, *input_shape)
    positions = _positions(made, x)
    dense = sum(layer.weight.numel() * positions[name] for name, layer in _layers(made).items())
    total = nes_lab.count(made, x).madds
    room = float(madds[:-1]) / 100 * total - (total - dense)
    for name, rank in _ranks(_layers(made), positions, room, f"madds={madds!r} of {backbone}").items():
        made.set_submodule(name, _split(_layers(made)[name], rank))
    return made


def _layers(made: nn.Module) -> dict[str, nn.Conv2d]:
    """Return the convolutions that are split: all with a kernel above 1x1 but the first."""
    found = {name: m for name, m in made.named_modules() if isinstance(m, nn.Conv2d) and m.kernel_size != (1, 1)}
    return dict(list(found.items())[1:])


def _positions(made: nn.Module, x: torch.Tensor) -> dict[str, int]:
    """Return the output positions of each layer that is split."""
    found: dict[str, int] = {}
    hooks = [
        layer.register_forward_hook(lambda _m, _i, out, name=name: found.update({name: out[0, 0].numel()}))
        for name, layer in _layers(made).items()
    ]
    mode = made.training
    with torch.no_grad():
        made.eval()(x)
    made.train(mode)
    for hook in hooks:
        hook.remove()
    return found


def _ranks(layers: Mapping[str, nn.Conv2d], positions: Mapping[str, int], room: float, what: str) -> dict[str, int]:
    """Raise the rank of the layer with the smallest share of its channels, one at a time, as long as it fits."""
    ranks = dict.fromkeys(layers, 1)
    used = sum(_madds(layer, 1, positions[name]) for name, layer in layers.items())
    if used > room:
        raise BudgetError(f"{what}: with one channel in each layer, too many multiply-adds are left")
    growing = set(layers)
    while growing:
        name = min(sorted(growing), key=lambda n: ranks[n] / min(layers[n].in_channels, layers[n].out_channels))
        layer, rank = layers[name], ranks[name]
        more = _madds(layer, rank + 1, positions[name]) - _madds(layer, rank, positions[name])
        if used + more <= room and rank < min(layer.in_channels, layer.out_channels):
            ranks[name], used = rank + 1, used + more
        else:
            growing.remove(name)
    return ranks


def _madds(layer: nn.Conv2d, rank: int, positions: int) -> int:
    """Return the multiply-adds of a split layer, whose first part runs at all input positions."""
    first = layer.in_channels * rank * positions * math.prod(layer.stride)
    return first + positions * rank * (rank * math.prod(layer.kernel_size) + layer.out_channels)


def _split(layer: nn.Conv2d, rank: int) -> nn.Sequential:
    """Return the three convolutions, with the variance of outputs that the usual start gives."""
    parts = nn.Sequential(
        nn.Conv2d(layer.in_channels, rank, 1, bias=False),
        nn.Conv2d(rank, rank, layer.kernel_size, layer.stride, layer.padding, bias=False),  # type: ignore[arg-type]
        nn.Conv2d(rank, layer.out_channels, 1, bias=False),
    )
    assert layer.bias is None  # the backbones of the study have a norm after each
    for part, gain in zip(parts, (2.0, 1.0, 1.0), strict=True):
        assert isinstance(part, nn.Conv2d)  # all three are
        nn.init.normal_(part.weight, std=math.sqrt(gain / (part.in_channels * math.prod(part.kernel_size))))
    return parts
