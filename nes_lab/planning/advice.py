"""Advise on a compression plan, from accuracies that were measured at equal cost.

All numbers come from ``measured_accuracy.jsonl``, one line per contender: a narrower network (``width``) and a kind of epitomes. Rows
with the status ``first look`` come from single trainings of prototypes. ``python -m benchmarks.accuracy --advice`` replaces them by rows of
the study. Nothing is said where no row supports it.

Two networks are compared seed by seed. One is called better only if the 95 % interval of the difference excludes 0
(:mod:`nes_lab.runs.difference`). Otherwise the two are level, within the largest difference that the interval contains.

Tests: tests/planning/test_advice.py
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from statistics import mean
from typing import Any

from nes_lab.records.compression_plan import CompressionPlan
from nes_lab.records.measured_accuracy import measured
from nes_lab.runs.difference import Difference, paired_difference
from nes_lab.text import format_share

__all__ = ["MOST_STORED", "NARROW", "NEAR", "ONE_EPITOME", "TILED", "with_advice"]

ONE_EPITOME = "one epitome for the network with 2 windows"
"""Contender in the rows that a plan with a small budget on storage is compared with."""

MOST_STORED = 0.1
"""Largest share of params or bytes for which one epitome for the whole network is advised."""

TILED = "tiled epitomes on both axes"
"""Contender in the rows that a plan for fewer multiply-adds is compared with: learned starts were never ahead of it."""

NEAR = 1.4
"""Largest factor between a measured budget and that of a plan for which multiply-adds of ResNets are compared."""

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
    sentences = {"params": _storage, "stored_bytes": _storage, "madds": _multiply_adds}
    sentence = sentences[tightest](plan, tightest) if tightest else ""
    return replace(plan, advice=(sentence,)) if sentence else plan


def _storage(plan: CompressionPlan, quantity: str) -> str:
    """Compare one epitome for the whole network with a narrower network, if little may be stored."""
    share = getattr(plan.predicted, quantity) / getattr(plan.dense, quantity)
    madds_limit = math.inf if plan.budget is None else plan.budget.limits(plan.dense).get("madds", math.inf)
    pairs = _pairs(("params", "stored_bytes"), "residual", share, ONE_EPITOME)
    if share > MOST_STORED or madds_limit < plan.dense.madds or not pairs:
        return ""
    narrow, epitome = pairs[0]
    found = _difference(epitome, narrow)
    follows = all(layer.reads == "network" and layer.windows > 1 for layer in plan.layers.values())
    if not found.is_known or (found.sign > 0 and follows):
        return ""
    kept = f"for {format_share(share)} of the {'bytes' if quantity == 'stored_bytes' else 'params'}"
    shared = "one epitome for all layers (share='network', windows=2)"
    if found.sign > 0:
        return (
            f"{kept}, try {shared}: it was better than a narrower network by {_points(found)}, {_where(epitome)}. It does not save "
            "multiply-adds"
        )
    if found.sign < 0:
        return f"{kept}, a narrower network was better than {shared} by {_points(found)}, {_where(epitome)}"
    return (
        f"{kept}, {shared} and a narrower network are level within ±{found.level_within:.1f} points of top-1, {_where(epitome)}. The "
        "narrower network also saves multiply-adds"
    )


def _multiply_adds(plan: CompressionPlan, quantity: str) -> str:
    """Compare epitomes with a narrower network, as they were measured on the kind of network that the plan is for."""
    kept = [layer for layer in plan.kept_layers.values() if layer.reason.startswith("depthwise")]
    share = sum(layer.dense.madds for layer in kept) / max(plan.predicted.madds, 1)
    if share >= NARROW:
        return _depthwise(plan, share)
    wide = (layer for layer in plan.layers.values() if layer.kind == "conv2d" and math.prod(layer.weight_shape[2:]) > 1)
    return _residual(plan) if sum(layer.dense.madds for layer in wide) > plan.dense.madds / 2 else ""


def _residual(plan: CompressionPlan) -> str:
    """Compare tiled epitomes with a narrower network if most multiply-adds are in convolutions with a window, as in ResNets."""
    share = plan.predicted.madds / plan.dense.madds
    pairs = [pair for pair in _pairs(("madds",), "residual", share, TILED) if _is_near(pair[0]["share"], share)]
    if not pairs:
        return ""
    narrow, epitome = pairs[0]
    found = _difference(epitome, narrow)
    if found.sign > 0:
        layers = plan.layers.values()
        both = any(all(e < w for e, w in zip(x.epitome_shape[:2], x.weight_shape[:2], strict=True)) for x in layers)
        if both and all(layer.routing == "tiled" for layer in layers):
            return ""
        return f"try routing='tiled' and wiring='both_axes': it was better than a narrower network by {_points(found)}, {_where(epitome)}"
    if found.sign < 0:
        return f"a narrower network was better than {TILED} by {_points(found)}, {_where(epitome)}"
    if not found.is_known:
        return ""
    return (
        f"a narrower network and {TILED} are level within ±{found.level_within:.1f} points of top-1, {_where(epitome)}. The narrower "
        "network trains faster"
    )


def _is_near(known: float, share: float) -> bool:
    """Return True if two budgets are so near that what was measured at one may hold at the other."""
    return max(known, share) <= NEAR * min(known, share)


def _depthwise(plan: CompressionPlan, share: float) -> str:
    """Compare epitomes with a narrower network. Depthwise convolutions, which stay dense, need ``share`` of the plan's multiply-adds."""
    pairs = _pairs(("madds",), "depthwise", plan.predicted.madds / plan.dense.madds)
    if not pairs or any(_difference(epitome, narrow).sign > 0 for narrow, epitome in pairs):
        return ""
    narrow, epitome = max(pairs, key=lambda pair: mean(pair[1]["top1"]))
    found = _difference(epitome, narrow)
    if not found.is_known and found.value >= 0:
        return ""
    start = f"depthwise convolutions stay dense and need {format_share(share)} of this plan's MAdds; a narrower network without epitomes"
    name = epitome["contender"]
    if found.sign < 0:
        return f"{start} was better than {name} by {_points(found)}, {_where(epitome)}"
    if found.is_known:
        return f"{start} and {name} are level within ±{found.level_within:.1f} points of top-1, {_where(epitome)}"
    top1 = f"{mean(narrow['top1']):.1f} % against {mean(epitome['top1']):.1f} % with {name}"
    return f"{start} may be better here: {top1}, {_where(epitome)}, too few trainings for an interval"


