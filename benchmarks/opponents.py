"""Opponents: other ways to make a network cheaper, each brought to the cost of an epitome network by bisection.

Their weights are random, because the speed does not depend on them. ``torch_pruning`` and ``tltorch`` come with the extra
``bench`` and are imported when they are used.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from nes_lab.cost.count import count, stored_params

__all__ = ["bisect", "factorized_layer", "narrower", "pruned", "randomize_norms", "wide_network"]


def bisect(
    build: Callable[[float], nn.Module], cost: Callable[[nn.Module], int], target: float, low: float, high: float
) -> nn.Module:
    """Search by bisection for the network whose cost is nearest to ``target``.

    Args:
        build: A function from a number to a network; a larger number must not give a cheaper network.
        cost: A function that returns the cost of a network.
        target: The cost to come near to.
        low: Smallest number to try.
        high: Largest number to try.

    Returns:
        The nearest of the networks that were built. The caller checks how near it is.
    """
    best, best_gap = None, float("inf")
    for _ in range(9):
        middle = (low + high) / 2
        network = build(middle)
        gap = cost(network) - target
        if abs(gap) < best_gap:
            best, best_gap = network, abs(gap)
        if best_gap <= 0.002 * target:
            break
        low, high = (middle, high) if gap < 0 else (low, middle)
    assert best is not None  # the first step always builds one
    return best


def wide_network(name: str, width: float = 1.0) -> nn.Module:
    """Return timm's ``resnet50`` or ``mobilenetv2_100`` with all widths except the stem's scaled, in multiples of 8 channels."""
    import timm
    from timm.models.efficientnet import _gen_mobilenet_v2

    if name == "mobilenetv2_100":
        return _gen_mobilenet_v2(name, width)
    if name == "resnet50":
        channels = tuple(max(8, round(c * width / 8) * 8) for c in (64, 128, 256, 512))
        return timm.create_model(name, channels=channels, zero_init_last=False)
    raise ValueError(f"name={name!r}: only resnet50 and mobilenetv2_100 can be given a width")


def narrower(name: str, madds: float, x: Tensor) -> nn.Module:
    """Return the same architecture with fewer channels (a width multiplier), of about ``madds`` multiply-adds for ``x``."""
    return bisect(lambda width: wide_network(name, width), lambda m: count(m, x).madds, madds, 0.2, 1.0)


def pruned(dense: nn.Module, madds: float, x: Tensor) -> nn.Module:
    """Remove the channels of smallest norm, the same share from every group, by Torch-Pruning; keep all outputs of the classifier.

    Source: Fang et al., *DepGraph*, CVPR 2023; ``BasePruner`` with ``GroupMagnitudeImportance``.
    """
    return bisect(lambda kept: _prune(dense, 1.0 - kept), lambda m: count(m, x).madds, madds, 0.1, 1.0)


def _prune(dense: nn.Module, ratio: float) -> nn.Module:
    import torch_pruning as tp

    model = copy.deepcopy(dense).eval().requires_grad_(True)  # dependencies are traced through the graph of gradients
    example = torch.randn(1, 3, 64, 64)  # the groups of channels do not depend on the image size
    tp.pruner.BasePruner(
        model,
        example,
        importance=tp.importance.GroupMagnitudeImportance(),
        pruning_ratio=ratio,
        ignored_layers=[model.get_classifier()],  # type: ignore[operator]
        round_to=8,
    ).step()
    return model.requires_grad_(False)


def factorized_layer(conv: nn.Conv2d, params: float, factorization: str) -> nn.Module:
    """Return a tensorly-torch layer of about ``params`` params: ``tucker`` with equal ranks of the channel axes, or ``cp``."""
    ends = conv.in_channels + conv.out_channels
    limit = conv.weight.numel() // ends if factorization == "cp" else max(conv.in_channels, conv.out_channels)
    return bisect(lambda rank: _factorize(conv, round(rank), factorization), stored_params, params, 1, limit)


def _factorize(conv: nn.Conv2d, rank: int, factorization: str) -> nn.Module:
    import tltorch

    ranks: Any = rank if factorization == "cp" else (rank, rank, *conv.kernel_size)
    layer = tltorch.FactorizedConv.from_conv(
        conv, rank=ranks, factorization=factorization, implementation="factorized", decompose_weights=False
    )
    for parameter in layer.parameters():
        nn.init.normal_(parameter, std=0.1)
    return layer.requires_grad_(False)


def randomize_norms(model: nn.Module, seed: int) -> nn.Module:
    """Give every batch norm random numbers, as training would; equal numbers could be folded more cheaply than trained ones."""
    draw = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor, low, high in (
                (module.weight, 0.8, 1.2),
                (module.bias, -0.1, 0.1),
                (module.running_mean, -0.1, 0.1),
                (module.running_var, 0.8, 1.2),
            ):
                assert tensor is not None  # the batch norms of these networks have all four
                tensor.data.uniform_(low, high, generator=draw)
    return model
