"""Make compression plans by name. A preset names the channel axes that shrink, or gives all layers one epitome.

One preset shrinks the axes that the NES authors' released code shrinks. ``small_file`` is for networks whose file must be small. The others
are simple, for comparison.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from math import prod
from typing import Any, get_args

from torch import nn

from nes_lab.errors import OptionError, PlanError, check_choice, check_int
from nes_lab.planning.flat_plan import flat_layers
from nes_lab.planning.ladder import shrinking_axes
from nes_lab.planning.layer_plans import assemble, plan_layer
from nes_lab.planning.survey import Survey, SurveyedLayer, run_and_list, survey, with_reasons
from nes_lab.records.compression_plan import CompressionPlan
from nes_lab.records.layer_plan import LayerPlan
from nes_lab.records.options import EpitomeDtype, PlanOptions, PresetName, PresetWiring

__all__ = ["PRESETS", "SMALL_FILE", "preset", "small_file_options"]

PRESETS = get_args(PresetName)
RELEASED, SMALL_FILE = "released_x2", "small_file"
AXES_PRESETS = tuple(name for name in PRESETS if name not in (RELEASED, SMALL_FILE))
FACTORS = {RELEASED: 2, SMALL_FILE: 16} | dict.fromkeys(AXES_PRESETS, 2)
"""Default of the argument ``factor`` of each preset."""
PATCH_CHANNELS, PATCH_CHANNELS_OF_POINTS = 4, 8
"""Channels of a patch of ``small_file``, for convolutions with a window and for 1x1 convolutions and linear layers.

