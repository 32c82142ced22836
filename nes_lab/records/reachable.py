"""Reachable: which params and multiply-adds a network can have under one set of options.

Tests: tests/planning/test_region.py.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from nes_lab.records.budget import parse_bytes, parse_quantity
from nes_lab.records.counts import Counts

__all__ = ["Reachable", "budget_at", "share_text", "shares_of"]


@dataclass(frozen=True)
class Reachable:
    """The params and multiply-adds that a network can have under one set of options of planning.

    For each number of multiply-adds in ``madds``, the params lie between ``fewest_params`` and ``most_params``. Epitomes have whole
    channels, so not every point between them is met exactly.

    Args:
        dense: Counts of the dense network.
        least: Counts of the smallest network. A budget below one of them cannot be met.
        madds: Numbers of multiply-adds, smallest first.
        fewest_params, most_params: For each of them, the fewest and the most params, in any mix of sizes of the layers.
        path_madds, path_params: Multiply-adds and params of the networks that plans choose from, largest network first. At most 65 of
            them are listed.

    Examples:
        >>> dense, least = Counts(100, 1000, 400), Counts(20, 300, 80)
        >>> reached = Reachable(dense, least, (300, 1000), (20, 100), (20, 100), (1000, 300), (100, 20))
        >>> reached.least_share("madds"), Reachable.from_dict(reached.to_dict()) == reached
        (0.3, True)
    """

    dense: Counts
    least: Counts
    madds: tuple[float, ...]
    fewest_params: tuple[float, ...]
    most_params: tuple[float, ...]
    path_madds: tuple[float, ...]
    path_params: tuple[float, ...]

    def least_share(self, quantity: str) -> float:
        """Return the smallest share of the dense network's ``"params"`` or ``"madds"`` that can be reached."""
        return getattr(self.least, quantity) / getattr(self.dense, quantity)

    def plan_params(self, madds: float) -> float:
        """Return the params of the plan for a budget on multiply-adds; both are shares of the dense network.

        Args:
            madds: The budget as a share.
        """
        wanted = madds * self.dense.madds
        below = bisect_left(self.path_madds, -wanted, key=lambda number: -number)
        if below in (0, len(self.path_madds)):
            return self.path_params[max(below - 1, 0)] / self.dense.params
        (x0, x1), (y0, y1) = (path[below - 1 : below + 1] for path in (self.path_madds, self.path_params))
        return (y1 + (y0 - y1) * (wanted - x1) / (x0 - x1)) / self.dense.params

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain data for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Reachable:
        """Read what :meth:`to_dict` returned.

        Args:
            data: The fields. Lists become tuples.
        """
        fields: dict[str, Any] = {name: tuple(values) for name, values in data.items()}
        fields |= {name: Counts(**data[name]) for name in ("dense", "least")}
        return cls(**fields)


def share_text(share: float) -> str:
    """Return a share as text for a budget, rounded up to a tenth of a percent, so that it can be reached if the share can.

    Args:
        share: The share; above 1 counts as 1.

    Examples:
        >>> share_text(0.6), share_text(0.11884), share_text(2.0)
        ('60%', '11.9%', '100%')
    """
    return f"{min(math.ceil(1000 * share - 1e-6), 1000) / 10:g}%"


def shares_of(budget: Mapping[str, Any], dense: Mapping[str, int]) -> dict[str, float]:
    """Return the limits of a budget as shares of the dense network. Quantities without a limit are left out.

    Args:
        budget: Limits on ``madds``, ``params`` and ``stored_bytes`` as a user gives them, such as ``"60%"``.
        dense: Counts of the dense network.

    Raises:
        BudgetError: If a limit cannot be read.

    Examples:
        >>> shares_of({"madds": "60%", "params": 5}, {"madds": 300, "params": 20})
        {'madds': 0.6, 'params': 0.25}
    """
    limits = {name: parse_quantity(budget.get(name), name) for name in ("madds", "params")}
    limits["stored_bytes"] = parse_bytes(budget.get("stored_bytes"))
    return {name: v if v <= 1 else v / dense[name] for name, v in limits.items() if v is not None}


def budget_at(madds: float, params: float, region: Reachable | None, budget: Mapping[str, Any]) -> dict[str, str]:
    """Return the budget that a point stands for, as text for a form; empty text for no limit.

    A point above the line of plans limits only the multiply-adds, as there the params need no limit.

    Args:
        madds: Multiply-adds of the point as a share of the dense network.
        params: Params of the point as a share of the dense network.
        region: What the network can reach; None: not known. Params are then limited only if ``budget`` limits them.
        budget: The budget before.

    Examples:
        >>> dense = Counts(100, 1000)
        >>> region = Reachable(dense, Counts(20, 300), (300, 1000), (20, 100), (20, 100), (1000, 300), (100, 20))
        >>> budget_at(0.65, 0.9, region, {}), budget_at(0.65, 0.3, region, {})
        ({'madds': '65%', 'params': ''}, {'madds': '65%', 'params': '30%'})
    """
    binds = params < region.plan_params(madds) if region is not None else bool(budget.get("params"))
    return {"madds": share_text(madds), "params": share_text(params) if binds else ""}
