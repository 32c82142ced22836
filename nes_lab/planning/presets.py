"""Compression plans by name: the wiring that was published, and the plain ones to compare it with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import nn

from nes_lab.errors import OptionError, PlanError, check_choice, check_int
from nes_lab.planning.ladder import axes_of
from nes_lab.planning.layer_plans import EpitomeOptions, assemble, plan_layer
from nes_lab.planning.survey import Survey, survey
from nes_lab.records.compression_plan import CompressionPlan, LayerPlan

__all__ = ["PRESETS", "preset"]

_AXES = ("input_axis", "output_axis", "both_axes")
PRESETS = ("released_x2", *_AXES)
_OUT, _IN = 0, 1
_BLOCKS = {"InvertedResidual": ("conv_pw", "conv_pwl"), "InvertedBlock": ("expand.0", "project.0")}
"""Class name of an inverted-residual block -> names of its expand and project convolutions (timm's and ours)."""


def preset(
    name: str,
    model: nn.Module,
    example_input: Any,
    *,
    head: bool = False,
    wiring: str = "expand_project",
    factor: int = 2,
    include: Sequence[str] | str | None = None,
    exclude: Sequence[str] | str | None = None,
) -> CompressionPlan:
    """A compression plan by name, without a budget. Starts are tiled, none are learned.

    ``released_x2`` is the wiring of the NES authors' released code: in inverted-residual blocks the expand 1x1 convolution samples
    its output axis from half the cells, the project 1x1 its input axis. In EfficientNet the 1x1 of the first stage's
    depthwise-separable blocks (those with squeeze-excite) samples its input axis too.

    ``input_axis``, ``output_axis`` and ``both_axes`` do the same along these axes in every layer that may be replaced.

    Args:
        name: ``"released_x2"``, ``"input_axis"``, ``"output_axis"`` or ``"both_axes"``.
        model: Left as it was; for ``released_x2`` a MobileNetV2 or EfficientNet of timm, or our small one.
        example_input: As :func:`nes_lab.count` takes it.
        head: ``released_x2``: also the head 1x1 convolution, along its input axis.
        wiring: ``released_x2``: ``"expand_project"``, or ``"expand_head"`` for expand and head only.
        factor: Weights that share a cell along an axis; ``released_x2`` is 2 by its name.
        include: Of the other presets, as :func:`nes_lab.plan_for_budget` takes it.
        exclude: Likewise.

    Raises:
        OptionError: If a preset, wiring or option is not known, does not go with the preset, or a pattern matches no layer.
        PlanError: If the model has nothing that the preset knows.

    Examples:
        >>> import torch, nes_lab
        >>> model, x = nes_lab.create_backbone("small_mobilenetv2", in_channels=1), torch.randn(1, 1, 8, 8)
        >>> preset("released_x2", model, x).layers["blocks.1.expand.0"].epitome_shape
        (32, 16, 1, 1)
        >>> preset("both_axes", model, x).layers["blocks.1.expand.0"].epitome_shape
        (32, 8, 1, 1)

    Source: the authors' release for the MicroNet challenge; counts in the tests.
    """
    check_choice("name", name, PRESETS)
    check_choice("wiring", wiring, ("expand_project", "expand_head"))
    check_int("factor", factor, 2)
    given = {"head": head, "wiring": wiring != "expand_project"} if name in _AXES else {}
    given |= {"include": include, "exclude": exclude, "factor": factor != 2} if name not in _AXES else {}
    for option, value in given.items():
        if value:
            raise OptionError(f"{option} does not go with the preset {name!r}")
    if name in _AXES:
        return _along_axes(name, model, example_input, factor, include, exclude)
    return _released(name, model, example_input, head, wiring)


def _along_axes(
    name: str,
    model: nn.Module,
    example_input: Any,
    factor: int,
    include: Sequence[str] | str | None,
    exclude: Sequence[str] | str | None,
) -> CompressionPlan:
    found = survey(model, example_input, include, exclude)
    axes: dict[str, tuple[int, ...]] = {}
    for layer in found.layers:
        wanted = axes_of(layer, name)
        if not layer.reason and any(layer.weight_shape[a] < factor for a in wanted):
            layer.reason = f"fewer than factor={factor} channels on an axis of {name}"
        if not layer.reason:
            axes[layer.name] = wanted
    if not axes:
        raise PlanError(f"preset {name!r}: {type(model).__name__} has no layer that may be replaced")
    chosen = _shared(found, axes, factor)
    return assemble(found, chosen, None, f"{name}, factor={factor}", untouched=f"not in the wiring of {name}")


def _released(name: str, model: nn.Module, example_input: Any, head: bool, wiring: str) -> CompressionPlan:
    found = survey(model, example_input)
    axes = dict(_expand_project(model))
    if not axes:
        raise PlanError(
            f"preset {name!r} knows the inverted-residual blocks of timm's MobileNetV2 and EfficientNet and of small_mobilenetv2; "
            f"{type(model).__name__} has none. The presets {', '.join(_AXES)} take any model"
        )
    if wiring == "expand_head":
        axes = {layer: axis for layer, axis in axes.items() if axis == _OUT}
    if head or wiring == "expand_head":
        axes |= dict(_head(model))
    chosen = _shared(found, {layer: (axis,) for layer, axis in axes.items()}, 2)
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


def _shared(found: Survey, axes: Mapping[str, Sequence[int]], factor: int) -> dict[int, LayerPlan]:
    """Plans of the named layers, with ``factor`` weights to a cell along their axes."""
    chosen = {}
    for index, layer in enumerate(found.layers):
        if layer.name in axes:
            mine = axes[layer.name]
            shape = tuple(-(-size // factor) if a in mine else size for a, size in enumerate(layer.weight_shape))
            chosen[index] = plan_layer(layer, index, shape, layer.dense(found.report), EpitomeOptions())
    return chosen
