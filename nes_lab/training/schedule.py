"""Build timm's learning-rate schedules. ``step_update(step)`` sets the rates of any step; nothing depends on earlier calls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from nes_lab.training.recipe import Recipe

if TYPE_CHECKING:
    from timm.scheduler.scheduler import Scheduler

__all__ = ["build_scheduler"]


def build_scheduler(optimizer: torch.optim.Optimizer, recipe: Recipe, steps_per_epoch: int) -> Scheduler:
    """Build a schedule with linear warm-up, then one of five curves.

    * ``cosine``, ``tanh``: fall along the curve of that name to ``min_lr``.
    * ``poly``: falls on a straight line to ``min_lr``.
    * ``step``: is multiplied by ``decay_rate`` every ``decay_epochs``.
    * ``constant``: stays at ``lr``.

    Args:
        optimizer: Its learning rates are set.
        recipe: Gives the curve and its numbers.
        steps_per_epoch: Steps of one epoch.

    Examples:
        >>> optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
        >>> schedule = build_scheduler(optimizer, Recipe(epochs=4, batch_size=1, lr=1.0, schedule="poly"), 10)
        >>> schedule.step_update(20)
        >>> optimizer.param_groups[0]["lr"]
        0.5
    """
    from timm.scheduler.cosine_lr import CosineLRScheduler
    from timm.scheduler.poly_lr import PolyLRScheduler
    from timm.scheduler.step_lr import StepLRScheduler
    from timm.scheduler.tanh_lr import TanhLRScheduler

    total = recipe.epochs * steps_per_epoch
    warmup = min(total, round(recipe.warmup_epochs * steps_per_epoch))
    common: dict[str, Any] = {
        "warmup_t": warmup,
        "warmup_lr_init": min(recipe.warmup_lr, recipe.lr),
        "warmup_prefix": True,
        "t_in_epochs": False,
    }
    falling = {"t_initial": max(2, total - warmup), "lr_min": min(recipe.min_lr, recipe.lr), **common}
    if recipe.schedule == "cosine":
        return CosineLRScheduler(optimizer, **falling)
    if recipe.schedule == "poly":
        return PolyLRScheduler(optimizer, power=1.0, **falling)
    if recipe.schedule == "tanh":
        return TanhLRScheduler(optimizer, **falling)
    rate = recipe.decay_rate if recipe.schedule == "step" else 1.0
    return StepLRScheduler(optimizer, decay_t=recipe.decay_epochs * steps_per_epoch, decay_rate=rate, **common)
