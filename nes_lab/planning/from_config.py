"""Make the compression plan that the ``compression`` part of an experiment's configuration describes.

Tests: tests/experiment/test_build.py.
"""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

from torch import nn

from nes_lab.errors import OptionError, check_choice
from nes_lab.geometry.start_rules import routing_mode
from nes_lab.planning.planner import plan_for_budget
from nes_lab.planning.presets import PRESETS, SMALL_FILE, preset, small_file_options
from nes_lab.progress_bar import OnProgress
from nes_lab.records.budget import Budget
from nes_lab.records.compression_plan import CompressionPlan
from nes_lab.records.options import PlanOptions, option_default

__all__ = ["budget_of", "plan_from_config", "plan_options"]


_BESIDE_A_PRESET = {"include", "exclude", "overrides", "epitome_dtype", "snap"}
"""Options of planning that are not the preset's own."""


def plan_from_config(
    model: nn.Module,
    example_input: Any,
    config: Any,
    seed: int = 0,
    *,
    seconds: float = 60.0,
    progress: bool = False,
    on_progress: OnProgress | None = None,
) -> CompressionPlan:
    """Make the compression plan that a configuration describes, from its preset or its budget.

    Args:
        model: The dense model; it is not changed.
        example_input: Input of one forward pass: a tensor, a tuple of arguments or a dict of keyword arguments.
        config: A ``CompressionConfig``, or another object with the same fields.
        seed: Seed of random routing.
        seconds: Approximate time of the search in seconds. It is used only if the budget limits the measured time.
        progress: Show a bar on standard error.
        on_progress: Called with a :class:`~nes_lab.progress_bar.ProgressEvent` as the work goes on; None for no calls.

    Raises:
        OptionError: If an option is not among its choices, or does not go with the preset.
        BudgetError: If the budget cannot be met. The message names the smallest counts that can be reached.
    """
    if config.preset is not None:
        return preset(config.preset, model, example_input, seed=seed, **_preset_options(config))
    return plan_for_budget(
        model,
        budget_of(config),
        example_input,
        **_options(config, seed, seconds),
        progress=progress,
        on_progress=on_progress,
    )


def budget_of(config: Any) -> Budget:
    """Return the budget that a configuration describes: its limits on params, multiply-adds, measured time and stored bytes."""
    limits = {field.name: getattr(config, field.name) for field in fields(Budget)}
    return Budget(**limits)


def plan_options(config: Any, seed: int = 0) -> PlanOptions:
    """Return the options of planning that a configuration describes.

    Args:
        config: A ``CompressionConfig``, or another object with the same fields. The options of the preset ``small_file`` are its own.
        seed: Seed of random routing.

    Raises:
        OptionError: If an option is not among its choices.
    """
    if getattr(config, "preset", None) == SMALL_FILE:
        return replace(small_file_options(seed), **_preset_options(config))
    return PlanOptions(**_options(config, seed))


def _preset_options(config: Any) -> dict[str, Any]:
    """Return the options of a configuration that go with its preset. The others are those of the preset."""
    check_choice("preset", config.preset, PRESETS)
    if config.overrides:
        raise OptionError(f"overrides={dict(config.overrides)!r} does not go with preset={config.preset!r}")
    for name in (option for option in PlanOptions.names() if option not in _BESIDE_A_PRESET):
        value, usual = getattr(config, name, None), option_default(name)
        if hasattr(config, name) and value != usual:
            raise OptionError(
                f"{name}={value!r} does not go with preset={config.preset!r}, which sets it itself; "
                f"leave {name} at {usual!r}, or give a budget instead of the preset"
            )
    chosen = {name: getattr(config, name, None) or None for name in ("include", "exclude")}
    return chosen | {"epitome_dtype": getattr(config, "epitome_dtype", "float")}


def _options(config: Any, seed: int, seconds: float = 60.0) -> dict[str, Any]:
    options: dict[str, Any] = {name: getattr(config, name) for name in PlanOptions.names() if hasattr(config, name)}
    layer_options = {name: getattr(config, name) for name in routing_mode(config.routing).options}
    return options | {"layer_options": layer_options, "seed": seed, "seconds": seconds}
