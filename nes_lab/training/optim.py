"""Optimizer and schedule: timm's, with groups that spare biases, norms and starting indices from weight decay."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from timm.optim import create_optimizer_v2
from timm.scheduler.cosine_lr import CosineLRScheduler
from torch import nn

from nes_lab.training.recipe import Recipe

__all__ = ["build_optimizer", "build_scheduler", "is_routing", "parameter_groups", "step_optimizer"]

_WARMUP_LR = 1e-6


def is_routing(name: str) -> bool:
    """Whether a parameter holds starting indices or belongs to an index learner.

    Examples:
        >>> is_routing("blocks.0.conv.routing.starts_out"), is_routing("routing_head.weight")
        (True, False)
    """
    return "routing" in name.split(".")[:-1]


def parameter_groups(model: nn.Module, weight_decay: float, starts_lr_scale: float) -> list[dict[str, Any]]:
    """Sort the trainable parameters into ``decay``, ``no_decay`` and ``starts``; empty groups are left out.

    No decay for vectors and scalars (biases, norms), for names a timm model lists in ``no_weight_decay()``, and for
    starts and index learners, which also have a learning rate of their own.

    Examples:
        >>> groups = parameter_groups(nn.Linear(2, 3), weight_decay=0.1, starts_lr_scale=1.0)
        >>> [(group["name"], group["weight_decay"], len(group["params"])) for group in groups]
        [('decay', 0.1, 1), ('no_decay', 0.0, 1)]
    """
    listed: Callable[[], Iterable[str]] | None = getattr(model, "no_weight_decay", None)
    spared = set() if listed is None else set(listed())
    sorted_params: dict[str, list[nn.Parameter]] = {"decay": [], "no_decay": [], "starts": []}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        is_spared = parameter.ndim <= 1 or name in spared or name.endswith(".bias")
        kind = "starts" if is_routing(name) else "no_decay" if is_spared else "decay"
        sorted_params[kind].append(parameter)
    scales = {"decay": 1.0, "no_decay": 1.0, "starts": starts_lr_scale}
    return [
        {
            "params": params,
            "weight_decay": weight_decay if name == "decay" else 0.0,
            "lr_scale": scales[name],
            "name": name,
        }
        for name, params in sorted_params.items()
        if params
    ]


def build_optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Build the recipe's optimizer over :func:`parameter_groups`, in torch's fused form where the device has it."""
    groups = parameter_groups(model, recipe.weight_decay, recipe.starts_lr_scale)
    options: dict[str, Any] = {"fused": all(p.device.type in ("cpu", "cuda") for g in groups for p in g["params"])}
    if recipe.optimizer == "adamw":
        options["betas"] = (recipe.momentum, 0.999)
        name = "adamw"
    else:
        options["momentum"] = recipe.momentum
        name = "sgd" if recipe.momentum > 0 else "momentum"  # timm's "sgd" is Nesterov, which plain sgd cannot be
    return create_optimizer_v2(groups, opt=name, lr=recipe.lr, weight_decay=recipe.weight_decay, **options)


def step_optimizer(optimizer: torch.optim.Optimizer, scaler: torch.amp.GradScaler | None = None) -> None:
    """Take one step, and tell autograd that the parameters changed.

    Torch's fused steps leave a parameter's version as it was; whatever is cached by version (the sampled weight of an
    epitome layer in evaluation) would then be stale.
    """
    if scaler is None:
        optimizer.step()
    else:
        scaler.step(optimizer)
        scaler.update()
    torch.autograd.graph.increment_version([p for group in optimizer.param_groups for p in group["params"]])


def build_scheduler(optimizer: torch.optim.Optimizer, recipe: Recipe, steps_per_epoch: int) -> CosineLRScheduler:
    """Build warm-up and cosine over steps. It has no memory: ``step_update(step)`` sets the rate of any step."""
    total = recipe.epochs * steps_per_epoch
    warmup = min(total, round(recipe.warmup_epochs * steps_per_epoch))
    return CosineLRScheduler(
        optimizer,
        t_initial=max(2, total - warmup),
        warmup_t=warmup,
        warmup_lr_init=min(_WARMUP_LR, recipe.lr),
        warmup_prefix=True,
        t_in_epochs=False,
    )
