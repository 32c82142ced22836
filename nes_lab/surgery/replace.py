"""Replace dense layers by epitome layers, or epitome layers by dense layers."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import cast, get_args

import torch
from torch import Tensor, nn

from nes_lab.errors import PlanError, check_choice, closest, warn_user
from nes_lab.nn.bake import bake
from nes_lab.nn.copy_network import Model
from nes_lab.nn.flat_epitome import load_flat_
from nes_lab.nn.frozen_starts import FrozenStarts
from nes_lab.nn.kinds import kind_of, why_not
from nes_lab.nn.layer import EpitomeLayer
from nes_lab.nn.model_checks import check_copyable, check_module
from nes_lab.nn.registry import epitome_layer_for
from nes_lab.records.compression_plan import CompressionPlan
from nes_lab.records.layer_plan import LayerPlan
from nes_lab.records.options import EpitomeInit
from nes_lab.renamed import renamed_arguments
from nes_lab.surgery.carry_over import copy_with_replacements, weights_held_elsewhere, why_not_carried
from nes_lab.surgery.transformers_mark import mark_for_transformers_

__all__ = ["materialize", "replace_layers"]


@renamed_arguments(weights="initial_weights")
def replace_layers(
    model: Model,
    plan: CompressionPlan,
    initial_weights: EpitomeInit = "fit",
    generator: torch.Generator | None = None,
) -> Model:
    """Copy a model, and replace the layers that a compression plan names by epitome layers.

    :func:`nes_lab.compress` calls this function, and can make the plan too.

    Names, tied weights, training and evaluation modes, dtypes, devices, hooks and ``requires_grad`` are kept. The given model
    is not changed.

    Args:
        model: The dense model.
        plan: Compression plan, from :func:`nes_lab.plan_for_budget` or :func:`nes_lab.preset`.
        initial_weights: How the epitomes get their values. ``"fit"``, for pretrained models: the sampled weight is as
            close as possible to the layer's weight. ``"reset"``, for training from scratch: each cell is a copy of one
            of the weights that are sampled from it. ``"none"``: random values.
        generator: Random generator. Its seed sets all random numbers. None: the seed is 0. The global random state is
            not changed.

    Returns:
        The compressed copy, of the model's class.

    Raises:
        PlanError: If a layer of the plan is missing in the model, has another shape or kind there, or has NaN or infinity in its weight.
        OptionError: If ``initial_weights`` is not one of these three values, or if the model cannot be looked into or copied: a
            TorchScript or exported program, or a method that was replaced by a function (:mod:`nes_lab.nn.model_checks`).

    Examples:
        >>> model, x = nn.Sequential(nn.Linear(64, 64)), torch.randn(1, 64)
        >>> import nes_lab
        >>> small = replace_layers(model, nes_lab.plan_for_budget(model, nes_lab.Budget(params="50%"), x))
        >>> type(small[0]).__name__, type(model[0]).__name__
        ('EpitomeLinear', 'Linear')
    """
    check_choice("initial_weights", initial_weights, get_args(EpitomeInit))
    for argument, value, kind in (("model", model, nn.Module), ("plan", plan, CompressionPlan)):
        if not isinstance(value, kind):
            raise PlanError(
                f"{argument} is a {type(value).__name__}; compress takes a module and a CompressionPlan. For a budget "
                "write compress(model, madds='75%', example_input=x)"
            )
    check_module(model, "compress")
    check_copyable(model, "compress")
    modules: dict[str, nn.Module] = dict(model.named_modules())
    held_elsewhere = weights_held_elsewhere(model)
    for name, layer_plan in plan.layers.items():
        _check_layer(name, layer_plan, modules, held_elsewhere)
    for sentence in plan.larger_epitomes():
        warn_user(sentence)

    owners: dict[str, EpitomeLayer] = {}

    def replacement(name: str, module: nn.Module) -> nn.Module | None:
        if name not in plan.layers:
            return None
        later = plan.layers[name].scope == "flat"  # its epitome gets its values when all layers that read it are there
        layer = epitome_layer_for(module, "none" if later else initial_weights, **plan.layers[name].layer_arguments())
        if later and layer.bias is not None and initial_weights != "none":
            layer.bias.copy_(module.bias)  # type: ignore[arg-type]
        first = owners.setdefault(plan.layers[name].reads or name, layer)
        if (
            first is not layer
        ):  # until they are tied: one memory, but a parameter that keeps what users added to the weight
            layer.epitome = nn.Parameter(first.epitome.detach(), layer.epitome.requires_grad)
        if plan.snap and layer.routing.stored:
            layer.routing = FrozenStarts(layer.routing, snap=True).train(layer.training)
        return layer

    with _keep_random_state(), torch.inference_mode(False), torch.no_grad():
        torch.manual_seed(0 if generator is None else generator.initial_seed())
        small = _tie_epitomes(copy_with_replacements(model, replacement), plan)
        _load_flat_epitomes(small, plan, modules, initial_weights)
        return mark_for_transformers_(small)


def materialize(model: Model) -> Model:
    """Copy a model, and replace every epitome layer by a plain torch layer with the sampled weight.

    Outputs are equal up to rounding. The copy can be saved, exported, pruned or quantized like any torch model. Pruning masks
    and parametrizations of epitome layers are baked into the weights.

    Args:
        model: Any module; without epitome layers the result is a plain copy.

    Returns:
        The copy, of the model's class.

    Raises:
        OptionError: If ``model`` is not a torch module, or cannot be looked into or copied: a TorchScript or exported program,
            a method that was replaced by a function (:mod:`nes_lab.nn.model_checks`), or a parametrization that gives other
            values at each call.

    Examples:
        >>> import torch, nes_lab
        >>> plain = nes_lab.materialize(torch.nn.Sequential(nes_lab.EpitomeLinear(4, 8, epitome_shape=(4, 4))))
        >>> plain[0]
        Linear(in_features=4, out_features=8, bias=True)
    """
    check_module(model, "materialize")
    check_copyable(model, "materialize")
    with _keep_random_state():  # a new torch layer draws a random weight before it gets the sampled one
        plain = copy_with_replacements(
            bake(model), lambda name, module: module.to_dense() if isinstance(module, EpitomeLayer) else None
        )
    return mark_for_transformers_(plain)


def _tie_epitomes(model: Model, plan: CompressionPlan) -> Model:
    """Make layers use one and the same parameter as their epitome, if the compression plan says that they share an epitome."""
    for first, *others in plan.readers.values():
        for name in others:
            model.get_submodule(name).epitome = model.get_submodule(first).epitome
    return model


def _load_flat_epitomes(
    small: nn.Module, plan: CompressionPlan, dense: Mapping[str, nn.Module], initial_weights: EpitomeInit
) -> None:
    """Give each flat epitome, and the factors of the layers that read it, values from the dense weights of these layers."""
    for readers in plan.readers.values():
        if plan.layers[readers[0]].scope == "flat":
            layers = [cast(EpitomeLayer, small.get_submodule(name)) for name in readers]
            weights = [cast(Tensor, dense[name].weight) for name in readers]
            load_flat_(layers, weights, initial_weights)


def _keep_random_state() -> AbstractContextManager[None]:
    """Return a context manager that restores the global random state of the CPU and the current GPU."""
    cuda = [torch.cuda.current_device()] if torch.cuda.is_available() and torch.cuda.is_initialized() else []
    return torch.random.fork_rng(devices=cuda)


def _check_layer(
    name: str, layer_plan: LayerPlan, modules: dict[str, nn.Module], held_elsewhere: dict[int, str]
) -> None:
    if name not in modules:
        raise PlanError(f"the plan replaces {name!r}, which the model does not have.{closest(name, modules)}")
    module = modules[name]
    kind = kind_of(module)
    if kind != layer_plan.kind:
        reason = why_not(module) if kind is None else f"it is a {type(module).__name__}"
        raise PlanError(f"layer {name!r}: {reason}; the plan was made for a {layer_plan.kind} layer")
    if reason := why_not_carried(module, held_elsewhere):
        raise PlanError(f"layer {name!r} cannot be replaced: {reason}")
    if not module.weight.is_meta and not bool(module.weight.isfinite().all()):  # type: ignore[union-attr, operator]
        raise PlanError(f"layer {name!r}: its weight holds NaN or infinity; an epitome cannot be made from it")
    if tuple(module.weight.shape) != layer_plan.weight_shape:  # type: ignore[union-attr, arg-type]
        raise PlanError(
            f"layer {name!r} has a weight of shape {tuple(module.weight.shape)}; the plan was made for {layer_plan.weight_shape}"  # type: ignore[union-attr, arg-type]
        )
