"""Optimizers of timm, with groups that spare biases, norms and starting indices from weight decay."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn

from nes_lab.errors import OptionError, check_choice
from nes_lab.training.recipe import Recipe

__all__ = [
    "build_optimizer",
    "check_optimizer",
    "count_change",
    "drop_group",
    "is_routing",
    "parameter_groups",
]

_LOOKAHEAD = "lookahead_"


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
    starts and index learners, which also have a learning rate of their own. Starts come last, so that dropping them
    leaves the numbers of all others as they are.

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


def check_optimizer(name: str) -> None:
    """Refuse a name that timm does not know.

    Raises:
        OptionError: With the closest names.

    Examples:
        >>> check_optimizer("lookahead_radam")
    """
    from timm.optim import list_optimizers

    check_choice("optimizer", name.removeprefix(_LOOKAHEAD), [str(known) for known in list_optimizers()])


def build_optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Build the recipe's optimizer over :func:`parameter_groups`, in torch's fused form where there is one.

    Raises:
        OptionError: If timm does not know the optimizer, or the optimizer does not take one of its options.

    Examples:
        >>> type(build_optimizer(nn.Linear(2, 1), Recipe(epochs=1, batch_size=1, lr=0.1, optimizer="lamb"))).__name__
        'Lamb'
    """
    from timm.optim import create_optimizer_v2

    check_optimizer(recipe.optimizer)
    groups = parameter_groups(model, recipe.weight_decay, recipe.starts_lr_scale)
    try:
        name, options = _options(recipe, [p for group in groups for p in group["params"]])
        optimizer = create_optimizer_v2(groups, opt=name, lr=recipe.lr, weight_decay=recipe.weight_decay, **options)
    except OptionError:
        raise
    except (TypeError, ValueError, AssertionError, ImportError, RuntimeError) as error:
        given = dict(recipe.optimizer_options)
        raise OptionError(
            f"optimizer={recipe.optimizer!r} with optimizer_options={given!r} cannot be made: {error}"
        ) from error
    if getattr(optimizer, "is_second_order", False):
        raise OptionError(f"optimizer={recipe.optimizer!r} needs second derivatives, which this loop does not take")
    return optimizer


def _options(recipe: Recipe, parameters: list[nn.Parameter]) -> tuple[str, dict[str, Any]]:
    """Return timm's name of the optimizer and what it is made with."""
    from timm.optim import get_optimizer_class, get_optimizer_info

    name = recipe.optimizer
    info = get_optimizer_info(name.removeprefix(_LOOKAHEAD))
    given, options = dict(recipe.optimizer_options), {}
    for option, known in (("eps", info.has_eps), ("betas", info.has_betas)):
        if option in given and not known:  # timm would drop it in silence
            raise OptionError(f"optimizer_options: {option!r} is no option of optimizer={name!r}")
    taken = inspect.signature(get_optimizer_class(info.name, bind_defaults=False)).parameters
    if "fused" in taken and "foreach" not in given:
        options["fused"] = all(p.device.type in ("cpu", "cuda") for p in parameters)
    usual = (info.defaults or {}).get("betas") or (taken["betas"].default if "betas" in taken else None)
    if info.has_betas and isinstance(usual, tuple):  # Adafactor's kin keep no first moment unless given betas
        options["betas"] = (recipe.momentum, *usual[1:])
    if info.has_momentum:
        options["momentum"] = recipe.momentum
    if name == "sgd" and recipe.momentum == 0:
        name = "momentum"  # timm's "sgd" is Nesterov, which plain sgd cannot be
    return name, options | given


def count_change(optimizer: torch.optim.Optimizer) -> None:
    """Tell autograd that the parameters changed.

    Torch's fused steps leave a parameter's version as it was; whatever is cached by version (the sampled weight of an
    epitome layer in evaluation) would then be stale.
    """
    torch.autograd.graph.increment_version([p for group in optimizer.param_groups for p in group["params"]])


def drop_group(optimizer: torch.optim.Optimizer, name: str) -> None:
    """Take a group of parameters out of an optimizer, with all it remembers of them.

    Examples:
        >>> optimizer = build_optimizer(nn.Linear(2, 1), Recipe(epochs=1, batch_size=1, lr=0.1))
        >>> drop_group(optimizer, "no_decay")
        >>> [group["name"] for group in optimizer.param_groups]
        ['decay']
    """
    for parameter in (p for group in optimizer.param_groups if group["name"] == name for p in group["params"]):
        optimizer.state.pop(parameter, None)
    optimizer.param_groups[:] = [group for group in optimizer.param_groups if group["name"] != name]
