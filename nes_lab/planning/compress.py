"""Compress a model by a plan, or plan for a budget and compress in one call."""

from __future__ import annotations

import warnings
from typing import Any, Unpack, overload

import torch
from torch import nn

from nes_lab.errors import OptionError, PlanError, closest
from nes_lab.nn.copy_network import Model
from nes_lab.planning.planner import plan_for_budget
from nes_lab.records.budget import Budget
from nes_lab.records.compression_plan import CompressionPlan
from nes_lab.records.keywords import PlanKeywords
from nes_lab.records.options import EpitomeInit
from nes_lab.renamed import renamed_arguments
from nes_lab.surgery.replace import replace_layers
from nes_lab.surgery.verify import why_not_verified

__all__ = ["compress"]

Limit = float | int | str | None


@overload
def compress(
    model: Model,
    plan: CompressionPlan,
    initial_weights: EpitomeInit = "fit",
    generator: torch.Generator | None = None,
    *,
    example_input: Any = None,
    verify: bool = True,
) -> Model: ...


@overload
def compress(
    model: Model,
    *,
    example_input: Any,
    params: Limit = None,
    madds: Limit = None,
    latency_ms: Limit = None,
    stored_bytes: Limit = None,
    initial_weights: EpitomeInit = "fit",
    generator: torch.Generator | None = None,
    verify: bool = True,
    **options: Unpack[PlanKeywords],
) -> Model: ...


@renamed_arguments(weights="initial_weights")
def compress(
    model: Model,
    plan: CompressionPlan | None = None,
    initial_weights: EpitomeInit = "fit",
    generator: torch.Generator | None = None,
    *,
    params: Limit = None,
    madds: Limit = None,
    latency_ms: Limit = None,
    stored_bytes: Limit = None,
    example_input: Any = None,
    verify: bool = True,
    **options: Any,
) -> Model:
    """Copy a model, and replace the layers that a compression plan names by epitome layers.

    Give a plan, or a budget: one or more of ``params``, ``madds``, ``latency_ms`` and ``stored_bytes``, and ``example_input``.
    With a budget the plan is made first, by :func:`nes_lab.plan_for_budget`. The plan is the result's attribute ``nes_lab_plan``.

    The result runs once. It is compared with the plan: how often each replaced layer is called, params and multiply-adds. A
    difference is an error. A warning says why the comparison could not be made, for example for a plan of an older version.

    Names, tied weights, training and evaluation modes, dtypes, devices, hooks and ``requires_grad`` are kept. The given model
    is not changed.

    Args:
        model: The dense model.
        plan: Compression plan, from :func:`nes_lab.plan_for_budget` or :func:`nes_lab.preset`; None: the plan is made for the
            budget.
        initial_weights: How the epitomes get their values. ``"fit"``, for pretrained models: the sampled weight is as
            close as possible to the layer's weight. ``"reset"``, for training from scratch: each cell is a copy of one
            of the weights that are sampled from it. ``"none"``: random values.
        generator: Random generator. Its seed sets all random numbers. None: the seed is 0. The global random state is
            not changed.
        params: Limit on the number of params: a share of the dense model (``"60%"``, 0.6) or a number (``"2M"``); None: no
            limit.
        madds: Limit on multiply-adds: a share of the dense model (``"75%"``, 0.75) or a number (``"350M"``); None: no limit.
        latency_ms: Limit on the measured time of one forward pass: milliseconds, or a share of the dense model's time; None:
            no limit.
        stored_bytes: Limit on the bytes of the saved tensors: a share of the dense model (``"10%"``, 0.1) or a number (``"200k"``);
            None: no limit.
        example_input: Input of one forward pass, for a budget: a tensor, a tuple of arguments or a dict of keyword arguments.
            Its batch size and image size set the multiply-adds and the time. With a plan: the input of the run that compares
            the result with the plan. None, only with a plan: an input is made from the description in the plan.
        verify: False: the result is not run and compared with the plan.
        **options: For a budget, options of :func:`nes_lab.plan_for_budget`, such as ``routing`` or ``include``.

    Returns:
        The compressed copy, of the model's class.

    Raises:
        BudgetError: If the budget cannot be met.
        PlanError: If there is neither a plan nor a budget, or if a layer of the plan is missing in the model, has another
            shape or kind there, or has NaN or infinity in its weight. Also if the result does not do what the plan says; the
            message names the layers.
        OptionError: If an option is not known or has a wrong value, if a plan and a budget are given, if a budget has no
            ``example_input``, or if the model cannot run it.

    Examples:
        >>> import nes_lab, torch
        >>> from torch import nn
        >>> model, x = nn.Sequential(nn.Linear(64, 64)), torch.randn(1, 64)
        >>> small = nes_lab.compress(model, madds="50%", example_input=x)
        >>> nes_lab.count(small, x).madds <= 0.5 * nes_lab.count(model, x).madds
        True
        >>> plan = nes_lab.plan_for_budget(model, nes_lab.Budget(params="50%"), x)
        >>> type(nes_lab.compress(model, plan)[0]).__name__, type(model[0]).__name__
        ('EpitomeLinear', 'Linear')

    Source: Zhou et al., ICLR 2020, arXiv:1907.05642.
    """
    limits = {"params": params, "madds": madds, "latency_ms": latency_ms, "stored_bytes": stored_bytes}
    given = {name: limit for name, limit in limits.items() if limit is not None}
    if plan is not None:
        _refuse_beside_plan(given | options)
    else:
        _check_budget(model, given, example_input, options)
        plan = plan_for_budget(model, Budget(**given), example_input, **options)
    small = replace_layers(model, plan, initial_weights, generator)
    small.nes_lab_plan = plan  # type: ignore[assignment]
    why_not = why_not_verified(small, plan, example_input, model) if verify else ""
    if why_not:
        warnings.warn(f"compress: the result is not verified: {why_not}", stacklevel=3)
    return small


def _refuse_beside_plan(given: dict[str, Any]) -> None:
    """Raise an error if a plan is given together with arguments that would make one."""
    if given:
        name = next(iter(given))
        raise OptionError(
            f"compress got plan= and {name}=, which makes a plan; give a plan, or a budget with its options"
        )


def _check_budget(model: object, given: dict[str, Any], example_input: Any, options: dict[str, Any]) -> None:
    """Raise an error if the arguments of :func:`compress` are not enough to make a plan."""
    known = PlanKeywords.__annotations__
    for name in options:
        if name not in known:
            near = closest(name, (*known, "params", "madds", "latency_ms", "stored_bytes", "example_input"))
            raise OptionError(
                f"compress has no argument {name!r}.{near} A budget is params=, madds=, stored_bytes= and latency_ms=; its other "
                "options are those of nes_lab.plan_for_budget"
            )
    if not isinstance(model, nn.Module):
        raise PlanError(f"model is a {type(model).__name__}; compress takes a module")
    if not given:
        raise PlanError(
            "plan is None, and so are params, madds, stored_bytes and latency_ms; give a plan, or a budget such as madds='75%' with "
            "example_input"
        )
    if example_input is None:
        limits = ", ".join(f"{name}={limit!r}" for name, limit in given.items())
        raise OptionError(
            f"{limits} needs example_input too: an input of one forward pass, such as torch.randn(1, 3, 224, 224)"
        )
