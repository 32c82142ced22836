"""Define how an epitome layer computes its output: which execution it uses, and what it keeps from one call to the next.

An execution is one way to compute an epitome layer.

Tests: tests/execution/test_conformance.py, tests/nn/test_inference_cache.py, tests/execution/test_ready_calls.py
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor, nn
from torch.fx import Proxy

from nes_lab.epitome.transforms import recording, transforming
from nes_lab.errors import GeometryError
from nes_lab.execution.base import Execution, ExecutionCost, LayerForm, LayerOp, Prepared, Taps
from nes_lab.execution.choice import ExecutionChoice
from nes_lab.execution.factored_step import factored_step, step_possible
from nes_lab.execution.inference_cache import InferenceCache
from nes_lab.execution.layer_taps import LayerTaps
from nes_lab.execution.ready_calls import ReadyCalls, Source
from nes_lab.execution.ready_steps import ready_call
from nes_lab.execution.registry import available_executions
from nes_lab.execution.sliced_step import SlicedStep, SlicedSteps
from nes_lab.geometry.epitome_geometry import EpitomeGeometry
from nes_lab.nn.compiled_step import compiled_step
from nes_lab.nn.flat_epitome import with_alpha
from nes_lab.nn.graph_call import record_call, traced_shape
from nes_lab.nn.starts import Starts
from nes_lab.records.options import EpitomeDtype, ExecutionName, ExecutionOption
from nes_lab.renamed import warn_renamed

__all__ = ["LayerForward"]


class LayerForward(nn.Module):
    """Base class of epitome layers: computes the output with an execution, and keeps what the next call needs again.

    A subclass calls :meth:`_begin` before it sets ``execution``.
    """

    geometry: EpitomeGeometry
    op: LayerOp
    routing: Starts
    epitome: nn.Parameter
    alpha: nn.Parameter | None
    bias: nn.Parameter | None
    scale: Tensor | None
    epitome_dtype: EpitomeDtype
    _channels: tuple[int, int]

    def _begin(self) -> None:
        """Make what the layer keeps from call to call; at first it is empty."""
        self._taps, self._inference, self._choice = LayerTaps(), InferenceCache(), ExecutionChoice()
        self._ready, self._steps = ReadyCalls(), SlicedSteps()

    def cells(self) -> Tensor:
        """Return the cells that the layer computes with: the epitome, or the epitome after it was rounded."""
        raise NotImplementedError

    @property
    def execution(self) -> ExecutionOption:
        """Name of the execution (the way in which the layer is computed), or ``"auto"`` for the one with the fewest multiply-adds.

        It can be set at any time; the output stays the same.

        Raises:
            PlanError: When set to an execution that cannot compute this layer; the message says why.
        """
        return self._choice.name

    @execution.setter
    def execution(self, name: ExecutionOption) -> None:
        self._ready.clear()
        self._steps.clear()
        self._choice.set(name, self.form)

    @property
    def form(self) -> LayerForm:
        """Properties that decide how the layer can be computed: its shapes, how each axis is read, and its operation."""
        return LayerForm(self.geometry, self.routing.axis_states, self.op)

    def available_executions(self) -> tuple[ExecutionName, ...]:
        """Return the names of the executions (ways to compute a layer) that work for this layer."""
        return tuple(execution.name for execution in available_executions(self.form))

    def resolved_execution(self, input_shape: Sequence[int]) -> Execution:
        """Return the execution (the way to compute the layer) that is used for an input of the given shape."""
        return self._choice.resolve(self.form, input_shape)

    def plan_for(self, input_shape: Sequence[int]) -> Execution:
        """Call :meth:`resolved_execution`, and warn that ``plan_for`` is the old name of that method."""
        warn_renamed("plan_for()", "resolved_execution()")
        return self.resolved_execution(input_shape)

    def cost(self, input_shape: Sequence[int]) -> ExecutionCost:
        """Count the multiply-adds of one forward pass with an input of the given shape.

        They depend on the execution (the way to compute the layer) that the layer uses.
        """
        return self.resolved_execution(input_shape).cost(self.form, self.op.positions(input_shape))

    def forward(self, input: Tensor) -> Tensor:
        """Compute the layer's output. Input and output have the same shapes as those of the dense layer.

        Raises:
            GeometryError: If the input has the wrong number of channels.
        """
        if not torch.compiler.is_compiling():
            call = self._ready.find(input)
            if call is not None:
                return call(input)
            step = self._steps.find(input, self)
            if step is not None:
                return step(input, self.epitome, self.bias)
        if isinstance(input, Proxy):
            return record_call(self, input)
        x, jit = input, torch._C._get_tracing_state() is not None
        shape = traced_shape(x) if jit else x.shape
        channels, dim = self._channels
        if x.ndim < -dim or shape[dim] != channels:
            raise GeometryError(f"input of shape {tuple(shape)}; axis {dim} must have {channels} channels")
        routing = self.routing
        execution = self._choice.known(shape, routing.axis_states) or self.resolved_execution(tuple(shape))
        learns = torch.is_grad_enabled() or self.training or jit
        if execution.name == "factored" and (learns or not self._inference.trusting):
            step = None if routing.stored else self._keep_step(x)
            if step is not None:
                return step(x, self.epitome, self.bias)
        if learns:
            self._inference.clear()
            if execution.name == "factored" and self.scale is None:
                if step_possible(x, self.epitome, self.op):
                    return self._factored_step(x)
                y = self._compiled_step(x) if torch.compiler.is_compiling() else None
                if y is not None:
                    return y
            prepared = execution.prepare(self.cells(), self._taps_for(x), self.geometry, self.scale)
        else:
            prepared = self._prepared(execution)
            if self._inference.trusting and not torch.compiler.is_compiling():
                self._keep_call(x, execution, prepared)
        return execution.run(x, prepared, self.op, self.scale, self.bias)

    def _taps_for(self, x: Tensor) -> Taps:
        """Return the taps of each weight axis for one input ``x`` of the layer. Gradients reach learned starts."""
        routing = self.routing
        if self._learns_starts() or torch.jit.is_tracing() or torch.compiler.is_compiling():
            return with_alpha(self._taps.build(routing, routing(x)), self.alpha)
        return with_alpha(self._taps.current(routing), self.alpha)

    def _learns_starts(self) -> bool:
        """Return True if a forward pass changes the starts (positions of patches), or if gradients must reach them."""
        routing = self.routing
        if routing.learned and routing.training:
            return not routing.averaged or getattr(routing, "predicting", True)
        return torch.is_grad_enabled() and any(table.requires_grad for table in routing.stored_tables())

    def _factored_step(self, x: Tensor) -> Tensor:
        """Compute the layer's output as one operation of autograd. A stride is first taken out of the input where that is possible."""
        if self._learns_starts():
            step, learned = self._taps.learned_step(self.routing, self.op, x)
            return factored_step(x, self.cells(), self.bias, step, learned)
        read, op = self.op.skip_unread(x)
        return factored_step(read, self.cells(), self.bias, self._taps.step(self.routing, op, x.dtype))

    def _compiled_step(self, x: Tensor) -> Tensor | None:
        """Compute the output as one operation for the compiler, in a step that learns the starts. None if it cannot be computed so."""
        if not self._learns_starts():
            return None
        return compiled_step(x, self.cells(), self.bias, self.routing, self.op, self.geometry)

    def _prepared(self, execution: Execution) -> Prepared:
        """Return what an execution prepares without the input, such as the sampled weight, without gradients.

        It is kept for the next call, as long as no tensor that it was computed from changes.
        """
        routing, scale = self.routing, self.scale

        def prepare() -> Prepared:
            taps = with_alpha(self._taps.current(routing), self.alpha)
            return execution.prepare(self.cells(), taps, self.geometry, scale)

        if not (execution.makes_weight or self._inference.trusting):
            return prepare()  # it takes less time than to compare the epitome with a copy
        read = (self.epitome, self.alpha, scale, *routing.stored_tables())
        return self._inference.get(execution.name, read, prepare)

    def _keep_step(self, x: Tensor) -> SlicedStep | None:
        """Keep and return the steps for inputs like ``x``, where a rule sets the starts; None if they cannot be kept here."""
        if self.scale is not None or self.epitome_dtype != "float" or type(x) is not Tensor:
            return None
        if torch.compiler.is_compiling() or torch.jit.is_tracing() or transforming() or recording():
            return None
        self._steps.keep(x, self, lambda: self._taps.current(self.routing))
        return self._steps.find(x, self)

    def _keep_call(self, x: Tensor, execution: Execution, prepared: Prepared) -> None:
        """Keep how the layer is computed for inputs like ``x``, until one of the layer's tensors changes."""
        routing, attributes = self.routing, vars(self)
        sources = [
            *(Source(attributes, name, attributes[name]) for name in ("op", "training")),
            Source(self._modules, "routing", routing),
            Source(self._buffers, "scale", self.scale),
            *(Source(self._parameters, name, getattr(self, name)) for name in ("epitome", "alpha", "bias")),
        ]
        if routing.stored:  # nothing changes starts by a rule
            tables = {id(table) for table in routing.stored_tables()}
            held = [(d, n, t) for d in (routing._parameters, routing._buffers) for n, t in d.items() if id(t) in tables]
            if len(held) != len(tables):
                return
            sources += [Source(*each) for each in held]
        self._ready.keep(x, sources, lambda: ready_call(execution, prepared, self.op, self.scale, self.bias, x))

    def keep_for_inference_(self, keep: bool = True) -> Self:
        """Allow or forbid the layer to keep its sampled weight without comparing its parameters at each call.

        :func:`nes_lab.for_inference` calls this method, and says what is allowed then. ``train()`` forbids it again.

        Args:
            keep: True to allow it, False to forbid it.
        """
        for cache in (self._inference, self._taps.cache):
            cache.trusting = keep
            cache.clear()
        self._ready.clear()
        return self

    def train(self, mode: bool = True) -> Self:
        """Set training or evaluation mode. Training mode ends what :func:`nes_lab.for_inference` allowed."""
        if mode:
            self.keep_for_inference_(False)
        return super().train(mode)