A patch stores one factor per window. With 4 x 4 channels, two factors are 12.5 % of a 1x1 patch and 1.4 % of a 3x3 patch; with 8 x 8
channels, they are 3.1 % of a 1x1 patch.
"""
OUTPUT_AXIS, INPUT_AXIS = 0, 1
EXPAND_AND_PROJECT = {"InvertedResidual": ("conv_pw", "conv_pwl"), "InvertedBlock": ("expand.0", "project.0")}
"""Class name of an inverted-residual block (of timm or of this library) -> names of its expand and project convolutions."""


def preset(
    name: PresetName,
    model: nn.Module,
    example_input: Any,
    *,
    head: bool = False,
    wiring: PresetWiring = "expand_project",
    factor: int | None = None,
    include: Sequence[str] | str | None = None,
    exclude: Sequence[str] | str | None = None,
    epitome_dtype: EpitomeDtype = "float",
    seed: int = 0,
) -> CompressionPlan:
    """Make the compression plan of a preset, without a budget. A preset names the channel axes that shrink.

    Starts are not learned. They are tiled, but those of ``small_file`` are random.

    ``small_file`` is for a file that must be small. All layers that may be replaced share one epitome, which has a cell for every 16
    weights. A patch is a sum of two windows, with 4 x 4 channels, or 8 x 8 in 1x1 convolutions and linear layers. Depthwise convolutions,
    thin layers, and the first convolution and classifier that the model declares stay dense. It takes a ResNet to about a tenth of its
    bytes. Multiply-adds stay those of the dense network.

    ``released_x2`` shrinks the axes that the NES authors' released code shrinks, each to half as many cells. In
    inverted-residual blocks, these are the output axis of the expand 1x1 convolution and the input axis of the project
    1x1 convolution. In EfficientNet, the first stage has depthwise-separable blocks with squeeze-excite. The 1x1
    convolutions of these blocks shrink along the input axis too.

    The presets ``input_axis``, ``output_axis`` and ``both_axes`` shrink the channel axes that they name, in every layer that may be
    replaced.

    Args:
        name: Name of the preset: ``"released_x2"``, ``"input_axis"``, ``"output_axis"``, ``"both_axes"`` or ``"small_file"``.
        model: The dense model; it is not changed. ``released_x2`` needs a MobileNetV2 or EfficientNet of timm, or
            ``small_mobilenetv2``.
        example_input: Input of one forward pass: a tensor, a tuple of arguments or a dict of keyword arguments.
        head: Also compress the head 1x1 convolution along its input axis; for ``released_x2`` only.
        wiring: Convolutions to compress: ``"expand_project"``, or ``"expand_head"`` for expand and head convolutions; for
            ``released_x2`` only.
        factor: Number of weights along an axis that share one epitome cell; for ``small_file`` the number of weights for each cell of
            the one epitome. None: 2, and 16 for ``small_file``. For ``released_x2`` it is always 2.
        include: Name patterns or types of the layers to replace; None replaces all layers that can be replaced. Not for ``released_x2``.
        exclude: Name patterns or types of layers that stay dense; None excludes no layers. Not for ``released_x2``.
        epitome_dtype: Type of the numbers of an epitome: ``"float"`` (the network's own type) or ``"int8"``.
        seed: Seed of the random starts of ``small_file``; the other presets have none.

    Raises:
        OptionError: If the preset or ``wiring`` is not known, an option does not go with the preset, or a pattern matches no layer.
        PlanError: If the model has no layer that the preset replaces.

    Examples:
        >>> import torch, nes_lab
        >>> model, x = nes_lab.create_backbone("small_mobilenetv2", in_channels=1), torch.randn(1, 1, 8, 8)
        >>> nes_lab.preset("released_x2", model, x).layers["blocks.1.expand.0"].epitome_shape
        (32, 16, 1, 1)
        >>> nes_lab.preset("both_axes", model, x).layers["blocks.1.expand.0"].epitome_shape
        (32, 8, 1, 1)
        >>> resnet = nes_lab.create_backbone("cifar_resnet14", num_classes=10)
        >>> plan = nes_lab.preset("small_file", resnet, torch.randn(1, 3, 32, 32))
        >>> list(plan.epitomes), round(plan.predicted.stored_bytes / plan.dense.stored_bytes, 2)
        (['network'], 0.09)

    Source: the NES authors' code for the MicroNet challenge. The tests check the counts of ``released_x2``.
    """
    check_choice("name", name, PRESETS)
    check_choice("wiring", wiring, get_args(PresetWiring))
    factor = FACTORS[name] if factor is None else factor
    check_int("factor", factor, 2)
    given = {"head": head, "wiring": wiring != "expand_project"} if name != RELEASED else {}
    given |= {"include": include, "exclude": exclude, "factor": factor != 2} if name == RELEASED else {}
    for option, value in given.items():
        if value:
            raise OptionError(f"{option} does not go with the preset {name!r}")
    if name == SMALL_FILE:
        options = replace(small_file_options(seed, epitome_dtype), include=include, exclude=exclude)
        return _small_file(model, example_input, factor, options)
    if name in AXES_PRESETS:
        options = PlanOptions(include=include, exclude=exclude, epitome_dtype=epitome_dtype)
        return _along_axes(name, model, example_input, factor, options)
    return _released(name, model, example_input, head, wiring, PlanOptions(epitome_dtype=epitome_dtype))


def small_file_options(seed: int = 0, epitome_dtype: EpitomeDtype = "float") -> PlanOptions:
    """Return the options of planning that the preset ``small_file`` stands for.

    Args:
        seed: Seed of the random starts.
        epitome_dtype: Type of the numbers of the epitome.

    Examples:
        >>> options = small_file_options()
        >>> options.share, options.windows, options.routing
        ('network', 2, 'random')
    """
    return PlanOptions(
        share="network",
        windows=2,
        routing="random",
        patch_channels=PATCH_CHANNELS,
        epitome_dtype=epitome_dtype,
        seed=seed,
    )


def _small_file(model: nn.Module, example_input: Any, factor: int, options: PlanOptions) -> CompressionPlan:
    """Give all layers one flat epitome with a cell for every ``factor`` weights."""
    surveyed = run_and_list(model, example_input)
    points = [
        layer.name
        for layer in with_reasons(surveyed, model, options).layers
        if not layer.reason and prod(layer.weight_shape[2:]) == 1
    ]
    settings = {name: {"patch_channels": PATCH_CHANNELS_OF_POINTS} for name in points}
    flat = flat_layers(surveyed, model, replace(options, overrides=settings or None))
    cells = max(sum(flat.weights.values()) // factor, sum(flat.fewest_cells.values()))
    plan = flat.plan(flat.cells(cells), None)
    why = f"patch_channels={PATCH_CHANNELS_OF_POINTS}, as {SMALL_FILE} has it for 1x1 convolutions and linear layers"
    layers = {name: replace(layer, why=why) if name in points else layer for name, layer in plan.layers.items()}
    note = f"one epitome with {cells:,} cells for {sum(flat.weights.values()):,} weights; its cells are counted in the first layer"
    return replace(plan, layers=layers, origin=f"{SMALL_FILE}, factor={factor}", notes=(*plan.notes, note))


def _along_axes(
    name: PresetName,
    model: nn.Module,
    example_input: Any,
    factor: int,
    options: PlanOptions,
) -> CompressionPlan:
    surveyed = survey(model, example_input, options)
    layers = tuple(_dense_if_thin(layer, name, factor) for layer in surveyed.layers)
    axes = {layer.name: shrinking_axes(layer, name) for layer in layers if not layer.reason}
    if not axes:
        raise PlanError(f"preset {name!r}: {type(model).__name__} has no layer that may be replaced")
    return _assemble(replace(surveyed, layers=layers), axes, factor, name, f"factor={factor}", options)


def _dense_if_thin(layer: SurveyedLayer, name: str, factor: int) -> SurveyedLayer:
    """Keep a layer dense if it has too few channels for the preset.

    Return the layer, or a copy that gives the reason why it stays dense.
    """
    if layer.reason or all(layer.weight_shape[axis] >= factor for axis in shrinking_axes(layer, name)):
        return layer
    return replace(layer, reason=f"fewer than factor={factor} channels on an axis of {name}")


def _released(
    name: str, model: nn.Module, example_input: Any, head: bool, wiring: str, options: PlanOptions
) -> CompressionPlan:
    surveyed = survey(model, example_input)
    axes = dict(_expand_project(model))
    if not axes:
        raise PlanError(
            f"preset {name!r} knows the inverted-residual blocks of timm's MobileNetV2 and EfficientNet and of small_mobilenetv2; "
            f"{type(model).__name__} has none. The presets {', '.join(AXES_PRESETS)} take any model"
        )
    if wiring == "expand_head":
        axes = {layer: axis for layer, axis in axes.items() if axis == OUTPUT_AXIS}
    if head or wiring == "expand_head":
        axes |= dict(_head(model))
    by_layer = {layer: (axis,) for layer, axis in axes.items()}
    return _assemble(surveyed, by_layer, 2, name, f"wiring={wiring}, head={head}", options)


def _expand_project(model: nn.Module) -> Iterator[tuple[str, int]]:
    for name, module in model.named_modules():
        kind = type(module).__name__
        if kind in EXPAND_AND_PROJECT:
            expand, project = EXPAND_AND_PROJECT[kind]
            if isinstance(_find(module, expand), nn.Conv2d):
                yield f"{name}.{expand}", OUTPUT_AXIS
                yield f"{name}.{project}", INPUT_AXIS
        elif kind == "DepthwiseSeparableConv" and not isinstance(getattr(module, "se", nn.Identity()), nn.Identity):
            yield f"{name}.conv_pw", INPUT_AXIS


def _head(model: nn.Module) -> Iterator[tuple[str, int]]:
    for name in ("conv_head", "head.0"):
        if isinstance(_find(model, name), nn.Conv2d):
            yield name, INPUT_AXIS


def _find(module: nn.Module, path: str) -> nn.Module | None:
    for part in path.split("."):
        module = getattr(module, part, None)  # type: ignore[assignment]
        if module is None:
            return None
    return module


def _assemble(
    surveyed: Survey, axes: Mapping[str, Sequence[int]], factor: int, name: str, how: str, options: PlanOptions
) -> CompressionPlan:
    """Make a compression plan in which ``factor`` weights share one epitome cell along each axis in ``axes``."""
    layer_plans: dict[int, LayerPlan] = {}
    for layer in surveyed.layers:
        if layer.name in axes:
            sizes = enumerate(layer.weight_shape)
            shape = tuple(-(-size // factor) if axis in axes[layer.name] else size for axis, size in sizes)
            layer_plans[layer.index] = plan_layer(layer, shape, replace(options, include=None, exclude=None))
    return assemble(surveyed, layer_plans, None, f"{name}, {how}", untouched=f"not in the wiring of {name}")
