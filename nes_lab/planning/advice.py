"""Advise on a compression plan, from accuracies that were measured at equal cost.

All numbers come from ``measured_accuracy.jsonl``, one line per contender: a narrower network (``width``) and a kind of epitomes. Rows
with the status ``first look`` come from single trainings of prototypes. ``python -m benchmarks.accuracy --advice`` replaces them by rows of
the study. Nothing is said where no row supports it.

Tests: tests/planning/test_advice.py
"""

from __future__ import annotations

import math
from dataclasses import replace
from statistics import mean
from typing import Any

from nes_lab.records.compression_plan import CompressionPlan
from nes_lab.records.measured_accuracy import measured
from nes_lab.text import format_share

__all__ = ["MOST_STORED", "NARROW", "ONE_EPITOME", "with_advice"]

ONE_EPITOME = "one epitome for the network with 2 windows"
"""Contender in the rows that a plan with a small budget on storage is compared with."""

MOST_STORED = 0.1
"""Largest share of params or bytes for which one epitome for the whole network is advised."""

NARROW = 0.2
"""Share of a plan's multiply-adds in depthwise convolutions from which on a narrower network is advised."""


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
    pair = _pair(("params", "stored_bytes"), "residual", share, ONE_EPITOME)
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
    pair = _pair((quantity,), "depthwise", plan.predicted.madds / plan.dense.madds)
    if share < NARROW or pair is None or mean(pair[1]["top1"]) >= mean(pair[0]["top1"]):
        return ""
    return (
        f"depthwise convolutions stay dense and need {format_share(share)} of this plan's MAdds; a narrower network without epitomes may "
        f"be better here: {_compared(*pair)}"
    )


def _pair(
    quantities: tuple[str, ...], kind: str, share: float, contender: str = ""
) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """Return the rows of a narrower network and of epitomes at the measured budget nearest to a share.

    Args:
        quantities: What may have been limited.
        kind: Kind of network.
        share: Share of the dense network's params, bytes or multiply-adds.
        contender: The kind of epitomes; empty: the best one.
    """
    rows = [row for row in measured() if row["quantity"] in quantities and row["kind"] == kind]
    epitomes = [row for row in rows if row["contender"] == contender or (not contender and row["contender"] != "width")]
    if not epitomes:
        return None
    nearest = min({row["share"] for row in epitomes}, key=lambda known: abs(math.log(known / share)))
    best = max((row for row in epitomes if row["share"] == nearest), key=lambda row: mean(row["top1"]))
    same = ("share", "quantity", "network", "status")
    narrow = (r for r in rows if r["contender"] == "width" and all(r[name] == best[name] for name in same))
    found = next(narrow, None)
    return None if found is None else (found, best)


def _compared(narrow: dict[str, Any], epitome: dict[str, Any]) -> str:
    numbers = {len(narrow["top1"]), len(epitome["top1"])}
    most = max(numbers)
    runs = "one training each" if most == 1 else f"{most} trainings {'at most' if len(numbers) > 1 else 'each'}"
    mark = "a first look, not the study: " if "first look" in (narrow["status"], epitome["status"]) else ""
    return (
        f"at {format_share(narrow['share'], digits=0)} of a {narrow['network']} on {narrow['data']}, {epitome['contender']} reached "
        f"{mean(epitome['top1']):.1f} % top-1 and a narrower network {mean(narrow['top1']):.1f} % ({mark}{narrow['epochs']} epochs, {runs})"
    )
