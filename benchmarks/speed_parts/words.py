"""Rows as text, Markdown tables, and the advice of docs/speed.md."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from statistics import median
from typing import Any

__all__ = ["advice", "named", "rows_of", "table", "verdict"]

Data = dict[str, Any]
Row = dict[str, Any]


def rows_of(data: Data, part: str = "") -> Iterator[Row]:
    """Yield the rows of the jobs whose name begins with ``part``, each with the name of its part in ``row["part"]``."""
    for name, job in data["jobs"].items():
        if name.startswith(part):
            yield from ({"part": name.split("/")[0], **row} for row in job["rows"])


def table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    rows = [head, ["---"] * len(head), *lines]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows)


def named(row: Row) -> str:
    """Return a short description of what a row compares."""
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
    """Return the ratio as text, in bold if a target was missed."""
    return f"**{row['ratio']:.2f}**" if row["met"] is False else f"{row['ratio']:.2f}"


def advice(data: Data) -> str:
    """Return the advice of the page, with the numbers of the result file."""
    return "\n\n".join((_when_it_pays(data), _measured_networks(data), _PLANS))


def _when_it_pays(data: Data) -> str:
    return (
        "Sharing weights saves parameters. It saves time only in layers that run in epitome space (`factored`, `wrapped`, "
        "`product_map`). Such a layer has fewer multiply-adds, but it needs one pass over the activations to fold the input and "
        "another to expand the output. It is faster if the layer has many multiply-adds for every number it reads and writes, as 3x3 "
        "convolutions and wide 1x1 convolutions do. At half the multiply-adds, the time as a share of the dense time was:\n\n"
        f"* 3x3 convolutions of ResNet-50: {_layers(data, 'resnet50', '3x3')}\n"
        f"* 1x1 convolutions of ResNet-50: {_layers(data, 'resnet50', '1x1')}\n"
        f"* thin 1x1 convolutions of MobileNetV2: {_layers(data, 'mobilenetv2', '1x1')}"
    )


def _measured_networks(data: Data) -> str:
    return (
        "For complete networks, tuned and fused, the time as a share of the fused dense time was:\n\n"
        f"{_network(data, 'resnet50', 0.5)}\n{_network(data, 'mobilenetv2_100', 0.75)}\n\n"
        "Depthwise convolutions, activations and small layers run as before, so a network that consists of them gets smaller but not "
        "faster. At equal multiply-adds a network with fewer channels is usually faster, because it has nothing to fold: an epitome "
        "network keeps the width of its activations, and these passes are the price."
    )


_PLANS = (
    "* **To serve a network**, call `nes_lab.optimize(network, example)` or `nes-lab optimize FOLDER`. It also tries `torch.compile` and "
    "ONNX Runtime, in which a small network takes a fraction of its time in PyTorch. It never returns a slower form than it was given.\n"
    '* **A plan for speed** shrinks few wide layers, each on one axis: `wiring="narrow_axis"` with `min_channels=256, round_to=32` for '
    "ResNet-50 at half of the multiply-adds, and with `min_channels=96, round_to=16` for MobileNetV2 at 75 %. It has fewer and cheaper "
    "passes than the default plan, but weights of lower rank. These numbers do not show what that costs in accuracy. `nes-lab "
    "calibrate-device` and `strategy=speed` choose such a plan by times of your device.\n"
    "* **At batch 1** the time of small layers is mostly the time it takes to start an operation, so two or three operations are seldom "
    "faster than one. `nes_lab.tune` measures this on your device and materializes such layers. A tuned network is therefore not slower "
    "than its dense form, but its materialized layers have the dense multiply-adds (the tables count them).\n"
    "* **For fewer parameters only**, use `materialize` or scope `joint`, and expect dense speed."
)


def _layers(data: Data, network: str, kernel: str) -> str:
    ratios = [
        r["ratio"]
        for r in rows_of(data, "layers")
        if r["network"] == network
        and r["case"].startswith(kernel)
        and r["axes"] != "both axes"
        and r["starts"] == "integer"
    ]
    return f"{min(ratios):.2f} to {max(ratios):.2f} (median {median(ratios):.2f})" if ratios else "(not measured)"


def _network(data: Data, network: str, budget: float) -> str:
    def ratios(contender: str) -> str:
        measured = [
            f"{r['ratio']:.2f} (batch {r['batch']})"
            for r in rows_of(data, "networks")
            if (r["network"], r["budget"], r["baseline"]) == (network, budget, "dense, fused")
            and r["contender"] == contender
        ]
        return " and ".join(measured) or "(not measured)"

    return (
        f"* {network} at {budget:.0%} of the multiply-adds: {ratios('epitome, plan for speed')} with a plan for speed, "
        f"{ratios('epitome, default plan')} with the default plan. The width multiplier of equal multiply-adds took "
        f"{ratios('width multiplier, fused')}."
    )
