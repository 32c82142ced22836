"""Prepare a slider for a budget. It is drawn by JavaScript in the browser, and hatches the part that cannot be reached.

Tests: tests/figures/test_budget_plane.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nes_lab.figures.paper_budgets import PaperBudget
from nes_lab.records.reachable import Reachable, share_text, shares_of
from nes_lab.text import space_percent

__all__ = ["slider_data", "slider_js"]


def slider_js() -> str:
    """Return the JavaScript module that draws the slider: ``drawSlider(node, data, onSlide)``."""
    return (Path(__file__).parent / "static" / "slider.js").read_text(encoding="utf-8")


def slider_data(
    quantity: str,
    budget: Mapping[str, Any],
    dense: Mapping[str, int],
    predicted: Mapping[str, int] | None,
    region: Reachable | None,
    paper: Sequence[PaperBudget] = (),
) -> dict[str, Any]:
    """Return what the slider draws, for JSON. Numbers are shares of the dense network.

    Args:
        quantity: ``"madds"`` or ``"params"``.
        budget: The user's limits on ``madds`` and ``params``.
        dense: Counts of the dense network.
        predicted: Counts of the planned network; None: there is no plan.
        region: What the network can reach; None: not known yet.
        paper: Published budgets for this network.

    Raises:
        BudgetError: If a limit cannot be read.

    Examples:
        >>> slider_data("madds", {"madds": "60%"}, {"madds": 10}, {"madds": 5}, None)["plan"]
        0.5
    """
    shares = shares_of(budget, dense)
    published = [getattr(each, quantity) / dense[quantity] for each in paper if getattr(each, quantity) is not None]
    words = [f"{space_percent(share_text(region.least_share(quantity)))} to 100 % can be reached"] if region else []
    words += ["no limit"] if quantity not in shares else []
    words += ["dashed: published"] if published else []
    return {
        "label": f"{'MAdds' if quantity == 'madds' else 'Params'} budget",
        "value": min(shares.get(quantity, 1.0), 1.0),
        "least": region.least_share(quantity) if region else 0.0,
        "plan": predicted[quantity] / dense[quantity] if predicted else None,
        "marks": published,
        "words": " · ".join(words),
    }
