"""Choose the channels of the narrower network that just meets a budget: stage by stage, all by nearly the same factor."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import torch

import nes_lab
from benchmarks.accuracy_parts import int8

__all__ = ["USUAL", "narrow_widths", "narrowed"]

USUAL: dict[str, tuple[int, ...]] = {
    **{f"cifar_resnet{depth}": (16, 32, 64) for depth in (14, 20, 32, 44, 56)},
    "small_mobilenetv2": (16, 16, 24, 40, 64, 128),
    "m5": (128, 128, 256, 512),
}
"""Channels of the stages of the backbones whose narrower forms can be compared."""

TOLERANCE = 0.01


@cache
def _count(
    backbone: str, widths: tuple[int, ...], cost: str, shape: tuple[int, ...], classes: int, rounded: bool = False
) -> int:
    with torch.device("meta"):
        make = int8.network if rounded else nes_lab.create_backbone
        network = make(backbone, num_classes=classes, in_channels=shape[0], widths=widths).eval()
        report = nes_lab.count(network, torch.zeros(1, *shape))
        return getattr(report, cost) - (int8.saved_bytes(network) if cost == "stored_bytes" else 0)


@cache
def _coefficients(backbone: str, stages: int, *settings: Any) -> np.ndarray:
    """Return the coefficients of the cost, which is a quadratic polynomial in the channels of the stages."""
    corners = [tuple(2 + 2 * ((i == a) + (i == b)) for i in range(stages)) for a in range(stages) for b in range(a + 1)]
    points = [(2,) * stages, *(tuple(2 + 2 * (i == a) for i in range(stages)) for a in range(stages)), *corners]
    counted = [_count(backbone, point, *settings) for point in points]
    return np.linalg.solve(_terms(np.array(points)), np.array(counted, dtype=float))


def _terms(widths: np.ndarray) -> np.ndarray:
    """Return the terms of a quadratic polynomial: 1, each channel number, and the products of two; ``(N, stages)`` to ``(N, terms)``."""
    stages = widths.shape[1]
    products = [widths[:, a] * widths[:, b] for a in range(stages) for b in range(a + 1)]
    return np.stack([np.ones(len(widths)), *widths.T, *products], axis=1).astype(float)


def narrow_widths(
    backbone: str,
    cost: str,
    budget: float,
    shape: tuple[int, ...],
    classes: int,
    usual: tuple[int, ...] | None = None,
    rounded: bool = False,
) -> tuple[int, ...]:
    """Return the channels of the narrower network whose cost is at most the budget and at least 99 % of it.

    Of all such networks near the common factor, it is the one whose factors differ least between the stages.

    Args:
        backbone: Name of one of the backbones in ``USUAL``.
        cost: ``"madds"``, ``"params"`` or ``"stored_bytes"``.
        budget: Share of the usual network's cost, above 0 and below 1.
        shape: Shape of one input, without the batch axis.
        classes: Number of classes.
        usual: Channels of the network that is made narrower; None: those in ``USUAL``.
        rounded: Count the bytes of the narrower network with its weights in int8. The budget stays a share of the usual one's floats.

    Raises:
        ValueError: If no network near the common factor uses the budget to within 1 %.

    Examples:
        >>> narrow_widths("cifar_resnet14", "params", 0.25, (3, 32, 32), 10)
        (8, 17, 31)
        >>> narrow_widths("cifar_resnet14", "stored_bytes", 0.05, (3, 32, 32), 10)
        (3, 7, 14)
    """
    usual = usual or USUAL[backbone]
    settings = (cost, shape, classes, rounded)
    limit = budget * _count(backbone, usual, cost, shape, classes)
    factors = _coefficients(backbone, len(usual), *settings)
    shares = np.arange(1, 1001) / 1000
    costs = _terms(np.maximum(1, shares[:, None] * np.array(usual))) @ factors
    share = max([0.0, *shares[costs <= limit]])
    reach = 4 if len(usual) <= 4 else 2
    near = [range(max(1, int(c * share) - reach), int(c * share) + reach + 1) for c in usual]
    tried = np.array(list(itertools.product(*near)))
    costs = _terms(tried) @ factors
    tried = tried[(costs <= limit + 0.5) & (costs >= (1 - TOLERANCE) * limit)]
    if not len(tried):
        raise ValueError(f"no narrower {backbone} uses {budget:.0%} of its {cost} to within 1 %")
    relative = tried / np.array(usual)
    widths = tuple(int(c) for c in tried[np.argmin(relative.max(1) / relative.min(1))])
    counted = _count(backbone, widths, *settings)
    if not (1 - TOLERANCE) * limit <= counted <= limit:
        raise ValueError(
            f"{backbone} with widths={widths} has {counted:,} {cost}, not at most {limit:,.0f}, as was computed"
        )
    return widths


def narrowed(config: Mapping[str, Any], widths: tuple[int, ...]) -> dict[str, Any]:
    """Return a configuration whose backbone has these channels."""
    backbone = dict(config["backbone"])
    backbone["options"] = {**backbone.get("options", {}), "widths": list(widths)}
    return {**config, "backbone": backbone}
