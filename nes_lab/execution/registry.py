"""All executions by name, and the choice of the cheapest. To add one, enter it in :data:`EXECUTIONS`.

Tests: tests/execution/test_conformance.py
"""

from __future__ import annotations

from nes_lab.errors import PlanError, closest
from nes_lab.execution.base import Execution, ExecutionCost, LayerForm
from nes_lab.execution.factored import Factored
from nes_lab.execution.materialize import Materialize
from nes_lab.execution.product_map import ProductMap
from nes_lab.execution.wrapped import Wrapped

__all__ = ["EXECUTIONS", "available_executions", "cheapest_execution", "require_execution"]

EXECUTIONS: dict[str, Execution] = {e.name: e for e in (Materialize(), Factored(), Wrapped(), ProductMap())}
"""Known executions; of equally cheap ones ``auto`` takes the first."""


def require_execution(name: str, form: LayerForm) -> Execution | None:
    """Return the execution of that name, checked for the layer; None for ``auto``.

    Raises:
        PlanError: If no execution has the name, or if it cannot compute this layer; says why.
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
    """Return the executions that can compute the layer."""
    return [execution for execution in EXECUTIONS.values() if not execution.why_not(form)]


def cheapest_execution(form: LayerForm, positions: tuple[int, int]) -> tuple[Execution, ExecutionCost]:
    """Return the available execution with the fewest multiply-adds, and its cost; ties go to the first registered."""
    best: Execution = EXECUTIONS["materialize"]  # always available
    least = best.cost(form, positions)
    for execution in available_executions(form):  # a loop: older dynamos cannot trace min(key=...)
        cost = execution.cost(form, positions)
        if cost.madds < least.madds:
            best, least = execution, cost
    return best, least
