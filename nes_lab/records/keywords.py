"""Name the keyword arguments that several functions pass on, with their types, so that type checkers see a misspelled one.

Each function keeps its own defaults. This file does not import torch.

Tests: tests/house/test_types.py, tests/records/test_options.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Required, TypedDict

from nes_lab.geometry.epitome_geometry import Boundary, Scope
from nes_lab.progress_bar import OnProgress
from nes_lab.records.compression_plan import CompressionPlan
from nes_lab.records.options import (
    EpitomeDtype,
    ExecutionOption,
    LearnerKind,
    Routing,
    ScopeOption,
    Share,
    Squash,
    Strategy,
    Wiring,
)
from nes_lab.records.sensitivity_report import SensitivityReport

__all__ = ["EpitomeKeywords", "OtherPlanKeywords", "PlanKeywords", "SavingKeywords"]


class EpitomeKeywords(TypedDict, total=False):
    """Keyword arguments of an epitome layer, besides those of the dense layer: see :class:`nes_lab.EpitomeConv2d`."""

    epitome_shape: Required[tuple[int, ...]]
    patch_channels: int | tuple[int, int] | None
    routing: Routing
    scope: Scope
    boundary: Boundary
    execution: ExecutionOption
    seed: int
    windows: int
    epitome_dtype: EpitomeDtype
    reach: float
    squash: Squash
    momentum: float
    learner: LearnerKind


class OtherPlanKeywords(TypedDict, total=False):
    """Keyword arguments of :func:`nes_lab.plan_for_budget` besides model, budget, example input, ``routing`` and ``seed``."""

    include: Sequence[str] | str | None
    exclude: Sequence[str] | str | None
    overrides: Mapping[str, Mapping[str, Any]] | None
    scope: ScopeOption
    boundary: Boundary
    patch_channels: int | tuple[int, int] | None
    share: Share
    windows: int
    epitome_dtype: EpitomeDtype
    round_to: int
    wiring: Wiring
    min_channels: int
    strategy: Strategy
    sensitivity: SensitivityReport | None
    snap: bool
    layer_options: Mapping[str, Any] | None
    seconds: float
    progress: bool
    on_progress: OnProgress | None


class PlanKeywords(OtherPlanKeywords, total=False):
    """Keyword arguments of :func:`nes_lab.plan_for_budget` besides the model, the budget and the example input."""

    routing: Routing
    seed: int


class SavingKeywords(TypedDict, total=False):
    """Keyword arguments of :func:`nes_lab.save_pretrained` besides the model and the folder."""

    backbone: Mapping[str, Any] | str | None
    plan: CompressionPlan | None
    metadata: Mapping[str, Any] | None
    keep_learner: bool
    overwrite: bool
    example_input: Any
    verify: bool
