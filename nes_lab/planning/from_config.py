"""From the fields of a configuration to a compression plan: one reading for experiments and the command line."""

from __future__ import annotations

from typing import Any

from torch import nn

from nes_lab.geometry.start_rules import routing_mode
from nes_lab.planning.planner import plan_for_budget
from nes_lab.planning.presets import preset
from nes_lab.progress_bar import OnProgress
from nes_lab.records.budget import Budget
from nes_lab.records.compression_plan import CompressionPlan

__all__ = ["plan_as_wanted"]


def plan_as_wanted(
    model: nn.Module,
    example_input: Any,
    wanted: Any,
    seed: int = 0,
    *,
    seconds: float = 60.0,
    progress: bool = False,
    on_progress: OnProgress | None = None,
) -> CompressionPlan:
    """Plan a model's compression as a configuration asks.

    Args:
        model: Left as it was.
        example_input: As :func:`nes_lab.count` takes it.
        wanted: A ``CompressionConfig``, or any object with its fields; configs end here, layers take flat arguments.
        seed: Of ``random`` routing.
        seconds: About how long a search for a limit on time may take.
        progress: Show a bar on standard error.
        on_progress: Called with a :class:`~nes_lab.progress_bar.ProgressEvent` at each piece of work; None: nobody is.

    Raises:
        OptionError: If an option is not among its choices.
        BudgetError: If the budget cannot be met; names the least that can be reached.
    """
    if wanted.preset is not None:
        return preset(wanted.preset, model, example_input)
    knobs = {name: getattr(wanted, name) for name in routing_mode(wanted.routing).options} or None
    return plan_for_budget(
        model,
        Budget(params=wanted.params, madds=wanted.madds, latency_ms=wanted.latency_ms),
        example_input,
        include=wanted.include or None,
        exclude=wanted.exclude or None,
        overrides=wanted.overrides or None,
        routing=wanted.routing,
        scope=wanted.scope,
        boundary=wanted.boundary,
        patch_channels=wanted.patch_channels,
        round_to=wanted.round_to,
        wiring=wanted.wiring,
        min_channels=wanted.min_channels,
        strategy=wanted.strategy,
        seed=seed,
        layer_options=knobs,
        seconds=seconds,
        progress=progress,
        on_progress=on_progress,
    )
