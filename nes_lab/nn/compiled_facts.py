"""Describe a layer to the operators of compiled training steps (:mod:`nes_lab.nn.compiled_step`) by a list of numbers.

An operator takes tensors and numbers only. From the numbers it makes the objects that a step in eager mode uses; they are kept.

Tests: tests/execution/test_compiled.py
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from functools import cached_property, lru_cache

import numpy as np
import torch
from torch import Tensor

from nes_lab.epitome.learned_cells import LearnedCells, StartsLayout, StepStarts
from nes_lab.execution.base import LayerOp
from nes_lab.execution.factored_step import FactoredStep
from nes_lab.geometry.epitome_geometry import EpitomeGeometry
from nes_lab.nn.predict_step import Move, Prediction

__all__ = ["StepFacts", "joined_array", "layer_numbers", "step_facts"]

_NUMPY = {torch.float32: np.dtype(np.float32), torch.float64: np.dtype(np.float64)}
_MAX_LAYERS = 1024
"""Most layers whose data is kept. What was used least recently is dropped first."""
_kept_cells: OrderedDict[tuple[int, ...], LearnedCells] = OrderedDict()
"""The cells that a layer read in its last step, by the addresses of its anchors. Whoever takes them checks that they are right."""


def layer_numbers(op: LayerOp, geometry: EpitomeGeometry, axes: Sequence[int]) -> list[int]:
    """Return the numbers that describe a layer with separable scope.

    Args:
        op: The layer's convolution.
        geometry: Shapes of weight and epitome.
        axes: The axes that have starts: 0, 1 or both.
    """
    assert isinstance(geometry.patch_channels, tuple) and not isinstance(op.padding, str)
    shapes = [*geometry.weight_shape[:2], *geometry.epitome_shape[:2], *geometry.patch_channels]
    last = [int(geometry.boundary == "circular"), sum(1 << axis for axis in axes)]
    return [*op.kernel_size, *op.stride, *op.padding, *op.dilation, *shapes, *last]


class StepFacts:
    """Holds what an operator must know of a layer, besides tensors.

    Args:
        numbers: Result of :func:`layer_numbers`.
    """

    def __init__(self, numbers: tuple[int, ...]) -> None:
        spatial = (len(numbers) - 8) // 4
        kernel, stride, padding, dilation = (numbers[i * spatial : (i + 1) * spatial] for i in range(4))
        c_out, c_in, e_out, e_in, b_out, b_in, circular, axes = numbers[4 * spatial :]
        self.op = LayerOp(kernel, stride, padding, dilation)
        boundary = "circular" if circular else "clamp"
        shapes = (c_out, c_in, *kernel), (e_out, e_in, *kernel)
        self.geometry = EpitomeGeometry(*shapes, (b_out, b_in), "separable", boundary)
        self.axes = tuple(axis for axis in (0, 1) if axes >> axis & 1)
        self._layouts = {dtype: StartsLayout(self.geometry, self.axes, dtype) for dtype in _NUMPY.values()}

    def layout(self, dtype: np.dtype) -> StartsLayout:
        """Return where the starts, channels and cells of each axis are. It is the same object each time."""
        return self._layouts[dtype]

    @cached_property
    def largest(self) -> np.ndarray:
        """Largest start of each patch with ``squash="sigmoid"``."""
        axes = [self.geometry.axes[a] for a in self.axes]
        if self.geometry.boundary == "circular":
            return np.concatenate([np.full(a.patches, a.cells) for a in axes])
        return np.concatenate([self.geometry.limits(a) for a in self.axes])

    def move(self, learned: Sequence[Tensor], fixed: Sequence[Tensor], settings: Sequence[float]) -> Move:
        """Return how predictions become starts.

        Args:
            learned: Weights and biases of the index learner.
            fixed: The stored starts of each axis, then the anchors of each axis.
            settings: Reach and momentum; a reach below 0 stands for ``squash="sigmoid"``.
        """
        count, (reach, momentum) = len(self.axes), settings
        previous, anchor = joined_array(fixed[:count]), joined_array(fixed[count:])
        limits, clamped = self.layout(anchor.dtype).limits, self.geometry.boundary == "clamp"
        last = learned[2].numpy(), learned[3].numpy()
        largest, empty = self.largest.astype(anchor.dtype), np.empty_like(previous)
        return Move(previous, anchor, limits, clamped, None if reach < 0 else reach, largest, momentum, last, empty)

    def step(
        self, values: np.ndarray, anchors: Sequence[Tensor], dtype: torch.dtype, prediction: Prediction | None
    ) -> FactoredStep:
        """Return how the channel axes are read if the starts have given values.

        Args:
            values: The starts of all axes.
            anchors: The anchors of each axis, by whose addresses the cells are kept.
            dtype: Data type of the layer's input.
            prediction: How the starts were predicted; None: each is the sum of an anchor and an offset.
        """
        layout, clamped = self.layout(values.dtype), prediction is None and self.geometry.boundary == "clamp"
        inside = np.minimum(np.maximum(values, 0), layout.limits) if clamped else values
        key = tuple(tensor.data_ptr() for tensor in anchors)
        cells = _kept_cells.pop(key, None)
        fractions = None if cells is None or cells.layout is not layout else cells.fractions(inside)
        if cells is None or fractions is None:
            cells = LearnedCells.of(inside, layout, clamped)
            fractions = inside - cells.base
        _kept_cells[key] = cells
        if len(_kept_cells) > _MAX_LAYERS:
            _kept_cells.popitem(last=False)
        readings = iter(cells.readings(fractions, _NUMPY[dtype]))
        output, input = (next(readings) if axis in self.axes else None for axis in (0, 1))
        starts = StepStarts(cells, values, clamped, prediction)
        return FactoredStep(self.op.read, output, input, _no_taps, starts, self.op.dropped)

    def sizes(self, x: Tensor) -> tuple[list[int], list[int]]:
        """Return the lengths of the spatial axes of the part of the input that is read, and of the output."""
        steps = [1] * self.op.spatial if self.op.dropped is None else [index.step for index in self.op.dropped[1:]]
        read = [-(-n // step) for n, step in zip(x.shape[2:], steps, strict=True)]
        return read, self.op.output_sizes(x.shape[2:])

    @property
    def patches(self) -> list[int]:
        """Number of patches of each axis that has starts."""
        return [self.geometry.axes[a].patches for a in self.axes]

    def kept(self, needed: int, settings: Sequence[float], by_weight: bool) -> tuple[bool, bool]:
        """Return whether the folded input and the products are kept for the gradients.

        Args:
            needed: Bit ``i`` is set if input ``i`` of the operator needs a gradient: input, epitome, bias, then the learned tensors.
            settings: Reach and momentum of an index learner; empty for starts that are parameters.
            by_weight: True if the gradients are computed from that of the complete weight.
        """
        starts = bool(needed >> 3) or bool(needed & 1 and settings)
        folded, products = bool(needed & 2) or starts, starts
        return not by_weight and folded and 1 in self.axes, not by_weight and products and 0 in self.axes


@lru_cache(_MAX_LAYERS)
def step_facts(numbers: tuple[int, ...]) -> StepFacts:
    """Return what some numbers say of a layer. It is the same object each time, as long as it is kept."""
    return StepFacts(numbers)


def _no_taps(learned: Sequence[Tensor]) -> tuple[None, None]:
    raise NotImplementedError("compiled code has first derivatives only")


def joined_array(tensors: Sequence[Tensor]) -> np.ndarray:
    """Return the numbers of small tensors, one after the other. Do not write into the result: it may share memory with a tensor."""
    arrays = [tensor.detach().numpy() for tensor in tensors]
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
