"""Compression plans by name: wirings that were published."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import nn

from nes_lab.compress.compression_plan import CompressionPlan, LayerPlan
from nes_lab.compress.planner import EpitomeOptions, assemble, plan_layer
from nes_lab.compress.survey import Survey, survey
from nes_lab.errors import PlanError, one_of

__all__ = ["PRESETS", "preset"]

PRESETS = ("released_x2",)
_OUT, _IN = 0, 1
_BLOCKS = {"InvertedResidual": ("conv_pw", "conv_pwl"), "InvertedBlock": ("expand.0", "project.0")}
"""Class name of an inverted-residual block -> names of its expand and project convolutions (timm's and ours)."""


def preset(
    name: str, model: nn.Module, example_input: Any, *, head: bool = False, wiring: str = "expand_project"
) -> CompressionPlan:
    """A published compression plan for a model.

    ``released_x2`` is the wiring of the NES authors' released code: in inverted-residual blocks the expand 1x1 convolution samples
    its output axis from half the cells, the project 1x1 its input axis, both tiled. In EfficientNet the 1x1 of the first stage's
    depthwise-separable blocks (those with squeeze-excite) samples its input axis too. No starts are learned.

    Args:
        name: ``"released_x2"``.
        model: A MobileNetV2 or EfficientNet of timm, or our small one; left as it was.
        example_input: As :func:`nes_lab.count` takes it.
        head: Also the head 1x1 convolution, along its input axis.
        wiring: ``"expand_project"``, or ``"expand_head"`` for expand and head only.

    Raises:
        OptionError: If the preset or wiring is not known.
        PlanError: If the model has no inverted-residual blocks the preset knows.

    Examples:
        >>> import torch, nes_lab
        >>> model = nes_lab.create_backbone("small_mobilenetv2", in_channels=1)
        >>> plan = preset("released_x2", model, torch.randn(1, 1, 8, 8))
        >>> plan.layers["blocks.1.expand.0"].weight_shape, plan.layers["blocks.1.expand.0"].epitome_shape
        ((64, 16, 1, 1), (32, 16, 1, 1))

    Source: the authors' release for the MicroNet challenge; counts in the tests.
    """
    one_of("name", name, PRESETS)
    one_of("wiring", wiring, ("expand_project", "expand_head"))
    found = survey(model, example_input)
    axes = dict(_expand_project(model))
    if not axes:
        raise PlanError(
            f"preset {name!r} knows the inverted-residual blocks of timm's MobileNetV2 and EfficientNet and of small_mobilenetv2; "
            f"{type(model).__name__} has none"
        )
    if wiring == "expand_head":
        axes = {layer: axis for layer, axis in axes.items() if axis == _OUT}
    if head or wiring == "expand_head":
        axes |= dict(_head(model))
    chosen = _halved(found, axes)
    return assemble(
        found, chosen, None, f"{name}, wiring={wiring}, head={head}", untouched=f"not in the wiring of {name}"
    )


def _expand_project(model: nn.Module) -> Iterator[tuple[str, int]]:
    for name, module in model.named_modules():
        kind = type(module).__name__
        if kind in _BLOCKS:
            expand, project = _BLOCKS[kind]
            if isinstance(_find(module, expand), nn.Conv2d):
                yield f"{name}.{expand}", _OUT
                yield f"{name}.{project}", _IN
        elif kind == "DepthwiseSeparableConv" and not isinstance(getattr(module, "se", nn.Identity()), nn.Identity):
            yield f"{name}.conv_pw", _IN


def _head(model: nn.Module) -> Iterator[tuple[str, int]]:
    for name in ("conv_head", "head.0"):
        if isinstance(_find(model, name), nn.Conv2d):
            yield name, _IN


def _find(module: nn.Module, path: str) -> nn.Module | None:
    for part in path.split("."):
        module = getattr(module, part, None)  # type: ignore[assignment]
        if module is None:
            return None
    return module


def _halved(found: Survey, axes: dict[str, int]) -> dict[int, LayerPlan]:
    chosen = {}
    for index, layer in enumerate(found.layers):
        if layer.name not in axes:
            continue
        shape = list(layer.weight_shape)
        shape[axes[layer.name]] = -(-shape[axes[layer.name]] // 2)
        chosen[index] = plan_layer(layer, index, tuple(shape), layer.dense(found.report), EpitomeOptions())
    return chosen
