"""Say in words what a compression plan costs, what keeps it from being smaller, and why a layer is as it is.

Tests: tests/records/test_plan_words.py.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from nes_lab.records.reachable import shares_of
from nes_lab.records.spread import Ratio
from nes_lab.text import format_ms, format_number, format_room, format_shape, format_share

__all__ = ["dense_words", "layer_words", "quantity_words", "settings_words", "stage_words", "times_words", "what_binds"]

Rows = Sequence[Mapping[str, Any]]
NAMES = {"madds": "MAdds", "params": "params", "stored_bytes": "bytes"}
UNTOUCHED = "the budget is met without it"
"""Reason of layers that could shrink."""


def quantity_words(quantity: str, planned: Mapping[str, Any], budget: Mapping[str, Any]) -> str:
    """Return the share of the dense network that a plan has, and how far it is under its budget.

    Args:
        quantity: ``"madds"``, ``"params"`` or ``"stored_bytes"``.
        planned: Dict with the counts ``dense`` and ``predicted``, as :meth:`CompressionPlan.to_dict` returns.
        budget: The user's limits on ``madds``, ``params`` and ``stored_bytes``.

    Examples:
        >>> planned = {"dense": {"madds": 1000, "params": 10}, "predicted": {"madds": 598, "params": 9}}
        >>> quantity_words("madds", planned, {"madds": "60%"}), quantity_words("params", planned, {"madds": "60%"})
        ('59.8 % of dense · 0.33 % under the budget', '90.0 % of dense')
    """
    dense, predicted = planned["dense"], planned["predicted"]
    limit = shares_of(budget, dense).get(quantity)
    share = format_share(predicted[quantity], dense[quantity])
    room = "" if not limit else f" · {format_room(predicted[quantity] / (limit * dense[quantity]))} under the budget"
    return f"{share} of dense{room}"


def what_binds(planned: Mapping[str, Any], budget: Mapping[str, Any]) -> str:
    """Return in a few words which budget a plan is closest to, and how much is in layers that cannot shrink.

    Args:
        planned: Dict with the counts ``dense`` and ``predicted``, and the ``rows`` of the layers.
        budget: The user's limits on ``madds``, ``params`` and ``stored_bytes``.

    Examples:
        >>> row = {"name": "a", "epitome_shape": None, "reason": "depthwise", "madds": 300, "params": 3}
        >>> planned = {"dense": {"madds": 1000, "params": 10}, "predicted": {"madds": 600, "params": 6}, "rows": [row]}
        >>> what_binds(planned, {"madds": "60%"})
        'the MAdds budget. 1 layer stays dense, with 50 % of the MAdds left.'
    """
    tightest, quantity, kept = _binding(planned, budget)
    first = (
        f"the {NAMES[tightest]} budget" if tightest else "the time budget" if budget.get("latency_ms") else "no budget"
    )
    if not kept or not planned["predicted"][quantity]:
        return f"{first}. All layers can shrink."
    share = sum(map(sum, kept.values())) / planned["predicted"][quantity]
    count = sum(map(len, kept.values()))
    layers = "1 layer stays" if count == 1 else f"{count} layers stay"
    return f"{first}. {layers} dense, with {format_share(share, digits=0)} of the {NAMES[quantity]} left."


def dense_words(planned: Mapping[str, Any], budget: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each reason why layers of a plan stay dense, the reason that costs most first.

    Args:
        planned: Dict with the counts ``dense`` and ``predicted``, and the ``rows`` of the layers.
        budget: The user's limits on ``madds``, ``params`` and ``stored_bytes``.

    Examples:
        >>> row = {"name": "a", "epitome_shape": None, "reason": "depthwise", "madds": 300, "params": 3}
        >>> planned = {"dense": {"madds": 1000, "params": 10}, "predicted": {"madds": 600, "params": 6}, "rows": [row]}
        >>> dense_words(planned, {"madds": "60%"})
        ['1 layer stays dense, with 50 % of the MAdds left. Reason: depthwise.']
    """
    _, quantity, kept = _binding(planned, budget)
    total = planned["predicted"][quantity] or 1
    costs = sorted(kept.items(), key=lambda item: -sum(item[1]))
    return [
        f"{'1 layer stays' if len(each) == 1 else f'{len(each)} layers stay'} dense, with "
        f"{format_share(sum(each), total, 0)} of the {NAMES[quantity]} left. Reason: {reason}."
        for reason, each in costs
    ]


