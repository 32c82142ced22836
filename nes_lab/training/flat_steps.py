"""Set the steps with which an optimizer changes flat epitomes and the factors (alpha) of their windows.

A flat epitome has cells of variance 1, each read by many weights, while dense weights are small numbers. With the learning rate of
the other weights it would hardly move. How much larger its step must be follows from how often its cells are read and by what
factors. It is computed, not set by an option.

**SGD.** Let ``K`` be the number of windows, ``r`` the number of weights per cell, and ``a2`` the mean of ``alpha^2``. All weights
that are read from an epitome are a linear function ``W = A E``. Starts are spread over the epitome and signs of alpha are random.
So the columns of ``A`` are nearly orthogonal, and each has the squared length ``K r a2``: a cell is read ``K r`` times.

1. *Curvature.* A cell has the curvature ``K r a2 h`` where a weight has the curvature ``h``. A step of ``1 / (K r a2)`` times the
   learning rate is as far from instability as the step of a dense weight is.
2. *Own gradient.* A weight with gradient ``g`` moves its cells so that it changes by ``K a2 g`` itself. A step of ``1 / (K a2)``
   would make this part as large as the change of a dense weight. All other readers of the cells are then moved too far.
3. *Both together.* The change of all weights is ``A A^T g``: the gradient is projected to the weights that the epitome can reach (a
   share of ``1 / r`` of its squared length) and multiplied by ``K r a2``. It is as long as the change of dense weights if the step is
   ``1 / (K a2 sqrt(r))`` times the learning rate. This is the geometric mean of the first two.

The third is the rule, times :data:`MEASURED`. That factor is measured, not derived: ResNet-14 on CIFAR-10 (SGD with learning rate
0.4, two windows, patches of 4 channels, 6 epochs, one seed) was best with 80 times the learning rate at 5 % of the params, 160 times
at 10 %, and 320 times at 25 %. The rule gives 90, 157 and 273 (``r`` is 40, 13 and 4.4 there, because factors and dense layers use a
part of the budget). One reason for a factor above 1 is that dense weights decay during
training, which makes their steps larger relative to their size; flat epitomes do not decay.

The factors of the windows take 0.05 of the learning rate. A factor has a gradient that is a sum over the ``L`` entries of a
window, so it moves, relative to its size, about as fast as a dense weight moves.

**Adam and other optimizers that divide by the size of the gradient.** Each number moves by about the learning rate, whatever its
gradient. The weights move by as much as dense ones if the cells move ``1 / sqrt(K a2)`` times as far, because ``sqrt(K a2)`` is the
size of a weight. How often a cell is read does not matter. Factors are of the size of weights and take the learning rate itself.

**Optimizers that scale each step by the size of the parameter** (LARS, LAMB, Adafactor) need no other learning rate.

Tests: tests/training/test_flat_steps.py
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod, sqrt
from typing import Literal

from torch import nn

from nes_lab.nn.layer import EpitomeLayer

__all__ = ["MEASURED", "FlatSteps", "flat_steps", "optimizer_kind"]

MEASURED = 3.0
"""Factor of the rule for SGD that was measured."""
ALPHA_STEP = 0.05
"""Learning rate of the factors of windows with SGD, as a multiple of that of dense weights."""
BY_GRADIENT = ("sgd", "momentum", "nesterov")
"""Parts of the names of optimizers whose step is proportional to the gradient, such as ``sgdw``."""
BY_PARAMETER = ("lars", "larc", "lamb", "adafactor")
"""Parts of the names of optimizers whose step is proportional to the size of the parameter."""

Kind = Literal["gradient", "parameter", "number"]


@dataclass(frozen=True)
class FlatSteps:
    """Says by what to multiply the learning rate of flat epitomes and of the factors of their windows.

    Args:
        epitomes: ``id()`` of each flat epitome -> multiple of the learning rate.
        alphas: ``id()`` of each parameter with factors -> multiple of the learning rate.
    """

    epitomes: dict[int, float]
    alphas: dict[int, float]


def optimizer_kind(name: str) -> Kind:
    """Return what the step of an optimizer is proportional to.

    Args:
        name: Name of an optimizer of timm, with or without ``lookahead_``.

    Returns:
        ``"gradient"`` (SGD), ``"parameter"`` (LARS, LAMB, Adafactor), or ``"number"``: the same for every number (Adam and all
        others).

    Examples:
        >>> optimizer_kind("sgd"), optimizer_kind("lookahead_radam"), optimizer_kind("lamb")
        ('gradient', 'number', 'parameter')
    """
    if any(part in name.lower() for part in BY_GRADIENT):
        return "gradient"
    return "parameter" if any(part in name.lower() for part in BY_PARAMETER) else "number"


def flat_steps(network: nn.Module, optimizer: str) -> FlatSteps:
    """Compute the steps of all flat epitomes of a network from how often they are read and by what factors.

    Args:
        network: The network, with the factors that it has when training begins.
        optimizer: Name of an optimizer of timm.

    Examples:
        >>> import nes_lab
        >>> layer = nes_lab.EpitomeLinear(64, 64, epitome_shape=(400,), scope="flat", routing="random", windows=2)
        >>> steps = flat_steps(layer, "sgd")
        >>> round(steps.epitomes[id(layer.epitome)]), steps.alphas[id(layer.alpha)]  # 3 * 3 * 64 / sqrt(10.24)
        (180, 0.05)
    """
    readers: dict[int, list[EpitomeLayer]] = {}
    for module in network.modules():
        if isinstance(module, EpitomeLayer) and module.alpha is not None:
            readers.setdefault(id(module.epitome), []).append(module)
    kind = optimizer_kind(optimizer)
    epitomes = {key: _epitome_step(layers, kind) for key, layers in readers.items()}
    alpha = ALPHA_STEP if kind == "gradient" else 1.0
    return FlatSteps(epitomes, {id(layer.alpha): alpha for layers in readers.values() for layer in layers})


def _epitome_step(layers: list[EpitomeLayer], kind: Kind) -> float:
    weights = sum(prod(layer.geometry.weight_shape) for layer in layers)
    per_cell = weights / layers[0].epitome.numel()
    variance = sum(_sampled_variance(layer) * prod(layer.geometry.weight_shape) for layer in layers) / weights
    if kind == "parameter" or variance == 0:
        return 1.0
    return MEASURED / (variance * sqrt(per_cell)) if kind == "gradient" else 1 / sqrt(variance)


def _sampled_variance(layer: EpitomeLayer) -> float:
    """Return ``K a2``: the variance of the weight for cells of variance 1."""
    assert layer.alpha is not None
    return layer.alpha.detach().double().square().sum(-1).mean().item()
