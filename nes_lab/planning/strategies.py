"""List the planning strategies, and define ``uniform``. A strategy decides in what order the layers of a model shrink.

To add a strategy, write ``planning/NAME.py`` with a function like :class:`OrderSteps`, enter it in :data:`STRATEGIES`, and add its name and
meaning to ``records/options.py``. ``tests/planning/test_strategies.py`` then checks that the strategy meets budgets.
"""

from __future__ import annotations

from typing import Any, Protocol

from torch import nn

from nes_lab.planning.ladder import Ladder, Step
from nes_lab.planning.sensitivity.order import order_by_sensitivity
from nes_lab.planning.speed import order_by_speed
from nes_lab.progress_bar import OnProgress
from nes_lab.records.budget import Budget

__all__ = ["STRATEGIES", "OrderSteps", "keep_order"]


class OrderSteps(Protocol):
    """A planning strategy: a function that decides in which order the layers of a model shrink, step by step.

    The steps of a single layer must keep their order. The order of all steps must not depend on the size of the budget.
    Then a larger budget never leads to fewer params.
    """

    def __call__(
        self,
        ladder: Ladder,
        model: nn.Module,
        budget: Budget,
        sensitivity: Any,
        progress: bool,
        on_progress: OnProgress | None,
    ) -> tuple[Step, ...]:
        """Return the shrink steps of a model in the order in which to take them. Each step shrinks one layer.

        Args:
            ladder: All shrink steps of the model, in the order of the strategy ``uniform``.
            model: The dense model.
            budget: Budget that the plan must meet.
            sensitivity: The user's argument ``sensitivity=`` of :func:`nes_lab.plan_for_budget`; None if it was not given.
            progress: Show a bar on standard error.
            on_progress: Called with a :class:`~nes_lab.progress_bar.ProgressEvent` as the work goes on; None for no calls.
        """
        ...


def keep_order(
    ladder: Ladder, model: nn.Module, budget: Budget, sensitivity: Any, progress: bool, on_progress: OnProgress | None
) -> tuple[Step, ...]:
    """Return the steps that shrink a model, in the order in which the ladder lists them. This is the strategy ``uniform``.

    The ladder is the list of all sizes of the model. In its order all layers shrink by about the same ratio.
    """
    return ladder.steps


STRATEGIES: dict[str, OrderSteps] = {
    "uniform": keep_order,
    "sensitivity": order_by_sensitivity,
    "speed": order_by_speed,
}
