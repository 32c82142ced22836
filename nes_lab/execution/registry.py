"""List all executions by name, and find the cheapest for a layer. To add an execution, enter it in :data:`EXECUTIONS`.

An execution is one way to compute an epitome layer. The cheapest one has the fewest multiply-adds.

Tests: tests/execution/test_conformance.py
"""

from __future__ import annotations

from nes_lab.errors import PlanError, closest
from nes_lab.execution.as_matmul import AsMatmul
from nes_lab.execution.base import Execution, ExecutionCost, LayerForm
from nes_lab.execution.factored import Factored
from nes_lab.execution.materialize import Materialize
from nes_lab.execution.product_map import ProductMap
from nes_lab.execution.wrapped import Wrapped
from nes_lab.records.options import ExecutionOption

__all__ = ["EXECUTIONS", "available_executions", "cheapest_execution", "plain_execution", "require_execution"]

_PLAIN: tuple[Execution, ...] = (Materialize(), Factored(), Wrapped(), ProductMap())
EXECUTIONS: dict[str, Execution] = {e.name: e for e in (*_PLAIN, *(AsMatmul(e) for e in _PLAIN[:3]))}
"""All executions by name. If several are equally cheap, ``auto`` takes the first of them."""


def plain_execution(execution: Execution) -> Execution:
    """Return the plain execution for a variant with a matrix product; any other execution is returned as it is.

    Examples:
        >>> plain_execution(EXECUTIONS["wrapped_matmul"]).name, plain_execution(EXECUTIONS["factored"]).name
        ('wrapped', 'factored')
    """
    return execution.inner if isinstance(execution, AsMatmul) else execution


def require_execution(name: ExecutionOption, form: LayerForm) -> Execution | None:
    """Return the execution with a given name, after checking that it can compute a layer; None for the name ``auto``.

    Raises:
        PlanError: If no execution has the name, or if the execution cannot compute the layer; the message says why.
    """
    if name == "auto":
        return None
    if name not in EXECUTIONS:
        known = ("auto", *EXECUTIONS)
        raise PlanError(f"execution={name!r} is not known; choose one of {', '.join(known)}.{closest(name, known)}")
    reason = EXECUTIONS[name].why_not(form)
    if reason:
        usable = ", ".join(("auto", *(execution.name for execution in available_executions(form))))
        raise PlanError(f"execution={name!r} cannot run this layer: {reason}; available: {usable}")
    return EXECUTIONS[name]


def available_executions(form: LayerForm) -> list[Execution]:
    """Return all executions (ways to compute a layer) that work for a layer with the given properties."""
    return [execution for execution in EXECUTIONS.values() if not execution.why_not(form)]


def cheapest_execution(form: LayerForm, positions: tuple[int, int]) -> tuple[Execution, ExecutionCost]:
    """Return the execution that computes a layer with the fewest multiply-adds, and its cost.

    If several need equally few, the first of them in :data:`EXECUTIONS` is returned.

    Args:
        form: Properties of the layer: its shapes, how each axis is read, and its operation.
        positions: Numbers of input and output positions, from :meth:`LayerOp.positions`.
    """
    best: Execution = EXECUTIONS["materialize"]  # always available
    least = best.cost(form, positions)
    for execution in available_executions(form):  # a loop: older dynamos cannot trace min(key=...)
        cost = execution.cost(form, positions)
        if cost.madds < least.madds:
            best, least = execution, cost
    return best, least