def _pairs(
    quantities: tuple[str, ...], kind: str, share: float, contender: str = ""
) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Return the rows of a narrower network, each with one of epitomes, at the measured budget nearest to a share.

    Args:
        quantities: What may have been limited.
        kind: Kind of network.
        share: Share of the dense network's params, bytes or multiply-adds.
        contender: The kind of epitomes; empty: all kinds.
    """
    rows = [row for row in measured() if row["quantity"] in quantities and row["kind"] == kind]
    epitomes = [row for row in rows if row["contender"] == contender or (not contender and row["contender"] != "width")]
    nearest = min({row["share"] for row in epitomes}, key=lambda known: abs(math.log(known / share)), default=None)
    same = ("share", "quantity", "network", "status")
    return [
        (narrow, epitome)
        for epitome in epitomes
        for narrow in rows
        if epitome["share"] == nearest
        and narrow["contender"] == "width"
        and all(narrow[name] == epitome[name] for name in same)
    ]


def _difference(epitome: Mapping[str, Any], narrow: Mapping[str, Any]) -> Difference:
    """Return the difference in points of top-1, with an interval if both have the same seeds."""
    if epitome.get("seeds") and epitome["seeds"] == narrow.get("seeds"):
        return paired_difference(epitome["top1"], narrow["top1"])
    return Difference(mean(epitome["top1"]) - mean(narrow["top1"]))


def _points(found: Difference) -> str:
    """Return how far apart two networks are, without a sign, such as ``2.3 points of top-1 (95 % interval 0.5 to 4.2)``."""
    assert found.low is not None and found.high is not None  # the caller has seen an interval
    low, high = sorted((abs(found.low), abs(found.high)))
    return f"{abs(found.value):.1f} points of top-1 (95 % interval {low:.1f} to {high:.1f})"


def _where(row: Mapping[str, Any]) -> str:
    """Return on what a row was measured, with the number of trainings."""
    number = len(row["top1"])
    runs = f"{number} seeds each" if number > 1 else "one training each"
    mark = "a first look, not the study: " if row["status"] == "first look" else ""
    of_what = {"madds": "MAdds", "params": "params", "stored_bytes": "bytes"}[row["quantity"]]
    return (
        f"measured at {format_share(row['share'], digits=0)} of the {of_what} of {row['network']} on {row['data']} ({mark}{row['epochs']} "
        f"epochs, {runs})"
    )
