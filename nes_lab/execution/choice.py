"""Choose how one layer is computed: by the execution that was set, or by the cheapest one for each input shape.

An execution is one way to compute an epitome layer. The cheapest one has the fewest multiply-adds.

Tests: tests/execution/test_conformance.py
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from nes_lab.execution.base import AxisState, Execution, LayerForm
from nes_lab.execution.registry import cheapest_execution, require_execution
from nes_lab.records.options import ExecutionOption

__all__ = ["ExecutionChoice"]

_MAX_SHAPES = 64
"""Largest number of input shapes whose cheapest execution is remembered; when it is reached, all are forgotten."""


class ExecutionChoice:
    """Holds a layer's ``execution`` option, and chooses how the layer is computed for each input shape.

    The option is the name of an execution (a way to compute the layer), or ``auto`` for the one with the fewest multiply-adds.
    At first it is ``auto``.

    Examples:
        >>> from nes_lab.execution.base import LayerOp
        >>> from nes_lab.geometry.epitome_geometry import EpitomeGeometry
        >>> form = LayerForm(EpitomeGeometry((8, 8), (4, 4)), ("integer", "integer"), LayerOp())
        >>> choice = ExecutionChoice()
        >>> choice.resolve(form, (1, 8)).name
        'factored'
    """

    def __init__(self) -> None:
        self.name: ExecutionOption = "auto"
        self._fixed: Execution | None = None
        self._cheapest: dict[tuple, Execution] = {}

    def set(self, name: ExecutionOption, form: LayerForm) -> None:
        """Set the layer's ``execution`` option to ``auto`` or to the name of an execution.

        Raises:
            PlanError: If no execution has the name, or if it cannot compute the layer; the message says why.
        """
        self._fixed = require_execution(name, form)
        self.name = name

    def known(self, input_shape: tuple[int, ...], states: tuple[AxisState, ...]) -> Execution | None:
        """Return what :meth:`resolve` returns, with fewer calls; None if it is not known yet.

        Args:
            input_shape: Shape of the layer's input.
            states: How each weight axis is read from the epitome.
        """
        if self._fixed is not None:
            return self._fixed
        return None if torch.compiler.is_compiling() else self._cheapest.get((input_shape, states))

    def resolve(self, form: LayerForm, input_shape: Sequence[int]) -> Execution:
        """Return the execution (way to compute the layer) for an input of the given shape.

        If the option ``execution`` is ``auto``, it is the one with the fewest multiply-adds. Otherwise it is the one that the
        option names.
        """
        if self._fixed is not None:
            return self._fixed
        if torch.compiler.is_compiling():
            return cheapest_execution(form, form.op.positions(input_shape))[0]
        key = (tuple(input_shape), form.states)
        execution = self._cheapest.get(key)
        if execution is None:
            if len(self._cheapest) >= _MAX_SHAPES:
                self._cheapest.clear()
            execution = self._cheapest[key] = cheapest_execution(form, form.op.positions(input_shape))[0]
        return execution
