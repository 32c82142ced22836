"""Fair opponents: other ways to make a network cheaper, each bisected to the cost an epitome network has.

Their weights are random: a speed benchmark asks nothing of them. ``torch_pruning`` and ``tltorch`` come with the extra
``bench`` and are imported where they are used.
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
    build: Callable[[float], nn.Module], cost: Callable[[nn.Module], int], wanted: float, low: float, high: float
) -> nn.Module:
    """The network of nearest cost among those that a bisection of one rising dial meets.

    Args:
        build: A network for a setting of the dial; a higher one costs no less.
        cost: What is to be equal.
        wanted: The cost to come near to.
        low: Lowest setting of the dial.
        high: Highest.

    Returns:
        The nearest; how near is the caller's to count and to show.
    """
    best, best_gap = None, float("inf")
    for _ in range(9):
        middle = (low + high) / 2
        network = build(middle)
        found = cost(network)
        if abs(found - wanted) < best_gap:
            best, best_gap = network, abs(found - wanted)
        if best_gap <= 0.002 * wanted:
            break
        low, high = (middle, high) if found < wanted else (low, middle)
    assert best is not None  # the first step always builds one
    return best


def wide_network(name: str, width: float = 1.0) -> nn.Module:
    """``resnet50`` or ``mobilenetv2_100`` of timm with all widths but the stem's scaled, channels in multiples of 8."""
    import timm
    from timm.models.efficientnet import _gen_mobilenet_v2

    if name == "mobilenetv2_100":
        return _gen_mobilenet_v2(name, width)
    if name == "resnet50":
        channels = tuple(max(8, round(c * width / 8) * 8) for c in (64, 128, 256, 512))
        return timm.create_model(name, channels=channels, zero_init_last=False)
    raise ValueError(f"name={name!r}; a width can be given to resnet50 and mobilenetv2_100")


def narrower(name: str, madds: float, x: Tensor) -> nn.Module:
    """The width multiplier: the same architecture with fewer channels, of about ``madds`` multiply-adds for ``x``."""
    return bisect(lambda width: wide_network(name, width), lambda m: count(m, x).madds, madds, 0.2, 1.0)


def pruned(dense: nn.Module, madds: float, x: Tensor) -> nn.Module:
    """Torch-Pruning: channels of least norm removed from all groups alike, the classifier's outputs kept.

    Source: Fang et al., *DepGraph*, CVPR 2023; ``BasePruner`` with ``GroupMagnitudeImportance``.
    """
    return bisect(lambda kept: _prune(dense, 1.0 - kept), lambda m: count(m, x).madds, madds, 0.1, 1.0)


def _prune(dense: nn.Module, ratio: float) -> nn.Module:
    import torch_pruning as tp

    model = copy.deepcopy(dense).eval().requires_grad_(True)  # dependencies are traced through the graph of gradients
    example = torch.randn(1, 3, 64, 64)  # which channels hang together does not depend on the size
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
    """A tensorly-torch layer of about ``params`` numbers: ``tucker`` of the channel axes (ranks equal), or ``cp``."""
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
    """Give every batch norm numbers of its own, as training would: equal ones could be folded more cheaply than real ones."""
    draw = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor, low, high in (
                (module.weight, 0.8, 1.2),
                (module.bias, -0.1, 0.1),
                (module.running_mean, -0.1, 0.1),
                (module.running_var, 0.8, 1.2),
            ):
                assert tensor is not None  # the networks' norms have all four
                tensor.data.uniform_(low, high, generator=draw)
    return model
