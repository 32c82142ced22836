"""Build timm's learning-rate schedules.

A schedule's method ``step_update(step)`` sets the learning rates for this step. The learning rates depend only on the
step, not on earlier calls.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from nes_lab.training.recipe import Recipe

if TYPE_CHECKING:
    from timm.scheduler.scheduler import Scheduler

__all__ = ["build_scheduler"]


def build_scheduler(optimizer: torch.optim.Optimizer, recipe: Recipe, steps_per_epoch: int) -> Scheduler:
    """Build a learning-rate schedule: a linear warm-up, then the curve that the recipe names.

    * ``cosine``, ``tanh``: the learning rate falls to ``min_lr`` along the curve of that name.
    * ``poly``: the learning rate falls to ``min_lr`` along a straight line.
    * ``step``: the learning rate is multiplied by ``decay_rate`` every ``decay_epochs`` epochs.
    * ``constant``: the learning rate stays at ``lr``.

    Args:
        optimizer: The optimizer whose learning rates the schedule sets.
        recipe: Training recipe with the name of the curve and its settings.
        steps_per_epoch: Number of steps in one epoch.

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
