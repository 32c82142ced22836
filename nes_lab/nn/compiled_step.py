"""Compute a training step of ``factored`` with learned starts in compiled code on a CPU, as one custom operator.

``torch.compile`` traces, fuses and compiles each operation that it sees. A layer with learned starts has dozens that do little work,
and they would take most of the time to compile a network. A custom operator is one operation for the compiler, which does not
look into it. It computes what :mod:`nes_lab.execution.factored_step` computes in eager mode; another one computes all gradients.

Compiled code may repeat a step in the backward pass: with ``torch.utils.checkpoint``, or to keep within torch's
``activation_memory_budget``. The operators see that when they run. A repeated step starts from the starts before the step, which the
index learner's module keeps, and stores nothing. Only those of the last step are kept, as in eager mode.

Tests: tests/execution/test_compiled.py
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor

from nes_lab.epitome.compiled_taps import compiles_taps
from nes_lab.epitome.slices import channels_inside
from nes_lab.errors import PlanError
from nes_lab.execution.base import LayerOp
from nes_lab.execution.factored_step import FactoredStep, as_matrix, run_step, step_gradients
from nes_lab.geometry.epitome_geometry import EpitomeGeometry
from nes_lab.nn.compiled_facts import StepFacts, joined_array, layer_numbers, step_facts
from nes_lab.nn.free_starts import FreeStarts
from nes_lab.nn.index_learner import LearnerStarts, averages_ranks, repeats_forward
from nes_lab.nn.predict_step import Prediction, hidden_numbers, pooled_means, simple_learner
from nes_lab.nn.starts import Starts

__all__ = ["compiled_step"]

_DTYPES = (torch.float32, torch.float64)


def compiled_step(
    x: Tensor, cells: Tensor, bias: Tensor | None, routing: Starts, op: LayerOp, geometry: EpitomeGeometry
) -> Tensor | None:
    """Compute a layer's output in a step that learns its starts, in compiled code. None if it cannot be computed so.

    The starts are stored as the layer's module of starts stores them.

    Args:
        x: Input of the layer.
        cells: The epitome.
        bias: One number per output channel; None: no bias.
        routing: Module that holds the starts.
        op: The layer's convolution.
        geometry: Shapes of weight and epitome.
    """
    if not compiles_taps(x) or geometry.scope != "separable" or op.spatial == 0 or isinstance(op.padding, str):
        return None
    if x.dtype != cells.dtype or x.dtype not in _DTYPES or x.ndim != op.spatial + 2 or channels_inside(x):
        return None
    if torch.is_autocast_enabled("cpu") or not routing.sampled or not x.numel():
        return None
    read = _read_starts(routing, x)
    if read is None:
        return None
    learned, fixed, settings = read
    numbers = layer_numbers(op, geometry, routing.sampled)
    given = (x, cells, bias, *learned)
    needed = sum(1 << i for i, t in enumerate(given) if t is not None and t.requires_grad)
    needed = needed if torch.is_grad_enabled() else 0
    found = torch.ops.nes_lab.factored_step(x, cells, bias, learned, fixed, numbers, settings, needed)
    if routing.training:
        with torch.no_grad():
            if settings:
                count = len(routing.sampled)
                torch.ops.nes_lab.store_predicted_(fixed[count : 2 * count], fixed[:count], found[3])
            elif geometry.boundary == "clamp":
                torch.ops.nes_lab.clamp_all_offsets_(learned, fixed, numbers)
    return found[0]


def _read_starts(routing: Starts, x: Tensor) -> tuple[list[Tensor], list[Tensor], list[float]] | None:
    """Return the tensors that gradients reach, the other tensors that starts come from, and the settings of the index learner."""
    if type(routing) is FreeStarts:
        return [routing.table(a) for a in routing.sampled], [routing.anchor(a) for a in routing.sampled], []
    if type(routing) is not LearnerStarts or routing.learner is None:
        return None
    previous, tables = _buffers(routing, "previous"), [routing.table(a) for a in routing.sampled]
    if not (routing.training and tables[0].dtype == x.dtype) or averages_ranks():
        return None
    learner = simple_learner(routing.learner, x.dtype)
    if learner is None:
        return None
    reach = routing.reach if routing.squash == "tanh" else -1.0
    fixed = [*previous, *tables, *_buffers(routing, "anchor")]
    return list(learner), fixed, [float(reach), float(routing.momentum)]


def _buffers(routing: LearnerStarts, what: str) -> list[Tensor]:
    return [getattr(routing, routing._name(what, axis)) for axis in routing.sampled]


@torch.library.custom_op("nes_lab::factored_step", mutates_args=())
def _factored_step(
    x: Tensor,
    epitome: Tensor,
    bias: Tensor | None,
    learned: list[Tensor],
    fixed: list[Tensor],
    numbers: list[int],
    settings: list[float],
    needed: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return the output, the folded input, the products, the starts, and the index learner's means and hidden numbers.

    ``fixed`` are the anchors; with an index learner, the starts before the last step and the stored starts come first. ``numbers``
    describe the layer, ``settings`` are the reach and momentum of an index learner, and bit ``i`` of ``needed`` is set if input ``i``
    needs a gradient. What no gradient needs is empty.
    """
    facts, x, learned = step_facts(tuple(numbers)), x.detach().contiguous(), [t.detach() for t in learned]
    count = len(facts.axes)
    anchors, prediction = fixed[-count:], None
    pooled, hidden = x.new_empty(0), x.new_empty(0)
    if settings:
        pooled = pooled_means(x)
        hidden_array = hidden_numbers(pooled, learned)
        # a step that is repeated in the backward pass has stored its own result, so it reads the starts before it
        old = fixed[:count] if repeats_forward() else fixed[count : 2 * count]
        prediction = Prediction.of_hidden(pooled, hidden_array, facts.move(learned, [*old, *anchors], settings))
        values, hidden = prediction.new_starts(), torch.from_numpy(hidden_array)
    else:
        values = joined_array(anchors) + joined_array(learned)
    step = facts.step(values, anchors, x.dtype, prediction)
    run = run_step(x, epitome.detach().contiguous(), None if bias is None else bias.detach(), step)
    keep_folded, keep_products = facts.kept(needed, settings, run.by_weight)
    folded = run.folded if keep_folded else x.new_empty(0)
    products = run.products if keep_products else x.new_empty(0)
    return run.y, folded, products, torch.from_numpy(values), pooled, hidden


