"""The contenders: each way to halve the params (or multiply-adds) of the pretrained network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

import nes_lab
from benchmarks.fit_parts.opponents import folded, pruned, split_by_svd, split_in_turn
from nes_lab.attribution import layer_importance
from nes_lab.records.fit_report import FitReport

__all__ = ["CONTENDERS", "SEQUENTIAL", "SIZES", "WAYS", "Contender", "Setting", "Way"]

Built = tuple[nn.Module, FitReport | None]
X = torch.zeros(1, 3, 32, 32)


@dataclass
class Setting:
    """The network and images from which contenders are built.

    Args:
        dense: The pretrained network.
        calibration: Batches of training images, without labels.
        labels: Labels of these images, for the sensitivities by loss; empty where they are not needed.
        seed: Seed of the search for starts.
    """

    dense: nn.Module
    calibration: list[Tensor]
    labels: tuple[Tensor, ...] = ()
    seed: int = 0

    def epitomes(self, plan: dict[str, Any], **fit: Any) -> Built:
        """Return an epitome network of half the params, fitted to the dense one."""
        compression_plan = nes_lab.plan_for_budget(self.dense, nes_lab.Budget(params="50%"), X, **plan)
        return nes_lab.fit(self.dense, compression_plan, seed=self.seed, **fit)

    @cached_property
    def searched(self) -> nes_lab.SensitivityReport:
        """Sensitivities by the residuals that are measured after a search for starts."""
        return nes_lab.measure_sensitivity(self.dense, X, search_starts=True, **ONES)

    def by_loss(self) -> nes_lab.SensitivityReport:
        """Return sensitivities by the loss on labeled images, measured after a search for starts, at fewer sizes than the residuals."""
        labeled = list(zip(self.calibration, self.labels, strict=True))[:LOSS_BATCHES]
        return nes_lab.measure_sensitivity(
            self.dense, X, calibration=labeled, ratios=(0.5, 0.25), search_starts=True, **ONES
        )

    def weighed(self) -> nes_lab.SensitivityReport:
        """Return the sensitivities by residuals after a search, multiplied by how much of the answer flows through each layer."""
        images = self.calibration[0][:IMPORTANCE_IMAGES]
        return self.searched.weighed(layer_importance(self.dense, images))

    def sized_uniformly(self) -> Built:
        """Return an epitome network whose layers all have about the same ratio, searched and calibrated."""
        return self.epitomes(ONES, search_starts=True, snap=True, calibration=self.calibration)

    def sized(self, report: nes_lab.SensitivityReport) -> Built:
        """Return an epitome network whose layers are sized by sensitivities, searched and calibrated."""
        plan = ONES | {"strategy": "sensitivity", "sensitivity": report}
        return self.epitomes(plan, search_starts=True, snap=True, calibration=self.calibration)

    def scratch(self, plan: dict[str, Any]) -> Built:
        """Return the same network with fresh weights."""
        torch.manual_seed(self.seed)
        fresh = nes_lab.create_backbone("cifar_resnet56")
        compression_plan = nes_lab.plan_for_budget(fresh, nes_lab.Budget(params="50%"), X, **plan)
        return nes_lab.compress(fresh, compression_plan, initial_weights="reset"), None

    def half(self) -> tuple[list[str], int, int]:
        """Return the layers that the joint plan replaces, and the params and multiply-adds that opponents must match."""
        plan = nes_lab.plan_for_budget(self.dense, nes_lab.Budget(params="50%"), X, **PAIRS)
        small = nes_lab.fit(self.dense, plan, row_scales=False, snap=True)[0]
        report = nes_lab.count(small, X)
        return list(plan.layers), report.params, report.madds


@dataclass(frozen=True)
class Contender:
    """One row of the comparison.

    Args:
        key: Its name in the result file.
        title: Its name on the page.
        build: A function that builds the network from a setting.
        lr: Learning rate of the epoch of fine-tuning. None: it is not trained.
        pretrained: Whether it starts from trained weights. Otherwise its accuracy before the epoch means nothing.
        in_turn: Whether it was fitted layer after layer, with norms corrected on the way. They are not estimated again.
    """

    key: str
    title: str
    build: Callable[[Setting], Built]
    lr: float | None = None
    pretrained: bool = True
    in_turn: bool = False


@dataclass(frozen=True)
class Way:
    """A way to train for one epoch after a fit.

    Args:
        key: Its name in the result file.
        title: Its name on the page.
        lr: Learning rate of the first step.
        is_taught: Whether the dense network teaches, by distillation.
    """

    key: str
    title: str
    lr: float
    is_taught: bool = False


ONES = {"routing": "free", "patch_channels": 1, "round_to": 1}
FLAT = {"routing": "free", "scope": "flat", "patch_channels": (1, 1), "snap": True}
PAIRS = {"routing": "free", "scope": "joint", "patch_channels": 2, "round_to": 1}
SMALLEST, SMALL, LARGE = 0.003, 0.01, 0.1
WAYS = (
    Way("epoch", f"one epoch, lr {SMALL:g}", SMALL),
    Way("epoch_small_lr", f"one epoch, lr {SMALLEST:g}", SMALLEST),
    Way("epoch_taught", f"one epoch, lr {SMALL:g}, taught", SMALL, is_taught=True),
)
"""The ways in which networks that were fitted layer after layer, and their opponents, are trained for one epoch."""
LOSS_BATCHES = 2
"""Number of labeled batches for the sensitivities by loss."""
IMPORTANCE_IMAGES = 32
"""Number of images for the importance of layers."""


def _svd(kind: str, calibrated: bool = False) -> Callable[[Setting], Built]:
    def build(setting: Setting) -> Built:
        names, params, _ = setting.half()
        return split_by_svd(setting.dense, names, params, kind, setting.calibration if calibrated else None), None

    return build


def _ones_madds(setting: Setting) -> int:
    plan = nes_lab.plan_for_budget(setting.dense, nes_lab.Budget(params="50%"), X, **ONES)
    return nes_lab.count(nes_lab.fit(setting.dense, plan, row_scales=False, snap=True)[0], X).madds


CONTENDERS = (
    Contender(
        "ones_calibrated",
        "epitome, separable, patches of one channel, searched, calibrated",
        lambda s: s.epitomes(ONES, search_starts=True, snap=True, calibration=s.calibration),
        SMALL,
    ),
    Contender("svd_window", "SVD, 3x1 then 1x3", _svd("window"), SMALL),
    Contender(
        "pruned",
        "Torch-Pruning, inner channels, equal multiply-adds to the separable epitome",
        lambda s: (pruned(s.dense, _ones_madds(s), X), None),
        SMALL,
    ),
    Contender(
        "pairs_calibrated",
        "epitome, joint, patches of 2 x 2 channels, searched, calibrated",
        lambda s: s.epitomes(PAIRS, search_starts=True, snap=True, calibration=s.calibration),
        SMALL,
    ),
    Contender("scratch", "epitome, separable, tiled, from scratch", lambda s: s.scratch({}), LARGE, pretrained=False),
    Contender("tiled", "epitome, separable, tiled, plan's starts", lambda s: s.epitomes({})),
    Contender(
        "tiled_calibrated",
        "epitome, separable, tiled, plan's starts, calibrated",
        lambda s: s.epitomes({}, calibration=s.calibration),
    ),
    Contender(
        "ones_sensitivity",
        "epitome, separable, patches of one channel, searched, calibrated, layers sized by sensitivity",
        lambda s: s.epitomes(
            ONES | {"strategy": "sensitivity"}, search_starts=True, snap=True, calibration=s.calibration
        ),
    ),
    Contender(
        "ones_searched_sizes",
        "epitome, separable, patches of one channel, searched, calibrated, layers sized by sensitivity after search",
        lambda s: s.sized(s.searched),
    ),
    Contender(
        "ones_unscaled",
        "epitome, separable, patches of one channel, searched, rows without factors",
        lambda s: s.epitomes(ONES, search_starts=True, snap=True, row_scales=False),
    ),
    Contender(
        "ones",
        "epitome, separable, patches of one channel, searched",
        lambda s: s.epitomes(ONES, search_starts=True, snap=True),
    ),
    Contender(
        "ones_fractional",
        "epitome, separable, patches of one channel, searched, starts between cells",
        lambda s: s.epitomes(ONES, search_starts=True),
    ),
    Contender(
        "pairs",
        "epitome, joint, patches of 2 x 2 channels, searched",
        lambda s: s.epitomes(PAIRS, search_starts=True, snap=True),
    ),
    Contender("svd_channels", "SVD, 3x3 to few channels, then 1x1", _svd("channels")),
    Contender("svd_channels_calibrated", "SVD, 3x3 to few channels, then 1x1, calibrated", _svd("channels", True)),
)
"""Contenders in the order in which they are measured: first those that are trained for an epoch."""

SIZES = (
    Contender("uniform", "one ratio for all layers", lambda s: s.sized_uniformly()),
    Contender(
        "weighed", "residuals after the search, times the importance of the layer", lambda s: s.sized(s.weighed())
    ),
    Contender("loss", "loss on labeled images, after the search", lambda s: s.sized(s.by_loss())),
    Contender("searched", "residuals after the search", lambda s: s.sized(s.searched)),
    Contender(
        "residual",
        "residuals of the plan's own starts",
        lambda s: s.sized(nes_lab.measure_sensitivity(s.dense, X, **ONES)),
    ),
)
"""Ways to size the layers of the separable epitome network with patches of one channel, by what the strategy ``sensitivity`` is given."""


def _svd_in_turn(setting: Setting) -> Built:
    names, params, _ = setting.half()
    return split_in_turn(setting.dense, names, params, setting.calibration), None


SEQUENTIAL = (
    Contender(
        "flat_sequential",
        "epitome, flat, patches of one kernel, searched, sequential",
        lambda s: s.epitomes(FLAT, search_starts=True, calibration=s.calibration, sequential=True),
        SMALL,
        in_turn=True,
    ),
    Contender(
        "pairs_sequential",
        "epitome, joint, patches of 2 x 2 channels, searched, sequential",
        lambda s: s.epitomes(PAIRS, search_starts=True, snap=True, calibration=s.calibration, sequential=True),
        SMALL,
        in_turn=True,
    ),
    Contender("svd_sequential", "SVD, 3x3 to few channels, then 1x1, sequential", _svd_in_turn, SMALL, in_turn=True),
    Contender("svd_window", "SVD, 3x1 then 1x3", _svd("window"), SMALL),
    Contender(
        "folded",
        "folded inner channels (k-means), equal multiply-adds to the separable epitome",
        lambda s: (folded(s.dense, _ones_madds(s), X, s.seed), None),
        SMALL,
    ),
    Contender(
        "ones_sequential",
        "epitome, separable, patches of one channel, searched, sequential",
        lambda s: s.epitomes(ONES, search_starts=True, snap=True, calibration=s.calibration, sequential=True),
        SMALL,
        in_turn=True,
    ),
)
"""Contenders fitted layer after layer, each layer on its inputs in the compressed network, and opponents that are not."""
