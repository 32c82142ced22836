"""Define the base class of epitome layers, which are torch modules.

It holds the epitome and the starts (positions of patches), and samples the weight from the epitome. How the output is computed is
defined in :mod:`nes_lab.nn.layer_forward`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, get_args

import torch
from torch import Tensor, nn

import nes_lab.nn.free_starts  # noqa: F401 (registers the routing)
from nes_lab.epitome.routing_map import RoutingMap
from nes_lab.epitome.transforms import transforming
from nes_lab.errors import ExportError, OptionError, check_choice
from nes_lab.execution.base import AxisState, LayerOp, Taps
from nes_lab.execution.registry import EXECUTIONS
from nes_lab.geometry.epitome_geometry import Boundary, Scope
from nes_lab.geometry.flat_geometry import make_geometry
from nes_lab.geometry.layer_snapshot import LayerSnapshot
from nes_lab.geometry.start_rules import check_flat_routing, routing_mode
from nes_lab.nn.dense import DenseExchange
from nes_lab.nn.fixed_starts import make_starts
from nes_lab.nn.flat_epitome import new_alpha, reset_flat_, with_alpha
from nes_lab.nn.frozen_starts import FrozenStarts
from nes_lab.nn.index_learner import check_learner_options
from nes_lab.nn.init import reset_epitome_
from nes_lab.nn.int8_cells import rounded_cells, to_int8
from nes_lab.nn.larger_epitome import warn_of_larger_epitome
from nes_lab.nn.layer_forward import LayerForward
from nes_lab.nn.reading_record import ReadingRecord
from nes_lab.nn.sampled_weight import CANNOT_BE_SET, SampledWeight, refuse_to_set
from nes_lab.nn.starts import LayerFacts, Starts
from nes_lab.nn.tied_parameters import TiedParameters
from nes_lab.records.columns import columns
from nes_lab.records.options import EpitomeDtype, ExecutionOption, LearnerKind, Routing, Squash
from nes_lab.records.table import Table
from nes_lab.text import format_shape

__all__ = ["EpitomeLayer", "SnapReport"]


@dataclass(frozen=True)
class SnapReport:
    """Says how much a layer changed when its starts were rounded to integers.

    Starts are the positions of patches in the epitome.

    Args:
        largest_move: Largest distance by which a start moved, in cells.
        relative_change: Relative change ``||W_after - W_before|| / ||W_before||`` of the sampled weight ``W``.
    """

    largest_move: float
    relative_change: float


class EpitomeLayer(LayerForward, ReadingRecord, DenseExchange, TiedParameters):
    """Base class of the epitome layers. Use a subclass such as :class:`EpitomeConv2d` or :class:`EpitomeLinear`.

    Args:
        weight_shape: Shape of the dense layer's weight, ``(C_out, C_in/groups, *K)``, with the kernel lengths ``K``.
        op: The convolution or matrix product that uses the weight.
        bias: True if the layer has a bias: one number per output channel.
        epitome_shape: Shape of the epitome, ``(E_out, E_in, *E_k)``: its lengths along output channels, input channels and
            kernel axes.
        patch_channels: Numbers of output and input channels of a patch, ``(b_out, b_in)``, or one integer for both (at most the
            epitome's length); None: the lengths of the epitome's channel axes.
        routing: How the starts are set. ``"tiled"``: 0, b, 2b, ... for patches of length b, beginning again at the end of the
            epitome; ``"stride"``: evenly spaced; ``"random"``: drawn from ``seed``; ``"free"``: learned parameters;
            ``"learner"``: predicted from the input.
        scope: ``"separable"``: patches with the same index along an axis have the same start along that axis; ``"joint"``: each
            block of the weight (an output patch crossed with an input patch) has its own starts; ``"flat"``: as joint, from an
            epitome of one axis, which layers of any shape can share
            (:class:`~nes_lab.geometry.flat_geometry.FlatGeometry`).
        boundary: ``"clamp"``: patches stay inside the epitome; ``"circular"``: a patch that passes the end of an axis continues
            at the beginning of the axis.
        execution: How the layer is computed: ``"auto"`` (in the way with the fewest multiply-adds) or a name from
            :meth:`available_executions`.
        seed: Seed of ``"random"`` routing; other routings ignore it.
        windows: Number of windows (pieces of neighboring cells) whose weighted sum is a patch; more than 1 only with
            ``scope="flat"``.
        epitome_dtype: ``"float"``: cells are used as they are; ``"int8"``: cells are rounded to integers of 8 bits with one scale per
            output channel, or per 64 cells if the epitome is flat (:mod:`nes_lab.nn.int8_cells`).
        reach: Largest distance of a start from its ``"tiled"`` value, in cells; only for ``"learner"`` routing with
            ``squash="tanh"``.
        squash: Only for ``"learner"`` routing. ``"tanh"``: starts stay within ``reach`` cells of their ``"tiled"`` values;
            ``"sigmoid"``: they move anywhere, as in the paper.
        momentum: Factor of the old starts in the moving average of starts, in [0, 1); only for ``"learner"`` routing.
        learner: Network that predicts the starts, ``"mlp"`` or ``"conv"``; only for ``"learner"`` routing.
        device, dtype: Device and floating-point dtype of epitome and bias; None: torch's defaults.

    Raises:
        GeometryError: If a patch does not fit in the epitome; the message names the axis and the lengths of patch and epitome.
        PlanError: If the layer cannot be computed as ``execution`` says; the message says why.
        OptionError: If another option has a value that is not allowed.

    Examples:
        >>> import nes_lab
        >>> from torch import nn
        >>> net = nn.Sequential(nes_lab.EpitomeLinear(8, 8, epitome_shape=(4, 4)), nn.ReLU(), nn.Linear(8, 2))
        >>> [name for name, module in net.named_modules() if isinstance(module, nes_lab.EpitomeLayer)]
        ['0']

    Source: Zhou et al., ICLR 2020, arXiv:1907.05642.
    """

    routing: Starts
    alpha: nn.Parameter | None

    if TYPE_CHECKING:  # torch declares that calling any module returns Any

        def __call__(self, input: Tensor) -> Tensor:
            """Compute the layer's output."""
            ...

    def __init__(
        self,
        weight_shape: tuple[int, ...],
        op: LayerOp,
        bias: bool,
        *,
        epitome_shape: tuple[int, ...],
        patch_channels: int | tuple[int, int] | None = None,
        routing: Routing = "tiled",
        scope: Scope = "separable",
        boundary: Boundary = "clamp",
        execution: ExecutionOption = "auto",
        seed: int = 0,
        windows: int = 1,
        epitome_dtype: EpitomeDtype = "float",
        reach: float = 1.0,
        squash: Squash = "tanh",
        momentum: float = 0.9,
        learner: LearnerKind = "mlp",
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
        check_choice("epitome_dtype", epitome_dtype, get_args(EpitomeDtype))
        if epitome_dtype == "int8" and dtype is not None and dtype.itemsize < 4:
            raise OptionError(
                f"epitome_dtype='int8' and dtype={dtype}; rounded cells need float32 or float64 for training"
            )
        self.epitome_dtype: EpitomeDtype = epitome_dtype
        self.geometry = make_geometry(weight_shape, epitome_shape, patch_channels, scope, boundary, windows)
        check_flat_routing(scope, routing)
        warn_of_larger_epitome(self.geometry)
        self.op = op
        self._channels = (weight_shape[1] * op.groups, op.channel_dim)  # number of input channels, index of their axis
        where = {"device": device, "dtype": dtype}
        self.epitome = nn.Parameter(torch.empty(self.geometry.epitome_shape, **where))
        self.register_parameter("alpha", new_alpha(self.geometry, **where))
        self.register_parameter("bias", nn.Parameter(torch.empty(weight_shape[0], **where)) if bias else None)
        self.register_buffer("scale", None)  # one factor per output channel, set by nes_lab.fuse
        options = {"reach": reach, "squash": squash, "momentum": momentum, "learner": learner}
        facts = LayerFacts(self.geometry, self._channels[0], op.spatial, seed, options, device, dtype)
        self.routing = make_starts(routing, facts)
        self._begin()
        self.register_load_state_dict_post_hook(_leave_meta)
        self.execution = execution
        self._reset_cells(None)

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Set epitome and bias to new random numbers. Set the starts to those of a new layer.

        Starts are the positions of patches in the epitome. The sampled weight gets the variance of the dense layer's
        initialization.
        """
        self.routing.reset()
        self._reset_cells(generator)

    def _reset_cells(self, generator: torch.Generator | None) -> None:
        if self.alpha is None:
            reset_epitome_(self.epitome, self.bias, self.geometry.weight_shape, generator)
        else:
            reset_flat_(self.epitome, self.alpha, self.bias, self.geometry.weight_shape, generator)

    def cells(self) -> Tensor:
        """Return the cells that the layer computes with: the epitome, rounded if ``epitome_dtype`` is ``"int8"``.

        Gradients reach the epitome.
        """
        return self.epitome if self.epitome_dtype == "float" else rounded_cells(self.epitome)

    def stored_integers(self) -> dict[str, dict[str, Tensor]]:
        """Return what a file stores instead of the epitome: integers and scales; empty if it stores the epitome itself."""
        if self.epitome_dtype == "float":
            return {}
        integers, scales = to_int8(self.epitome.detach())
        return {"epitome": {"epitome": integers, "epitome_scales": scales}}

    def snapshot(self, name: str = "") -> LayerSnapshot:
        """Copy the epitome and the starts of the layer into numpy arrays. The functions of ``nes_lab.figures`` draw such copies.

        Args:
            name: Name of the layer, for titles. Empty: the name of the layer's class.
        """
        copied = self.routing_map().snapshot(name or type(self).__name__)
        return replace(copied, epitome=self.cells().detach().float().cpu().numpy().copy())

    def axis_states(self) -> tuple[AxisState, ...]:
        """Return how each weight axis is read from the epitome: ``identity``, ``integer`` or ``fractional``.

        - ``identity``: each index reads the cell of the same index
        - ``integer``: each index reads one cell, because patches begin at whole cells
        - ``fractional``: each index reads two neighboring cells and blends them
        """
        return self.routing.axis_states

    def __prepare_scriptable__(self) -> EpitomeLayer:
        """Refuse ``torch.jit.script``, which calls this method first, and say what to do instead.

        Raises:
            ExportError: Always; TorchScript cannot compile an epitome layer.
        """
        raise ExportError(
            f"torch.jit.script cannot compile {type(self).__name__}; materialize first: "
            "torch.jit.script(nes_lab.materialize(network)), or use torch.jit.trace or torch.export"
        )

    def taps(self, starts: tuple[Tensor | None, ...] | None = None) -> Taps:
        """Build the taps of each weight axis: the epitome cells that each index reads, and the factor of each cell.

        An axis has None instead of taps if each index reads the cell of the same index.

        Args:
            starts: Starts of each weight axis (positions of patches in the epitome); None: the starts that inference
                uses.
        """
        built = self._taps.build(self.routing, self.routing.current() if starts is None else starts)
        return with_alpha(built, self.alpha)

    # ---- the weight ------------------------------------------------------------------------------------------------

    def routing_map(self) -> RoutingMap:
        """Return the routing map: the starts (positions of patches in the epitome) that inference uses.

        The starts are detached from autograd. They have an integer dtype if a rule sets them, or if they were rounded.
        """
        starts = tuple(None if s is None else s.detach().clone() for s in self.routing.current())
        alpha = None if self.alpha is None else self.alpha.detach().clone()
        return RoutingMap(self.geometry, starts, self.routing_mode, alpha)

    @property
    def routing_mode(self) -> str:
        """Name of the routing mode that set the starts (positions of patches in the epitome), such as ``tiled`` or ``free``.

        It stays the same after ``freeze()``.
        """
        return self.routing.mode

    @property
    def frozen(self) -> bool:
        """True if training does not change the starts (positions of patches in the epitome)."""
        return not self.routing.learned

    def materialize(self) -> Tensor:
        """Sample the layer's weight from its epitome. Gradients reach the epitome.

        With ``free`` routing they also reach the starts (positions of patches in the epitome).

        Returns:
            A tensor of the dense weight's shape. If a batch norm was folded into the layer, each output channel is already
            multiplied by the batch norm's factor.
        """
        weight = EXECUTIONS["materialize"].prepare(self.cells(), self.taps(), self.geometry, self.scale).weight
        return weight.view_as(weight) if weight is self.epitome else weight

    @property
    def weight(self) -> Tensor:
        """The weight, sampled from the epitome at each access. It can be read, but not set or changed in place.

        To change the layer, change ``epitome`` or call ``load_dense_``. To change a copy, take ``weight.clone()``.
        :class:`~nes_lab.nn.sampled_weight.SampledWeight` lists the changes that are refused, and the few that cannot be.

        Raises:
            AttributeError: If the weight is set, or changed in place.
        """
        weight = self.materialize()
        if type(weight) is not Tensor or torch.compiler.is_compiling() or torch.jit.is_tracing() or transforming():
            return weight
        return weight.as_subclass(SampledWeight)

    @weight.setter
    def weight(self, weight: Tensor) -> None:
        refuse_to_set(weight)

    def register_parameter(self, name: str, param: nn.Parameter | None) -> None:
        """Register a parameter. The name ``weight`` is refused, because an epitome layer samples its weight.

        Names that begin with ``weight_`` are refused too. ``torch.nn.utils.prune``, for example, registers ``weight_orig``.
        """
        if name == "weight":
            raise AttributeError(CANNOT_BE_SET)
        if name.startswith("weight_"):
            raise AttributeError(
                f"{name} cannot be registered: weight is sampled from the epitome. Prune or normalize the parameter 'epitome', or "
                "materialize first: nes_lab.materialize(network)"
            )
        super().register_parameter(name, param)

    def stored_params(self) -> int:
        """Count the numbers that a layer stores for inference.

        These are the epitome, the bias, the starts (unless a rule sets them), the factors of windows if the epitome is flat, and
        one factor per output channel if the layer has the buffer ``scale``. The network that predicts starts is not counted,
        because only training needs it. An epitome that layers share counts in each of them.
        """
        rest = sum(t.numel() for t in (self.alpha, self.bias, self.scale) if t is not None)
        return self.epitome.numel() + self.routing.stored_params() + rest

    def learner_params(self) -> int:
        """Count the parameters of the index learner, the network that predicts starts. Only training needs this network."""
        return self.routing.learner_params()

    # ---- freezing and snapping starts ----------------------------------------------------------------------------------------

    def freeze(self) -> EpitomeLayer:
        """Stop learning the starts (positions of patches in the epitome), and return the layer.

        The network that predicts starts is dropped. The output at inference stays the same.
        """
        if self.routing.learned:
            self.routing = FrozenStarts(self.routing).train(self.training)
        return self

    def snap(self) -> SnapReport:
        """Round the starts (positions of patches in the epitome) to integers permanently.

        Each weight then reads one cell.

        Returns:
            How much the starts and the weight changed.
        """
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

    def _repr_html_(self) -> str:
        """Return what the layer stores and how its weight is read, as a table for notebooks."""
        g, dense = self.geometry, math.prod(self.geometry.weight_shape)
        starts = f"{self.routing_mode}, {g.scope}, {g.boundary}"
        facts = {
            "weight": f"{format_shape(g.weight_shape)} = {dense:,} numbers",
            "epitome": f"{format_shape(g.epitome_shape)} = {self.epitome.numel():,} numbers",
            "patches": f"{' × '.join(map(str, g.patch_grid))} of {format_shape(g.patch_shape)}",
            "starts": f"{starts}; {self.routing.stored_params():,} stored",
            "all stored numbers": f"{self.stored_params():,}",
            "execution": f"{self.execution} of {', '.join(self.available_executions())}",
        }
        rows = [{"field": name, "value": text} for name, text in facts.items()]
        return Table(columns("field", "value"), rows, before=[type(self).__name__]).html()

    def extra_repr(self) -> str:
        """Return the layer's shapes and options, as text for ``repr``."""
        g = self.geometry
        return (
            f"weight={g.weight_shape}, epitome={g.epitome_shape}, patch_channels={g.patch_channels}, scope={g.scope}, "
            f"boundary={g.boundary}, execution={self.execution}, bias={self.bias is not None}"
        )


def _leave_meta(layer: EpitomeLayer, incompatible: object) -> None:
    layer.routing.leave_meta(layer.epitome.device)
