"""Rows in words, Markdown tables, and the advice of docs/speed.md."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from statistics import median
from typing import Any

__all__ = ["advice", "named", "rows_of", "table", "verdict"]

Data = dict[str, Any]
Row = dict[str, Any]


def rows_of(data: Data, part: str = "") -> Iterator[Row]:
    """Rows of the jobs whose name begins so, with the part's name in ``part``."""
    for name, job in data["jobs"].items():
        if name.startswith(part):
            yield from ({"part": name.split("/")[0], **row} for row in job["rows"])


def table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    rows = [head, ["---"] * len(head), *lines]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows)


def named(row: Row) -> str:
    """What a row is about, in a few words."""
    words = [row["case"]]
    if row["part"] in ("layers", "gpu"):
        words += [row["axes"], row["starts"]]
    else:
        words.append(row["contender"])
        if row["part"] == "training" and row["baseline"] != "dense":
            words[-1] += f" / {row['baseline']}"
    if row["part"] == "expansion":
        words += [row["axes"], row["starts"]]
    if "batch" in row and "batch" not in row["case"]:
        words.append(f"batch {row['batch']}")
    return ", ".join(words)


def verdict(row: Row) -> str:
    """The ratio, in bold where a target was missed."""
    return f"**{row['ratio']:.2f}**" if row["met"] is False else f"{row['ratio']:.2f}"


def advice(data: Data) -> str:
    """The honest paragraph; its numbers are those of the file."""
    return (
        "Sharing weights saves parameters, never time by itself. Time is saved only where a layer runs in epitome space (`factored`, "
        "`wrapped`, `product_map`), and there the saved multiply-adds pay for a pass over the activations that folds the input and one "
        "that expands the output. That pays where a layer multiplies much for every number it reads and writes: 3x3 convolutions and "
        f"wide 1x1 ones. ResNet-50's 3x3 convolutions at half the multiply-adds took {_layers(data, 'resnet50', '3x3')} of the dense "
        f"time here, its 1x1 ones {_layers(data, 'resnet50', '1x1')}, and MobileNetV2's thin 1x1 ones "
        f"{_layers(data, 'mobilenetv2', '1x1')}. For whole networks: {_network(data, 'resnet50', 0.5)}; "
        f"{_network(data, 'mobilenetv2_100', 0.75)}. Depthwise convolutions, activations and small layers run as before, so a network made "
        "of them gets smaller, not faster; and at equal multiply-adds a plainly narrower network is the one to beat in time, as it has "
        "nothing to fold: what an epitome keeps is the width, which costs these passes. A plan for speed "
        '(`wiring="input_axis", round_to=32` for ResNet-50, `wiring="narrow_axis", min_channels=64` for MobileNetV2) has fewer and cheaper '
        "passes than the default one and costs rank, whose price in accuracy these numbers do not show. At batch 1 small layers are "
        "dominated by the cost of starting "
        "an operation at all, and a plan of two or three operations seldom wins against one: `nes_lab.tune` measures that on your device "
        "and materializes such layers, so that a tuned network is not slower than its dense form, but then its multiply-adds are the dense "
        "ones there (the tables say how many). For fewer parameters alone use `materialize` or scope `joint`, and expect dense speed."
    )


def _layers(data: Data, network: str, kernel: str) -> str:
    found = [
        r["ratio"]
        for r in rows_of(data, "layers")
        if r["network"] == network
        and r["case"].startswith(kernel)
        and r["axes"] != "both axes"
        and r["starts"] == "integer"
    ]
    return f"{min(found):.2f} to {max(found):.2f} (median {median(found):.2f})" if found else "(not measured)"


def _network(data: Data, network: str, budget: float) -> str:
    def ratios(contender: str) -> str:
        found = [
            f"{r['ratio']:.2f} (batch {r['batch']})"
            for r in rows_of(data, "networks")
            if (r["network"], r["budget"], r["baseline"]) == (network, budget, "dense, fused")
            and r["contender"] == contender
        ]
        return " and ".join(found) or "(not measured)"

    return (
        f"{network} at {budget:.0%} of the multiply-adds, tuned and fused, took {ratios('epitome, plan for speed')} of the fused dense "
        f"time with a plan for speed, {ratios('epitome, default plan')} with the default plan, and the width multiplier of equal "
        f"multiply-adds {ratios('width multiplier, fused')}"
    )
