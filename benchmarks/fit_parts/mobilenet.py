"""The contenders of benchmarks/fit_mobilenet.py: ways to give a pretrained MobileNetV2 fewer params, without training."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

import nes_lab
from benchmarks.fit_parts.photographs import SIZE, Photographs
from nes_lab.cost.count import count
from nes_lab.fitting.input_moments import input_moments
from nes_lab.fitting.row_scales import move_into_norm_, scaling_norms

__all__ = ["CONTENDERS", "Contender", "Result"]

X = torch.zeros(1, 3, SIZE, SIZE)
LAYERS = ("blocks.*.conv_pw*", "conv_head", "classifier")
"""All 1x1 convolutions of the blocks, the one before the classifier, and the classifier: 96 % of the params."""
FIRST_BLOCKS = ("blocks.0.*", "blocks.1.*")
"""The first three blocks stay dense: 0.3 % of the params, and errors in them reach every later layer."""


@dataclass(frozen=True)
class Result:
    """A compressed network and its costs.

    Args:
        network: The network, or a dense one that computes the same.
        params, madds: Numbers that the compressed network stores, and its multiply-adds.
        residual: Relative error of the weights; None if it was not measured.
        calibrated: Percentage of the calibration photographs on which both networks agree; None if it was not measured.
    """

    network: nn.Module
    params: int
    madds: int
    residual: float | None = None
    calibrated: float | None = None


@dataclass(frozen=True)
class Contender:
    """One row: an epitome network of a share of the params, or another method.

    Args:
        key: Its name in the result file.
        title: Its name on the page.
        share: Params as a share of those of the dense network.
        plan: Options of the plan; empty for another method.
        fit: Options of the fit, besides the calibration.
        calibrate: Whether photographs calibrate the fit.
        more: Whether four times as many photographs calibrate it.
        other: Function that makes the network of another method.
    """

    key: str
    title: str
    share: str = "80%"
    plan: dict[str, Any] = field(default_factory=dict)
    fit: dict[str, Any] = field(default_factory=dict)
    calibrate: bool = True
    more: bool = False
    other: Callable[[Photographs, str], Result] | None = None

    def build(self, photographs: Photographs, seed: int) -> Result:
        """Return the fitted network."""
        if self.other is not None:
            return self.other(photographs, self.share)
        plan = nes_lab.plan_for_budget(photographs.dense, nes_lab.Budget(params=self.share), X, **self.plan)
        calibration = (photographs.more if self.more else photographs.calibration) if self.calibrate else None
        network, report = nes_lab.fit(photographs.dense, plan, seed=seed, calibration=calibration, **self.fit)
        calibrated = None if report.agreement is None else 100 * report.agreement
        return Result(network, plan.predicted.params, plan.predicted.madds, report.residual, calibrated)


def _by_svd(photographs: Photographs, share: str, listed: Callable[[str, nn.Module], bool] | None = None) -> Result:
    """Give each listed layer a weight of low rank that changes its outputs least, and correct the mean of the outputs.

    The network returned has dense weights; the params are those of the two factors.
    """
    dense, network, listed = photographs.dense, copy.deepcopy(photographs.dense), listed or _listed
    weights = {n: m.weight for n, m in dense.named_modules() if isinstance(m, nn.Conv2d | nn.Linear) and listed(n, m)}
    moments, _ = input_moments(dense, list(weights), photographs.calibration, lambda event: None)
    norm_of = scaling_norms(dense, list(weights), photographs.calibration[0])
    every = count(dense, X)
    replaced = sum(weight.numel() for weight in weights.values())
    kept = 1 - (1 - float(share.rstrip("%")) / 100) * every.params / replaced
    params, madds = every.params, every.madds
    positions = _positions(dense, list(weights))
    with torch.no_grad():
        for name, weight in weights.items():
            rows, columns = weight.flatten(1).shape
            rank = int(kept * rows * columns / (rows + columns))
            params -= rows * columns - rank * (rows + columns)
            madds -= (rows * columns - rank * (rows + columns)) * positions[name]
            root = torch.linalg.cholesky(moments[name].second(centered=True))
            u, s, v = torch.linalg.svd(weight.double().flatten(1) @ root, full_matrices=False)
            low = torch.linalg.solve_triangular(root, (u[:, :rank] * s[:rank]) @ v[:rank], upper=False, left=False)
            _set(network, name, low.view_as(weight), norm_of.get(name), (low - weight.flatten(1)) @ moments[name].mean)
    return Result(network, params, madds)


def _listed(name: str, module: nn.Module) -> bool:
    first = name.startswith(tuple(pattern.rstrip("*") for pattern in FIRST_BLOCKS))
    return not first and (isinstance(module, nn.Linear) or name == "conv_head" or ".conv_pw" in name)


def _by_svd_at_the_end(photographs: Photographs, share: str) -> Result:
    """Split only the last convolution and the classifier."""
    return _by_svd(photographs, share, lambda name, module: name in LAYERS[1:])


def _positions(network: nn.Module, names: list[str]) -> dict[str, int]:
    """Return how many positions of its input each layer multiplies with its weight."""
    found: dict[str, int] = {}

    def hook(name: str) -> Callable[[nn.Module, Any, Tensor], None]:
        def record(module: nn.Module, inputs: Any, output: Tensor) -> None:
            found[name] = output[0, 0].numel()

        return record

    handles = [network.get_submodule(name).register_forward_hook(hook(name)) for name in names]
    with torch.no_grad():
        network(X)
    for handle in handles:
        handle.remove()
    return found


def _set(network: nn.Module, name: str, weight: Tensor, norm: str | None, shift: Tensor) -> None:
    layer: Any = network.get_submodule(name)
    layer.weight.copy_(weight)
    if norm is not None:
        move_into_norm_(network.get_submodule(norm), layer.bias, None, shift)
    else:
        layer.bias.sub_(shift)


def _flat(patch: tuple[int, int]) -> dict[str, Any]:
    return {
        "scope": "flat", "routing": "free", "snap": True, "patch_channels": patch, "include": LAYERS, "exclude": FIRST_BLOCKS,
    }  # fmt: skip


ONES = {"routing": "free", "patch_channels": 1, "round_to": 1, "snap": True}
SPARED = {"exclude": tuple(f"blocks.{number}.*" for number in range(4))}
SEARCH = {"search_starts": True}
IN_TURN = {"search_starts": True, "sequential": True}

CONTENDERS = (
    Contender("flat_80", "flat, patches of 1 x 4", plan=_flat((1, 4)), fit=SEARCH),
    Contender("flat_50", "flat, patches of 1 x 6", "50%", plan=_flat((1, 6)), fit=SEARCH),
    Contender("flat_50_sequential", "flat, patches of 1 x 6, layer after layer", "50%", plan=_flat((1, 6)), fit=IN_TURN),
    Contender("ones_80", "separable, patches of one channel; first four stages dense", plan=ONES | SPARED, fit=SEARCH),
    Contender("svd_80", "SVD of the outputs of each layer", other=_by_svd),
    Contender("svd_head_80", "SVD of the outputs of the last convolution and the classifier", other=_by_svd_at_the_end),
    Contender("flat_80_uncalibrated", "flat, patches of 1 x 4, no photographs", plan=_flat((1, 4)), fit=SEARCH, calibrate=False),
    Contender("flat_35_sequential", "flat, patches of 1 x 8, layer after layer", "35%", plan=_flat((1, 8)), fit=IN_TURN),
    Contender("flat_80_squares", "flat, patches of 2 x 2", plan=_flat((2, 2)), fit=SEARCH),
    Contender("flat_80_plan", "flat, patches of 1 x 4, starts not searched", plan=_flat((1, 4))),
    Contender(
        "head_80", "separable, patches of one channel; only the last convolution and the classifier",
        plan=ONES | {"include": LAYERS[1:]}, fit=SEARCH,
    ),
    Contender(
        "head_80_more",
        "separable, patches of one channel; only the last convolution and the classifier; 800 photographs",
        plan=ONES | {"include": LAYERS[1:]},
        fit=SEARCH,
        more=True,
    ),
)  # fmt: skip
"""Contenders in the order in which they are measured."""