@_factored_step.register_fake
def _(
    x: Tensor,
    epitome: Tensor,
    bias: Tensor | None,
    learned: list[Tensor],
    fixed: list[Tensor],
    numbers: list[int],
    settings: list[float],
    needed: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    facts, samples = step_facts(tuple(numbers)), x.shape[0]
    read, sizes = facts.sizes(x)
    matrix = as_matrix(facts.op.read, (samples, x.shape[1], *read))
    (e_out, e_in), c_out = facts.geometry.epitome_shape[:2], facts.geometry.weight_shape[0]
    keep_folded, keep_products = facts.kept(needed, settings, facts.op.read.pointwise and not matrix)
    folded = _map_shape(samples, e_in, read, matrix) if keep_folded else [0]
    products = _map_shape(samples, e_out, sizes, matrix) if keep_products else [0]
    pooled, hidden = ((samples, x.shape[1]), (samples, learned[0].shape[0])) if settings else ((0,), (0,))
    starts = fixed[0].new_empty(sum(facts.patches))
    y = x.new_empty(samples, c_out, *sizes)
    return y, x.new_empty(folded), x.new_empty(products), starts, x.new_empty(pooled), x.new_empty(hidden)


def _map_shape(samples: int, channels: int, sizes: Sequence[int], matrix: bool) -> list[int]:
    return [channels, samples * prod(sizes)] if matrix else [samples, channels, *sizes]


class _Kept:
    """Holds what is kept of a step, for :func:`nes_lab.execution.factored_step.step_gradients`."""

    def __init__(
        self, facts: StepFacts, x: Tensor, saved: Sequence[Tensor | None], step: FactoredStep, needed: int
    ) -> None:
        self.step, self.whole = step, x.shape
        self.shape = torch.Size((*x.shape[:2], *facts.sizes(x)[0]))
        self.matrix = as_matrix(step.op, self.shape)
        self.by_weight = step.op.pointwise and not self.matrix
        epitome, folded, products, *learned = saved
        self.saved_tensors = (x, folded, products, epitome, None, None, *learned)
        bits = [bool(needed >> i & 1) for i in range(3 + len(learned))]
        self.needs_input_grad = (*bits[:3], False, *bits[3:])


@torch.library.custom_op("nes_lab::factored_gradients", mutates_args=())
def _factored_gradients(
    grad: Tensor,
    x: Tensor,
    epitome: Tensor,
    folded: Tensor,
    products: Tensor,
    starts: Tensor,
    pooled: Tensor,
    hidden: Tensor,
    learned: list[Tensor],
    anchors: list[Tensor],
    numbers: list[int],
    settings: list[float],
    needed: int,
) -> list[Tensor]:
    """Return the gradients of input, epitome, bias and learned tensors. Those that are not needed are empty."""
    facts, x, epitome = step_facts(tuple(numbers)), x.detach().contiguous(), epitome.detach().contiguous()
    learned, prediction = [t.detach() for t in learned] or [starts] * len(anchors), None
    if settings:
        move = facts.move(learned, [*anchors, *anchors], settings)  # the previous starts do not matter
        prediction = Prediction.of_hidden(pooled, hidden.numpy(), move)
    step = facts.step(starts.numpy(), anchors, x.dtype, prediction)
    saved = [epitome, *(None if t.numel() == 0 else t for t in (folded, products)), *learned]
    found = step_gradients(_Kept(facts, x, saved, step, needed), grad)
    gradients = []
    for i, gradient in enumerate((*found[:3], *found[4:])):
        assert gradient is not None or not needed >> i & 1
        gradients.append(grad.new_empty(0) if gradient is None or not needed >> i & 1 else gradient.contiguous())
    return gradients


@_factored_gradients.register_fake
def _(
    grad: Tensor,
    x: Tensor,
    epitome: Tensor,
    folded: Tensor,
    products: Tensor,
    starts: Tensor,
    pooled: Tensor,
    hidden: Tensor,
    learned: list[Tensor],
    anchors: list[Tensor],
    numbers: list[int],
    settings: list[float],
    needed: int,
) -> list[Tensor]:
    facts = step_facts(tuple(numbers))
    made = [x.new_empty(x.shape), epitome.new_empty(epitome.shape), epitome.new_empty(facts.geometry.weight_shape[0])]
    made += [t.new_empty(t.shape) for t in learned] or [starts.new_empty(patches) for patches in facts.patches]
    return [t if needed >> i & 1 else grad.new_empty(0) for i, t in enumerate(made)]


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    x, epitome, _, learned, fixed, ctx.numbers, ctx.settings, ctx.needed = inputs
    _, *others = output
    ctx.mark_non_differentiable(*others)
    count = ctx.axes = len(fixed) // 3 if ctx.settings else len(fixed)
    # stored starts and offsets change after the step, so they are not kept
    ctx.save_for_backward(x, epitome, *others, *fixed[-count:], *(learned if ctx.settings else ()))


def _backward(ctx: Any, grad: Tensor, *others: Tensor) -> tuple[Any, ...]:
    saved, count = ctx.saved_tensors, ctx.axes
    anchors, learned = list(saved[7 : 7 + count]), list(saved[7 + count :])
    rest = learned, anchors, ctx.numbers, ctx.settings, ctx.needed
    found = torch.ops.nes_lab.factored_gradients(grad, *saved[:7], *rest)
    found = [t if ctx.needed >> i & 1 else None for i, t in enumerate(found)]
    unfixed, unset = ([None] * 3 * count, None) if ctx.settings else ([None] * count, [])
    return *found[:3], found[3:], unfixed, None, unset, None  # torch wants a list for an empty list


def _no_second_derivatives(ctx: Any, *grads: Any) -> None:
    raise PlanError(
        "a compiled training step of an epitome layer with learned starts has first derivatives only; "
        "for gradients of gradients (create_graph=True) call the layer without torch.compile"
    )


_factored_step.register_autograd(_backward, setup_context=_keep)
_factored_gradients.register_autograd(_no_second_derivatives)


# ---- what a training step stores ------------------------------------------------------------------------------------------


@torch.library.custom_op("nes_lab::clamp_all_offsets_", mutates_args=("offsets",))
def _clamp_all_offsets_(offsets: list[Tensor], anchors: list[Tensor], numbers: list[int]) -> None:
    """Clamp stored offsets so that the starts, which are the sums with their anchors, lie inside the epitome."""
    facts = step_facts(tuple(numbers))
    for axis, offset, anchor in zip(facts.axes, offsets, anchors, strict=True):
        limits = torch.from_numpy(facts.geometry.limits(axis)).to(anchor.dtype)
        offset.clamp_(-anchor, limits - anchor)


@_clamp_all_offsets_.register_fake
def _(offsets: list[Tensor], anchors: list[Tensor], numbers: list[int]) -> None:
    return None


@torch.library.custom_op("nes_lab::store_predicted_", mutates_args=("tables", "previous"))
def _store_predicted_(tables: list[Tensor], previous: list[Tensor], starts: Tensor) -> None:
    """Store the starts of a step, and those before it. A step that is repeated in the backward pass stores nothing."""
    if repeats_forward():
        return
    for table, before, part in zip(tables, previous, starts.split([len(t) for t in tables]), strict=True):
        before.copy_(table)
        table.copy_(part)


@_store_predicted_.register_fake
def _(tables: list[Tensor], previous: list[Tensor], starts: Tensor) -> None:
    return None