def _binding(planned: Mapping[str, Any], budget: Mapping[str, Any]) -> tuple[str | None, str, dict[str, list[int]]]:
    """Return the budget that a plan is closest to, the quantity to speak of, and its amounts in dense layers by reason."""
    dense, predicted, limits = planned["dense"], planned["predicted"], shares_of(budget, planned["dense"])
    used = {name: predicted[name] / (limit * dense[name]) for name, limit in limits.items()}
    tightest = max(used, key=lambda name: used[name], default=None)
    kept: dict[str, list[int]] = defaultdict(list)
    for row in planned["rows"]:
        if not row["epitome_shape"] and row["reason"] not in ("", UNTOUCHED):
            kept[row["reason"]].append(row[tightest or "madds"])
    return tightest, tightest or "madds", kept


def layer_words(row: Mapping[str, Any]) -> str:
    """Return why a layer of a plan has its size, in words.

    Args:
        row: The row of the layer, from :meth:`CompressionPlan.rows`.

    Examples:
        >>> layer_words({"epitome_shape": None, "reason": "depthwise", "why": "", "madds": 5, "madds_dense": 5})
        'Stays dense: depthwise.'
    """
    if not row["epitome_shape"]:
        return f"Stays dense: {row['reason']}."
    share = format_share(row["madds"], row["madds_dense"], digits=0)
    size = f"An epitome of {format_shape(row['epitome_shape'])} for a weight of {format_shape(row['weight_shape'])}"
    cost = f"It needs {share} of the dense layer's {format_number(row['madds_dense'])} MAdds, computed by {row['execution']}."
    if row.get("why"):
        return f"{size}, because you set it here. {cost}"
    return f"{size}. All layers shrink by about the same share of their channels, until the budget is met. {cost}"


def stage_words(rows: Rows) -> str:
    """Return in words what a plan does with the layers of a stage.

    Args:
        rows: The rows of the layers, from :meth:`CompressionPlan.rows`.

    Examples:
        >>> row = {"epitome_shape": None, "reason": "depthwise", "madds": 5, "madds_dense": 5}
        >>> stage_words([row, row | {"epitome_shape": (2, 2), "madds": 2}])
        '1 of 2 layers is compressed. They keep 70 % of their 10 MAdds.'
    """
    shrunk = sum(bool(row["epitome_shape"]) for row in rows)
    planned, dense = (sum(row[key] for row in rows) for key in ("madds", "madds_dense"))
    are = "is" if shrunk == 1 else "are"
    kept = format_share(planned, dense, digits=0)
    return f"{shrunk} of {len(rows)} layers {are} compressed. They keep {kept} of their {format_number(dense)} MAdds."


def settings_words(settings: Mapping[str, Any]) -> str:
    """Return the settings of a layer from the option ``overrides`` in words.

    Args:
        settings: The settings.

    Examples:
        >>> settings_words({"keep": True}), settings_words({"ratio": 0.5, "routing": "free"})
        ('kept dense', 'ratio 50 %, routing free')
    """
    words = {"keep": "kept dense"} if settings.get("keep") else {}
    if isinstance(settings.get("ratio"), int | float):
        words["ratio"] = f"ratio {format_share(settings['ratio'], digits=0)}"
    return ", ".join(words.get(name, f"{name.replace('_', ' ')} {value}") for name, value in settings.items())


def times_words(times: Mapping[str, float]) -> str:
    """Return in words how long a planned network takes beside the dense one, with the spread of the ratio.

    Args:
        times: Median times ``ms`` and ``dense_ms`` in milliseconds, ``error``: the relative standard error of their ratio,
            ``rounds``: how often each network was timed, and ``low`` and ``high``: the quartiles of the ratio, if they are known.

    Examples:
        >>> times_words({"ms": 14.1, "dense_ms": 15.2, "error": 0.01, "rounds": 40})
        '14.1 ms, dense 15.2 ms: 0.93 ± 0.02 times as long, from 40 rounds'
        >>> times_words({"ms": 14.1, "dense_ms": 15.2, "error": 0.1, "rounds": 7, "low": 0.8, "high": 1.1})
        '14.1 ms, dense 15.2 ms: 0.93 ± 0.19 times as long, from 7 rounds. The machine was too busy to tell them apart'
    """
    share = times["ms"] / times["dense_ms"]
    ratio = Ratio(
        share, share * times["error"], times.get("low", share), times.get("high", share), int(times["rounds"])
    )
    both = f"{format_ms(times['ms'])}, dense {format_ms(times['dense_ms'])}"
    told = f"{both}: {share:.2f} ± {ratio.uncertainty:.2f} times as long, from {ratio.rounds} rounds"
    return f"{told}. The machine was too busy to tell them apart" if ratio.too_busy else told
