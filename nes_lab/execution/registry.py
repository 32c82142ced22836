"""All execution plans by name, and the choice of the cheapest."""

from __future__ import annotations

from collections.abc import Sequence

from nes_lab.errors import PlanError, closest
from nes_lab.execution.base import AxisState, ExecutionPlan, LayerOp, PlanCost
from nes_lab.execution.factored import Factored
from nes_lab.execution.materialize import Materialize
from nes_lab.execution.product_map import ProductMap
from nes_lab.execution.wrapped import Wrapped
from nes_lab.geometry.epitome_geometry import EpitomeGeometry

__all__ = ["EXECUTIONS", "PLANS", "available_plans", "cheapest_plan", "require_plan"]

PLANS: dict[str, ExecutionPlan] = {plan.name: plan for plan in (Materialize(), Factored(), Wrapped(), ProductMap())}
"""Known plans; of equally cheap ones ``auto`` takes the first."""

EXECUTIONS = ("auto", *PLANS)


def require_plan(
    name: str, geometry: EpitomeGeometry, states: Sequence[AxisState], op: LayerOp
) -> ExecutionPlan | None:
    """The plan of that name, checked for the layer; None for ``auto``.

    Raises:
        PlanError: If no plan has the name, or if the plan cannot run this layer; says why.
    """
    if name == "auto":
        return None
    if name not in PLANS:
        raise PlanError(
            f"execution={name!r} is not known; choose one of {', '.join(EXECUTIONS)}.{closest(name, EXECUTIONS)}"
        )
    reason = PLANS[name].why_not(geometry, states, op)
    if reason is not None:
        usable = ", ".join(("auto", *(p.name for p in available_plans(geometry, states, op))))
        raise PlanError(f"execution={name!r} cannot run this layer: {reason}; available: {usable}")
    return PLANS[name]


def available_plans(geometry: EpitomeGeometry, states: Sequence[AxisState], op: LayerOp) -> list[ExecutionPlan]:
    """Plans that can run the layer."""
    return [p for p in PLANS.values() if p.why_not(geometry, states, op) is None]


def cheapest_plan(
    geometry: EpitomeGeometry, states: Sequence[AxisState], op: LayerOp, positions: tuple[int, int]
) -> tuple[ExecutionPlan, PlanCost]:
    """The available plan with the fewest multiply-adds, and its cost; ties go to the first registered."""
    best: ExecutionPlan = PLANS["materialize"]  # always available
    cost = best.cost(geometry, states, op, positions)
    for plan in available_plans(geometry, states, op):  # a loop: older dynamos cannot trace min(key=...)
        found = plan.cost(geometry, states, op, positions)
        if found.madds < cost.madds:
            best, cost = plan, found
    return best, cost
