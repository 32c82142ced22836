"""Plan one network many times, as a page with sliders does: what does not change from plan to plan is computed once.

1. The survey (the list of layers and their costs) is made once per network.
2. The ladder (the list of all sizes of the network) is made once per set of options.
3. A plan for another budget is then a search in the ladder.

Tests: tests/planning/test_plan_again.py.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import nn

from nes_lab.export.file_size import with_file_bytes
from nes_lab.planning.advice import with_advice
from nes_lab.planning.build_ladder import ladder_of_survey, resolved_scope
from nes_lab.planning.flat_plan import flat_layers, flat_plan_of_survey, flat_region
from nes_lab.planning.ladder import Ladder
from nes_lab.planning.planner import plan_on_ladder
from nes_lab.planning.region import reachable
from nes_lab.planning.survey import run_and_list, with_reasons
from nes_lab.progress_bar import OnProgress
from nes_lab.records.budget import Budget
from nes_lab.records.compression_plan import CompressionPlan
from nes_lab.records.counts import QUANTITIES
from nes_lab.records.options import PlanOptions
from nes_lab.records.reachable import Reachable

__all__ = ["PlanAgain"]

LADDERS_KEPT = 12
"""Number of ladders that are kept for one network. The one that was used longest ago is dropped first."""


class PlanAgain:
    """Plans one network for many budgets and options. The plans equal those of :func:`nes_lab.plan_for_budget`.

    Args:
        model: The dense network. It may be on torch's device ``meta``, which stores no weights. It must not change afterward.
        example_input: Input of one forward pass: a tensor, a tuple of arguments or a dict of keyword arguments, on the same device.

    Examples:
        >>> import nes_lab, torch
        >>> model, x = torch.nn.Sequential(torch.nn.Linear(64, 64)), torch.zeros(1, 64)
        >>> again = PlanAgain(model, x)
        >>> again.plan(nes_lab.Budget(params="60%")) == nes_lab.plan_for_budget(model, nes_lab.Budget(params="60%"), x)
        True
    """

    def __init__(self, model: nn.Module, example_input: Any) -> None:
        self._model = model
        self._survey = run_and_list(model, example_input)
        self._ladders: dict[str, Ladder] = {}
        self._regions: dict[int, tuple[Ladder, Reachable]] = {}

    def plan(
        self, budget: Budget, options: PlanOptions | None = None, on_progress: OnProgress | None = None
    ) -> CompressionPlan:
        """Return the plan for a budget.

        Args:
            budget: Limits on params, multiply-adds and stored bytes; no limit on time.
            options: Options of planning with the strategy ``uniform``; None takes the defaults.
            on_progress: Called as a new ladder is made. An error that it raises ends the work.

        Raises:
            BudgetError: If the budget cannot be met.
            OptionError: If an option is wrong, or a pattern matches no layer.
        """
        if options is not None and options.scope == "flat":
            plan = flat_plan_of_survey(self._survey, self._model, budget, options)
            return with_advice(with_file_bytes(self._model, plan))
        plan = plan_on_ladder(self.ladder(budget, options or PlanOptions(), on_progress), budget)
        return with_advice(with_file_bytes(self._model, plan))

    def region(
        self, budget: Budget, options: PlanOptions | None = None, on_progress: OnProgress | None = None
    ) -> Reachable:
        """Return which params and multiply-adds the network can have under a set of options.

        Args:
            budget: The budget. It decides what ``scope="auto"`` means.
            options: Options of planning; None takes the defaults.
            on_progress: Called as a new ladder is made. An error that it raises ends the work.

        Raises:
            BudgetError: If nothing can be replaced, or the budget limits a quantity that cannot be counted.
            OptionError: If an option is wrong, or a pattern matches no layer.
        """
        if options is not None and options.scope == "flat":
            return flat_region(flat_layers(self._survey, self._model, replace(options, strategy="uniform")))
        ladder = self.ladder(budget, replace(options or PlanOptions(), strategy="uniform"), on_progress)
        kept = self._regions.get(id(ladder))
        region = kept[1] if kept else reachable(ladder)
        known = {id(each) for each in self._ladders.values()}
        self._regions = {key: value for key, value in self._regions.items() if key in known}
        self._regions[id(ladder)] = (ladder, region)
        return region

    def ladder(self, budget: Budget, options: PlanOptions, on_progress: OnProgress | None = None) -> Ladder:
        """Return the ladder for a set of options: the list of all sizes of the network.

        Args:
            budget: The budget. It decides what ``scope="auto"`` means.
            options: Options of planning.
            on_progress: Called as a new ladder is made.

        Raises:
            BudgetError: If nothing can be replaced, or the budget limits a quantity that cannot be counted.
            OptionError: If an option is wrong, or a pattern matches no layer.
        """
        surveyed = with_reasons(self._survey, self._model, options)
        options = replace(options, scope=resolved_scope(surveyed, budget, options))
        limited = [name for name in QUANTITIES if getattr(budget, name) is not None]
        key = f"{limited if self._survey.report.not_counted else ''}{options!r}"
        ladder = self._ladders.pop(key, None) or ladder_of_survey(
            self._survey, self._model, options, budget, on_progress
        )
        self._ladders[key] = ladder  # the newest is last
        while len(self._ladders) > LADDERS_KEPT:
            del self._ladders[next(iter(self._ladders))]
        return ladder
