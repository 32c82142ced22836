"""Move budgets of params and multiply-adds, and see the plan that meets them, in a notebook.

Tests: tests/widgets/test_budget_explorer.py
"""

from __future__ import annotations

import html
import math
from collections.abc import Mapping
from typing import Any, Unpack

import ipywidgets
import plotly.graph_objects as go
from torch import nn

from nes_lab.errors import BudgetError, OptionError, closest
from nes_lab.figures.budget_plane import budget_plane
from nes_lab.figures.layer_bars import layer_bars
from nes_lab.planning.plan_again import PlanAgain
from nes_lab.records.budget import Budget
from nes_lab.records.compression_plan import CompressionPlan
from nes_lab.records.keywords import PlanKeywords
from nes_lab.records.options import PlanOptions
from nes_lab.records.reachable import budget_at, share_text, shares_of
from nes_lab.text import format_number, format_percent, space_percent
from nes_lab.widgets.figure_view import FigureView, add_fallback

__all__ = ["BudgetExplorer"]

_TITLES = {"params": "params", "madds": "MAdds"}
_STEP = 0.1
"""Smallest movement of a slider, in percent: the least value, rounded up, must be a multiple of it."""


class BudgetExplorer(ipywidgets.VBox):
    """Notebook widget with a slider for params and one for multiply-adds, and the plan that meets both budgets.

    The budgets move by sliders, by keys, or in the picture: drag the point or a line, or click. At 100 % there is no limit. The
    picture shows what the network can reach, and bars show what each layer gives.

    Args:
        model: The dense network; it is not changed.
        example_input: Input of one forward pass, as for :func:`nes_lab.plan_for_budget`: a tensor, a tuple or a dict.
        params: First limit on params: a share such as ``"60%"`` or 0.6, or a number such as ``"2M"``. None: no limit.
        madds: First limit on multiply-adds, in the same form. None: no limit. If both are None, it is ``"60%"``, or the least
            that can be reached if that is more.
        options: Options of :func:`nes_lab.plan_for_budget` with the strategy ``"uniform"``, such as ``routing="free"``.

    Raises:
        BudgetError: If a budget cannot be met, or no layer can be replaced.
        OptionError: If an option is wrong or unknown.

    Examples:
        >>> import nes_lab, torch
        >>> network = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.Linear(64, 64))
        >>> explorer = nes_lab.widgets.BudgetExplorer(network, torch.zeros(1, 64), madds="75%")
        >>> explorer.plan.predicted.madds / explorer.plan.dense.madds <= 0.75
        True
        >>> explorer.sliders["madds"].value = 50
        >>> explorer.plan.predicted.madds / explorer.plan.dense.madds <= 0.5
        True
    """

    def __init__(
        self,
        model: nn.Module,
        example_input: Any,
        *,
        params: float | str | None = None,
        madds: float | str | None = None,
        **options: Unpack[PlanKeywords],
    ) -> None:
        self._options = _checked(options)
        self._again = PlanAgain(model, example_input)
        self._setting = False
        region = self.region = self._again.region(Budget(madds=1.0), self._options)
        if params is None and madds is None:
            madds = share_text(max(0.6, region.least_share("madds")))
        self._budget: dict[str, float | str] = {}
        self._plan = self._planned(params, madds)
        self.sliders = {name: self._slider(name) for name in _TITLES}
        self.message = ipywidgets.HTML()
        self.plane = FigureView(self._draw_plane(), self._moved)
        self.bars = FigureView(layer_bars(self._plan))
        self.plane.layout = {"flex": "1 1 320px", "min_width": "0"}
        scroll = ipywidgets.Box([self.bars], layout={"flex": "1 1 420px", "min_width": "0", "max_height": "460px"})
        scroll.layout.overflow, scroll.layout.display = "auto", "block"
        row = {"flex_flow": "row wrap", "align_items": "flex-start"}
        sliders = ipywidgets.Box(list(self.sliders.values()), layout=row)
        super().__init__([sliders, self.message, ipywidgets.Box([self.plane, scroll], layout=row)])
        self._show()
        for slider in self.sliders.values():
            slider.observe(self._slid, names="value")

    @property
    def plan(self) -> CompressionPlan:
        """The plan that is shown: give it to :func:`nes_lab.compress`. After a refused budget it is the one before."""
        return self._plan

    @property
    def budget(self) -> Budget:
        """The budget of the plan."""
        return _budget(self._budget)

    def choose(self, params: float | str | None = None, madds: float | str | None = None) -> CompressionPlan:
        """Set the budgets, and return the plan.

        Args:
            params: Limit on params: a share such as ``"60%"`` or 0.6, or a number such as ``"2M"``. None: no limit.
            madds: Limit on multiply-adds, in the same form. None: no limit.

        Raises:
            BudgetError: If the budget cannot be met. The message names the least that can be reached. The widget shows the message
                and keeps its plan.
        """
        try:
            self._plan = self._planned(params, madds)
        except BudgetError as error:
            self.message.value = f'<b style="color:#D55E00">Refused:</b> {html.escape(str(error))}'
            raise
        self._show()
        return self._plan

    def __repr__(self) -> str:
        return f"BudgetExplorer: {self._words()}"

    def _repr_mimebundle_(self, **options: Any) -> Any:
        """Return the widget for a notebook, and the plane as it is now where widgets cannot be shown."""
        return add_fallback(super()._repr_mimebundle_(**options), text=repr(self), figure=self.plane.figure)

    def _planned(self, params: Any, madds: Any) -> CompressionPlan:
        given = {name: value for name, value in (("params", params), ("madds", madds)) if value not in (None, "")}
        plan = self._again.plan(_budget(given), self._options)
        self._budget = given
        return plan

    def _slider(self, name: str) -> ipywidgets.FloatSlider:
        least = math.ceil(1000 * self.region.least_share(name) - 1e-6) / 10
        return ipywidgets.FloatSlider(
            value=100.0,
            min=least,
            max=100.0,
            step=_STEP,
            description=f"{_TITLES[name]} (%)",
            readout_format=".1f",
            style={"description_width": "80px"},
            layout={"flex": "1 1 320px", "width": "auto", "max_width": "560px"},
        )

    def _slid(self, _: Any) -> None:
        if self._setting:
            return
        values = {name: slider.value for name, slider in self.sliders.items()}
        self._ask({name: f"{value:g}%" for name, value in values.items() if value < 100})

    def _moved(self, name: str, x: float | None, y: float | None) -> None:
        if name == "point":
            shares = shares_of(self._budget, self._dense)
            self._ask(budget_at(x or 1.0, y or 1.0, self.region, {key: share_text(v) for key, v in shares.items()}))
        elif name in _TITLES:
            share = x if name == "madds" else y
            self._ask(self._budget | {name: share_text(share if share is not None else 1.0)})

    def _ask(self, budget: Mapping[str, float | str]) -> None:
        """Set the budgets that the user has moved to. A refusal is shown, and not raised: nobody could catch it."""
        try:
            self.choose(**budget)
        except BudgetError:
            self._set_sliders()

    @property
    def _dense(self) -> dict[str, int]:
        return {name: getattr(self._plan.dense, name) for name in _TITLES}

    def _show(self) -> None:
        self.message.value = html.escape(self._words())
        self._set_sliders()
        self.plane.figure = self._draw_plane()
        self.bars.figure = layer_bars(self._plan)

    def _set_sliders(self) -> None:
        shares = shares_of(self._budget, self._dense)
        self._setting = True
        try:
            for name, slider in self.sliders.items():
                slider.value = min(max(100 * shares.get(name, 1.0), slider.min), 100.0)
        finally:
            self._setting = False

    def _draw_plane(self) -> go.Figure:
        shares = shares_of(self._budget, self._dense)
        return budget_plane(self._plan.to_dict(), shares, self.region, method=self._options.routing)

    def _words(self) -> str:
        dense, small = self._plan.dense, self._plan.predicted
        parts = []
        for name, title in _TITLES.items():
            now, before = getattr(small, name), getattr(dense, name)
            share = format_percent(100 * now / before)
            parts.append(f"{title}: {format_number(now)} of {format_number(before)} ({share})")
        least = ", ".join(
            f"{space_percent(share_text(self.region.least_share(name)))} of the {_TITLES[name]}" for name in _TITLES
        )
        return f"{' · '.join(parts)} · {len(self._plan.layers)} layers replaced, {len(self._plan.kept_layers)} kept dense · least: {least}"


def _budget(given: Mapping[str, Any]) -> Budget:
    return Budget(**given) if given else Budget(params=1.0)


def _checked(options: Mapping[str, Any]) -> PlanOptions:
    for name in options:
        if name not in PlanOptions.names():
            raise OptionError(f"{name} is not an option of BudgetExplorer.{closest(name, PlanOptions.names())}")
    if options.get("strategy", "uniform") != "uniform":
        raise OptionError(f"strategy={options['strategy']!r}; the explorer plans with 'uniform', which is fast enough")
    return PlanOptions(**options)
