"""Planning strategies: functions that decide in which order the shrink steps of a ladder are taken.

To add one, write ``planning/NAME.py`` with a function like :class:`OrderSteps`, enter it in :data:`STRATEGIES`, and add its name and
meaning to ``records/options.py``. ``tests/planning/test_strategies.py`` then checks that it meets budgets.
"""

from __future__ import annotations

from typing import Any, Protocol

from torch import nn

from nes_lab.planning.ladder import Ladder, Step
from nes_lab.planning.sensitivity.order import order_by_sensitivity
from nes_lab.progress_bar import OnProgress
from nes_lab.records.budget import Budget

__all__ = ["STRATEGIES", "OrderSteps", "keep_order"]


class OrderSteps(Protocol):
    """A planning strategy: a function that orders the shrink steps of a model's ladder.

    The steps of each layer must stay in their order, and the order must not depend on the size of the budget, so that a larger budget
    never means fewer params.
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
        """Return the steps of a ladder in the order in which to take them.

        Args:
            ladder: Ladder of the model, with its steps in the order of the strategy ``uniform``.
            model: The dense model.
            budget: Budget that the plan must meet.
            sensitivity: Argument ``sensitivity=`` of the user; None if it was not given.
            progress: Show a bar on standard error.
            on_progress: Called with a :class:`~nes_lab.progress_bar.ProgressEvent` as the work goes on; None for no calls.
        """
        ...


def keep_order(
    ladder: Ladder, model: nn.Module, budget: Budget, sensitivity: Any, progress: bool, on_progress: OnProgress | None
) -> tuple[Step, ...]:
    """Return the steps of a ladder in their own order, which shrinks all layers by one ratio: the strategy ``uniform``."""
    return ladder.steps


STRATEGIES: dict[str, OrderSteps] = {"uniform": keep_order, "sensitivity": order_by_sensitivity}
