"""Swapping layers: dense to epitome by a compression plan, and epitome back to plain torch."""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import AbstractContextManager

import torch
from torch import nn

from nes_lab.errors import PlanError, check_choice, closest
from nes_lab.nn.kinds import build, kind_of, why_not
from nes_lab.nn.layer import EpitomeLayer
from nes_lab.records.compression_plan import CompressionPlan, LayerPlan

__all__ = ["compress", "materialize"]

_HOOKS = (
    "_forward_pre_hooks",
    "_forward_pre_hooks_with_kwargs",
    "_forward_hooks",
    "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called",
    "_backward_pre_hooks",
    "_backward_hooks",
)
"""What users register on layers; they pass from the old layer to the new one."""


def compress(
    model: nn.Module, plan: CompressionPlan, weights: str = "fit", generator: torch.Generator | None = None
) -> nn.Module:
    """A copy of a model with the layers of a plan replaced by epitome layers.

    Names, tied weights, modes, dtypes, devices, hooks and ``requires_grad`` are kept; the model given stays untouched.

    Args:
        model: The dense model.
        plan: From :func:`nes_lab.plan_for_budget` or :func:`nes_lab.preset`.
        weights: ``"fit"``: each epitome is the one nearest to the layer's weight, for pretrained models; ``"reset"``: each cell
            takes one of the weights that read it, which keeps the initial distribution, for training from scratch.
        generator: Its seed sets the index learners' first weights; None: seed 0. The global state is left alone.

    Raises:
        PlanError: If the plan names a layer the model has not, or of another shape or kind.

    Examples:
        >>> model, x = nn.Sequential(nn.Linear(64, 64)), torch.randn(1, 64)
        >>> import nes_lab
        >>> small = compress(model, nes_lab.plan_for_budget(model, nes_lab.Budget(params="50%"), x))
        >>> type(small[0]).__name__, type(model[0]).__name__
        ('EpitomeLinear', 'Linear')
    """
    check_choice("weights", weights, ("fit", "reset"))
    for argument, value, kind in (("model", model, nn.Module), ("plan", plan, CompressionPlan)):
        if not isinstance(value, kind):
            raise PlanError(f"{argument} is a {type(value).__name__}; compress takes a module and a CompressionPlan")
    modules = dict(model.named_modules())
    for name, layer in plan.layers.items():
        _check_layer(name, layer, modules)
    with _own_random(), torch.inference_mode(False):
        torch.manual_seed(0 if generator is None else generator.initial_seed())
        return _swap(
            model,
            lambda name, module: (
                build(module, weights, **plan.layers[name].layer_arguments()) if name in plan.layers else None
            ),
        )


def materialize(model: nn.Module) -> nn.Module:
    """A copy of a model in which every epitome layer is a plain torch layer with the sampled weight.

    Outputs agree to rounding; whoever saves, exports, prunes or quantizes the copy need not know of epitomes.

    Args:
        model: Any module; without epitome layers the copy is just a copy.

    Examples:
        >>> from nes_lab.nn import EpitomeLinear
        >>> plain = materialize(nn.Sequential(EpitomeLinear(4, 8, epitome_shape=(4, 4))))
        >>> plain[0]
        Linear(in_features=4, out_features=8, bias=True)
    """
    with _own_random():  # a fresh torch layer draws a weight before it is given one
        return _swap(model, lambda name, module: module.to_dense() if isinstance(module, EpitomeLayer) else None)


def _own_random() -> AbstractContextManager[None]:
    """The global random state, here and on the current GPU, as it was when all is done."""
    cuda = [torch.cuda.current_device()] if torch.cuda.is_available() and torch.cuda.is_initialized() else []
    return torch.random.fork_rng(devices=cuda)


def _swap(model: nn.Module, replace: Callable[[str, nn.Module], nn.Module | None]) -> nn.Module:
    """A deep copy with modules replaced wherever they are registered; a shared module gets one shared replacement."""
    found = ((module, replace(name, module)) for name, module in model.named_modules())
    pairs = [(old, new) for old, new in found if new is not None]
    memo: dict[int, object] = {id(old): new for old, new in pairs}
    swapped = copy.deepcopy(model, memo)  # what the memo holds stands in wherever the old module is referred to
    for old, new in pairs:
        for hooks in _HOOKS:
            setattr(new, hooks, copy.deepcopy(getattr(old, hooks), memo))  # those bound to the model follow it
    return swapped


def _check_layer(name: str, plan: LayerPlan, modules: dict[str, nn.Module]) -> None:
    if name not in modules:
        raise PlanError(f"the plan replaces {name!r}, which the model has not.{closest(name, modules)}")
    module = modules[name]
    kind = kind_of(module)
    if kind != plan.kind:
        found = why_not(module) if kind is None else f"it is a {type(module).__name__}"
        raise PlanError(f"layer {name!r}: {found}; the plan was made for a {plan.kind} layer")
    if not module.weight.is_meta and not bool(module.weight.isfinite().all()):  # type: ignore[union-attr, operator]
        raise PlanError(f"layer {name!r}: its weight holds NaN or infinity; an epitome cannot be made from it")
    if tuple(module.weight.shape) != plan.weight_shape:  # type: ignore[union-attr, arg-type]
        raise PlanError(
            f"layer {name!r} has a weight of shape {tuple(module.weight.shape)}; the plan was made for {plan.weight_shape}"  # type: ignore[union-attr, arg-type]
        )
