"""Advise on a compression plan, from accuracies that were measured at equal cost.

All numbers come from ``measured_accuracy.jsonl``, one line per contender: a narrower network (``width``) and a kind of epitomes. Rows
with the status ``first look`` come from single trainings of prototypes. Rows of the study replace them in this file. Nothing is said
where no row supports it.

Tests: tests/planning/test_advice.py
"""

from __future__ import annotations

import json
import math
from dataclasses import replace
from functools import cache
from importlib.resources import files
from statistics import mean
from typing import Any

from nes_lab.records.compression_plan import CompressionPlan
from nes_lab.text import format_share

__all__ = ["MOST_STORED", "NARROW", "measured", "with_advice"]

MOST_STORED = 0.1
"""Largest share of params or bytes for which one epitome for the whole network is advised."""

NARROW = 0.2
"""Share of a plan's multiply-adds in depthwise convolutions from which on a narrower network is advised."""


@cache
def measured() -> tuple[dict[str, Any], ...]:
    """Return the rows of the measured accuracies: network, budget, contender and accuracies in percent, one per training."""
    text = files("nes_lab.planning").joinpath("measured_accuracy.jsonl").read_text(encoding="utf-8")
    return tuple(json.loads(line) for line in text.splitlines() if line)


def with_advice(plan: CompressionPlan) -> CompressionPlan:
    """Return a plan with advice: what its tightest limit and the kind of network suggest.

    Args:
        plan: The compression plan.
    """
    if plan.budget is None or not plan.layers:
        return plan
    limits = plan.budget.limits(plan.dense)
    used = {name: getattr(plan.predicted, name) / limit for name, limit in limits.items()}
    tightest = max(used, key=lambda name: used[name], default="")
    sentences = {"params": _storage, "stored_bytes": _storage, "madds": _depthwise}
    sentence = sentences[tightest](plan, tightest) if tightest else ""
    return replace(plan, advice=(sentence,)) if sentence else plan


def _storage(plan: CompressionPlan, quantity: str) -> str:
    """Advise one epitome for the whole network if little may be stored."""
    share = getattr(plan.predicted, quantity) / getattr(plan.dense, quantity)
    shared = all(layer.reads == "network" and layer.windows > 1 for layer in plan.layers.values())
    pair = _pair("params", "residual", share)
    madds_limit = math.inf if plan.budget is None else plan.budget.limits(plan.dense).get("madds", math.inf)
    if share > MOST_STORED or shared or pair is None or madds_limit < plan.dense.madds:
        return ""
    narrow, epitome = pair
    if mean(epitome["top1"]) <= mean(narrow["top1"]):
        return ""
    return (
        f"for {format_share(share)} of the {'bytes' if quantity == 'stored_bytes' else 'params'}, try share='network' and windows=2, one "
        f"epitome for all layers: {_compared(narrow, epitome)}. It does not save multiply-adds"
    )


def _depthwise(plan: CompressionPlan, quantity: str) -> str:
    """Advise a narrower network if depthwise convolutions, which stay dense, need much of the budget."""
    kept = [layer for layer in plan.kept_layers.values() if layer.reason.startswith("depthwise")]
    share = sum(layer.dense.madds for layer in kept) / max(plan.predicted.madds, 1)
    pair = _pair(quantity, "depthwise", plan.predicted.madds / plan.dense.madds)
    if share < NARROW or pair is None or mean(pair[1]["top1"]) >= mean(pair[0]["top1"]):
        return ""
    return (
        f"depthwise convolutions stay dense and need {format_share(share)} of this plan's MAdds; a narrower network without epitomes may "
        f"be better here: {_compared(*pair)}"
    )


def _pair(quantity: str, kind: str, share: float) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """Return the rows of a narrower network and of the best epitomes at the measured budget nearest to a share."""
    rows = [row for row in measured() if row["quantity"] == quantity and row["kind"] == kind]
    if not rows:
        return None
    nearest = min({row["share"] for row in rows}, key=lambda known: abs(math.log(known / share)))
    at = [row for row in rows if row["share"] == nearest]
    narrow = next(row for row in at if row["contender"] == "width")
    return narrow, max((row for row in at if row is not narrow), key=lambda row: mean(row["top1"]))


def _compared(narrow: dict[str, Any], epitome: dict[str, Any]) -> str:
    seeds = max(len(narrow["top1"]), len(epitome["top1"]))
    runs = f"{seeds} trainings at most" if seeds > 1 else "one training each"
    mark = "a first look, not the study: " if "first look" in (narrow["status"], epitome["status"]) else ""
    return (
        f"at {format_share(narrow['share'], digits=0)} of a {narrow['network']} on {narrow['data']}, {epitome['contender']} reached "
        f"{mean(epitome['top1']):.1f} % top-1 and a narrower network {mean(narrow['top1']):.1f} % ({mark}{narrow['epochs']} epochs, {runs})"
    )
