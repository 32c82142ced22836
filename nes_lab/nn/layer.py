"""Define the base class of epitome layers, which holds epitome and starts, computes the layer, and samples its weight."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from nes_lab.epitome.routing_map import RoutingMap
from nes_lab.errors import GeometryError, OptionError
from nes_lab.execution.base import AxisState, Execution, ExecutionCost, LayerForm, LayerOp, Taps
from nes_lab.execution.choice import ExecutionChoice
from nes_lab.execution.inference_cache import InferenceCache
from nes_lab.execution.layer_taps import LayerTaps
from nes_lab.execution.registry import EXECUTIONS, available_executions
from nes_lab.geometry.epitome_geometry import EpitomeGeometry
from nes_lab.geometry.start_rules import routing_mode
from nes_lab.nn.dense import DenseExchange
from nes_lab.nn.index_learner import check_learner_options
from nes_lab.nn.init import reset_epitome_
from nes_lab.nn.starts import FrozenStarts, LayerFacts, Starts, make_starts
from nes_lab.renamed import warn_renamed

__all__ = ["EpitomeLayer", "SnapReport"]


@dataclass(frozen=True)
class SnapReport:
    """Says how much a layer changed when its starts were rounded to integers.

    Args:
        largest_move: Largest distance that a start moved, in cells.
        relative_change: Relative change of the sampled weight ``W``, ``||W_after - W_before|| / ||W_before||``.
    """

    largest_move: float
    relative_change: float


class EpitomeLayer(DenseExchange):
    """Base class of the epitome layers. Use a subclass such as :class:`EpitomeConv2d` or :class:`EpitomeLinear`.

    Args:
        weight_shape: Shape of the dense layer's weight, ``(C_out, C_in/groups, *K)``.
        op: The operation that uses the weight.
        bias: True for a bias of ``C_out`` numbers.
        epitome_shape: Shape of the epitome, ``(E_out, E_in, *E_k)``, in cells.
        patch_channels: Numbers of output and input channels of a patch, ``(b_out, b_in)``; None: the lengths of the epitome's
            channel axes.
        routing: How the starts are set. ``"tiled"``: 0, b, 2b, ... for patches of length b, wrapping around; ``"stride"``: evenly
            spaced; ``"random"``: drawn from ``seed``; ``"free"``: learned parameters; ``"learner"``: predicted from the input.
        scope: ``"separable"``: a start depends only on the patch's index along its own axis; ``"joint"``: each block of the weight
            (an output patch crossed with an input patch) has its own starts.
        boundary: ``"clamp"``: patches stay inside the epitome; ``"circular"``: they continue at the beginning of the axis.
        execution: How the layer is computed: ``"auto"`` (in the way with the fewest multiply-adds) or the name of an execution.
        seed: Seed of ``"random"`` routing; other routings ignore it.
        reach: Largest move of a start from the tiling, in cells; only for ``"learner"`` routing with ``squash="tanh"``.
        squash: Only for ``"learner"`` routing. ``"tanh"``: starts move by at most ``reach`` cells; ``"sigmoid"``: they move anywhere,
            as in the paper.
        momentum: Share of the old starts in the moving average, in [0, 1); only for ``"learner"`` routing.
        learner: Network that predicts the starts, ``"mlp"`` or ``"conv"``; only for ``"learner"`` routing.
        device, dtype: Device and floating-point dtype of epitome and bias; None: torch's defaults.
    """

    routing: Starts

    def __init__(
        self,
        weight_shape: tuple[int, ...],
        op: LayerOp,
        bias: bool,
        *,
        epitome_shape: tuple[int, ...],
        patch_channels: tuple[int, int] | None = None,
        routing: str = "tiled",
        scope: str = "separable",
        boundary: str = "clamp",
        execution: str = "auto",
        seed: int = 0,
        reach: float = 1.0,
        squash: str = "tanh",
        momentum: float = 0.9,
        learner: str = "mlp",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        routing_mode(routing)
        check_learner_options(reach, squash, momentum, learner)
        if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
            raise OptionError(f"seed={seed!r}; give an integer of at least 0")
        if dtype is not None and not dtype.is_floating_point:
            raise OptionError(f"dtype={dtype}; an epitome needs a real floating-point type")
        self.geometry = EpitomeGeometry(weight_shape, epitome_shape, patch_channels, scope, boundary)
        self.op = op
        self._channels = (weight_shape[1] * op.groups, op.channel_dim)  # number of input channels, index of their axis
        where = {"device": device, "dtype": dtype}
        self.epitome = nn.Parameter(torch.empty(self.geometry.epitome_shape, **where))
        self.register_parameter("bias", nn.Parameter(torch.empty(weight_shape[0], **where)) if bias else None)
        self.register_buffer("scale", None)  # one factor per output channel, set by nes_lab.fuse
        options = {"reach": reach, "squash": squash, "momentum": momentum, "learner": learner}
        facts = LayerFacts(self.geometry, self._channels[0], op.spatial, seed, options, device, dtype)
        self.routing = make_starts(routing, facts)
        self._taps, self._inference, self._choice = LayerTaps(), InferenceCache(), ExecutionChoice()
        self.register_load_state_dict_post_hook(_leave_meta)
        self.execution = execution
        reset_epitome_(self.epitome, self.bias, self.geometry.weight_shape)

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Set epitome and bias to new random numbers, with the variance of the dense layer, and reset the starts."""
        self.routing.reset()
        reset_epitome_(self.epitome, self.bias, self.geometry.weight_shape, generator)

    # ---- execution -------------------------------------------------------------------------------------------------

    @property
    def execution(self) -> str:
        """Name of the execution that computes the layer, or ``"auto"``. It can be set at any time; the output stays the same.

        Raises:
            PlanError: When set to an execution that cannot compute this layer; the message says why.
        """
        return self._choice.name

    @execution.setter
    def execution(self, name: str) -> None:
        self._choice.set(name, self.form)

    @property
    def form(self) -> LayerForm:
        """Geometry, axis states and operation of the layer. They decide how it can be computed, and at what cost."""
        return LayerForm(self.geometry, self.routing.axis_states, self.op)

    def available_executions(self) -> tuple[str, ...]:
        """Return the names of the executions that can compute this layer."""
        return tuple(execution.name for execution in available_executions(self.form))

    def axis_states(self) -> tuple[AxisState, ...]:
        """Return the state of each weight axis: ``identity`` (read cell by cell), or ``integer`` or ``fractional`` starts."""
        return self.routing.axis_states

    def resolved_execution(self, input_shape: Sequence[int]) -> Execution:
        """Return the execution that computes the layer for an input of the given shape."""
        return self._choice.resolve(self.form, input_shape)

    def plan_for(self, input_shape: Sequence[int]) -> Execution:
        """Return the same as :meth:`resolved_execution`, with a warning: this is its name in version 0.1.0."""
        warn_renamed("plan_for()", "resolved_execution()")
        return self.resolved_execution(input_shape)

    def cost(self, input_shape: Sequence[int]) -> ExecutionCost:
        """Count the multiply-adds of one forward pass with an input of the given shape, for the execution that computes it."""
        return self.resolved_execution(input_shape).cost(self.form, self.op.positions(input_shape))

    def forward(self, input: Tensor) -> Tensor:
        """Compute the layer's output. Input and output have the shapes of the dense layer's.

        Raises:
            GeometryError: If the input has the wrong number of channels.
        """
        x = input
        channels, dim = self._channels
        if x.ndim < -dim or x.shape[dim] != channels:
            raise GeometryError(f"input of shape {tuple(x.shape)}; axis {dim} must have {channels} channels")
        if torch.is_grad_enabled():
            self._inference.clear()  # an optimizer step may follow; a fused one raises no tensor's version
        elif not (self.training or torch.compiler.is_compiling()):
            return self._infer(x)
        taps = self._taps.get(self.routing, self.routing(x))
        execution = self.resolved_execution(tuple(x.shape))
        prepared = execution.prepare(self.epitome, taps, self.geometry, self.scale)
        return execution.run(x, prepared, self.op, self.scale, self.bias)

    def _infer(self, x: Tensor) -> Tensor:
        """Compute the layer's output for inference, and cache what does not depend on the input for the next call."""
        execution = self.resolved_execution(x.shape)
        epitome, scale, routing = self.epitome, self.scale, self.routing
        kept = self._inference.values((epitome, scale, *routing.stored_tables()))
        prepared = None if kept is None else kept.get(execution.name)
        if prepared is None:
            taps = self._taps.get(routing, routing.current())
            prepared = execution.prepare(epitome, taps, self.geometry, scale)
            if kept is not None:
                kept[execution.name] = prepared
        return execution.run(x, prepared, self.op, scale, self.bias)

    def taps(self, starts: tuple[Tensor | None, ...] | None = None) -> Taps:
        """Build the taps of each weight axis (the cells it reads and their shares); None for an axis that is read cell by cell.

        Args:
            starts: Starts of each weight axis; None: the starts that inference uses.
        """
        return self._taps.build(self.routing, self.routing.current() if starts is None else starts)

    # ---- the weight ------------------------------------------------------------------------------------------------

    def routing_map(self) -> RoutingMap:
        """Return the routing map: the starts that inference uses, detached from autograd; integers if none is fractional."""
        starts = tuple(None if s is None else s.detach().clone() for s in self.routing.current())
        return RoutingMap(self.geometry, starts, self.routing_mode)

    @property
    def routing_mode(self) -> str:
        """Name of the routing mode that set the starts. It stays the same after ``freeze()``."""
        return self.routing.mode

    @property
    def frozen(self) -> bool:
        """True if training does not change the starts."""
        return not self.routing.learned

    def materialize(self) -> Tensor:
        """Sample the layer's weight from its epitome, differentiable in the epitome and in ``free`` starts.

        Returns:
            A tensor of the dense weight's shape. If a batch norm was folded into the layer, each output channel is multiplied by
            its factor in ``scale``.
        """
        weight = EXECUTIONS["materialize"].prepare(self.epitome, self.taps(), self.geometry, self.scale).weight
        return weight.view_as(weight) if weight is self.epitome else weight

    @property
    def weight(self) -> Tensor:
        """The sampled weight, for parent modules that use a layer's weight and bypass its forward.

        It is sampled at each access, so writing into it changes nothing. To change the layer, change ``epitome`` or call
        ``load_dense_``.
        """
        return self.materialize()

    def register_parameter(self, name: str, param: nn.Parameter | None) -> None:
        """Register a parameter. Refuse the name ``weight`` (``layer.weight = ...``) and say what to do instead."""
        if name == "weight":
            raise AttributeError("weight is sampled from the epitome and cannot be set; use load_dense_(weight, bias)")
        super().register_parameter(name, param)

    def stored_params(self) -> int:
        """Count the numbers stored for inference: epitome, starts, bias and scale, but not the index learner."""
        rest = sum(t.numel() for t in (self.bias, self.scale) if t is not None)
        return self.epitome.numel() + self.routing.stored_params() + rest

    def learner_params(self) -> int:
        """Count the parameters of the index learner, which only training needs."""
        return self.routing.learner_params()

    # ---- freezing and snapping starts ----------------------------------------------------------------------------------------

    def freeze(self) -> EpitomeLayer:
        """Stop learning the starts and drop the index learner. The output at inference stays the same. Returns the layer."""
        if self.routing.learned:
            self.routing = FrozenStarts(self.routing).train(self.training)
        return self

    def snap(self) -> SnapReport:
        """Round the starts to integers permanently, so that each weight reads one cell. Return how much that changed."""
        before, old = self.materialize().detach(), self.routing.current()
        if self.routing.stored:
            self.routing = FrozenStarts(self.routing, snap=True).train(self.training)
        moves = [
            float((a.detach() - b).abs().max())
            for a, b in zip(old, self.routing.current(), strict=True)
            if a is not None and b is not None
        ]
        change = (self.materialize().detach() - before).norm() / before.norm().clamp_min(1e-12)
        return SnapReport(max(moves, default=0.0), float(change))

    def extra_repr(self) -> str:
        """Return the layer's shapes and options, as text for ``repr``."""
        g = self.geometry
        return (
            f"weight={g.weight_shape}, epitome={g.epitome_shape}, patch_channels={g.patch_channels}, scope={g.scope}, "
            f"boundary={g.boundary}, execution={self.execution}, bias={self.bias is not None}"
        )


def _leave_meta(layer: EpitomeLayer, incompatible: object) -> None:
    layer.routing.leave_meta(layer.epitome.device)
