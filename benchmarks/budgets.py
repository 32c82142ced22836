"""The claim of docs/budgets.md: budgets are met, from 2 % below, on backbones of twelve families, and what is predicted is counted.

Plans are made for real weights (the strategy ``sensitivity`` reads them); the compressed networks are counted on the meta device,
where counting gives the same numbers and takes no arithmetic. A few minutes on one core; ``--page`` only writes the page anew.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "budgets.json"
PAGE = ROOT / "docs" / "budgets.md"
BACKBONES = {
    "mobilenetv2_100": (3, 224, 224),
    "mobilenetv3_large_100": (3, 224, 224),
    "efficientnet_b0": (3, 224, 224),
    "resnet18": (3, 224, 224),
    "resnet50": (3, 224, 224),
    "regnetx_004": (3, 224, 224),
    "densenet121": (3, 224, 224),
    "convnext_atto": (3, 224, 224),
    "vit_tiny_patch16_224": (3, 224, 224),
    "swin_tiny_patch4_window7_224": (3, 224, 224),
    "mixer_s16_224": (3, 224, 224),
    "small_mobilenetv2": (1, 8, 8),
}
"""Backbone -> its default input."""
STRATEGIES = ("uniform", "sensitivity")
TIGHT = 0.1
"""The tight budget leaves this part of the way from the least reachable to the dense model."""
WITHIN = 0.98


def budgets(model: nn.Module, example: Any, round_to: int) -> dict[str, Any]:
    """Four budgets for a model: each limit alone, both, and both near the least that can be reached."""
    import nes_lab

    try:
        nes_lab.plan_for_budget(model, nes_lab.Budget(params=2, madds=2), example, round_to=round_to)
        raise AssertionError("a network of two params was found")
    except nes_lab.BudgetError as error:
        least = error.least
    dense = nes_lab.count(model, example)
    tight: dict[str, Any] = {
        w: getattr(least, w) + TIGHT * (getattr(dense, w) - getattr(least, w)) for w in ("params", "madds")
    }
    shares: dict[str, Any] = {w: round(max(0.6, tight[w] / getattr(dense, w)), 2) for w in tight}
    return {
        "params": nes_lab.Budget(params=shares["params"]),
        "madds": nes_lab.Budget(madds=shares["madds"]),
        "both": nes_lab.Budget(**shares),
        "tight": nes_lab.Budget(**tight),
    }


def rows_of(name: str, shape: Sequence[int], strategies: Sequence[str] = STRATEGIES) -> Iterator[dict[str, Any]]:
    """One row per strategy and budget: what was asked, planned and counted."""
    import torch

    import nes_lab

    torch.manual_seed(0)
    round_to = 2 if name.startswith("small") else 8
    classes = 10 if name.startswith("small") else 1000
    model = nes_lab.create_backbone(name, num_classes=classes, in_channels=shape[0]).eval()
    report = None
    if "sensitivity" in strategies:
        report = nes_lab.measure_sensitivity(model, torch.zeros(1, *shape), ratios=(0.5, 0.25), round_to=round_to)
    model, example = model.to("meta"), torch.zeros(1, *shape, device="meta")
    for kind, budget in budgets(model, example, round_to).items():
        for strategy in strategies:
            given: dict[str, Any] = {"sensitivity": report} if strategy == "sensitivity" else {}
            plan = nes_lab.plan_for_budget(model, budget, example, round_to=round_to, strategy=strategy, **given)
            counted = nes_lab.count(nes_lab.compress(model, plan), example)
            limits = budget.limits(plan.dense)
            yield {
                "backbone": name,
                "input": list(shape),
                "round_to": round_to,
                "budget": kind,
                "strategy": strategy,
                "limits": {"params": limits.get("params"), "madds": limits.get("madds")},
                "dense": {"params": plan.dense.params, "madds": plan.dense.madds},
                "predicted": {"params": plan.predicted.params, "madds": plan.predicted.madds},
                "counted": {"params": counted.params, "madds": counted.madds},
                "note": plan.notes[0],
            }


def used(row: dict[str, Any]) -> float:
    """Share of the tighter limit that a row uses."""
    return max(row["counted"][what] / limit for what, limit in row["limits"].items() if limit is not None)


def holds(row: dict[str, Any]) -> bool:
    """Whether a row keeps its promise: counted as predicted, within every limit, and near the tighter one or with the reason."""
    near = used(row) >= WITHIN or "prevents more" in row["note"]
    return row["counted"] == row["predicted"] and used(row) <= 1 and near


def measure() -> dict[str, Any]:
    """All rows, and where they come from."""
    import timm
    import torch

    rows: list[dict[str, Any]] = []
    for name, shape in BACKBONES.items():
        begin = time.perf_counter()
        rows += rows_of(name, shape)
        print(f"{name}: {time.perf_counter() - begin:.1f} s", file=sys.stderr, flush=True)
    git = ["git", "rev-parse", "--short=12", "HEAD"]
    commit = subprocess.run(git, capture_output=True, text=True, cwd=ROOT, check=False).stdout.strip()
    facts = {
        "script": "benchmarks/budgets.py",
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "commit": commit,
        "seed": 0,
    }
    return facts | {"torch": torch.__version__, "timm": timm.__version__, "rows": rows}


def page(data: dict[str, Any]) -> str:
    """The page as Markdown, from the result file's contents alone."""
    rows = data["rows"]
    near = sum(used(row) >= WITHIN for row in rows)
    backbones = list(dict.fromkeys(row["backbone"] for row in rows))
    lines = [
        "# Budgets: asked, planned, counted",
        "<!-- Written by benchmarks/budgets.py from benchmarks/results/budgets.json; do not edit. -->",
        f"{len(backbones)} backbones of different families, four budgets each, two strategies: {len(rows)} plans. In all of them "
        f"the compressed network's counts are those the plan predicted: {_yes(r['counted'] == r['predicted'] for r in rows)}. "
        f"No limit is exceeded: {_yes(used(r) <= 1 for r in rows)}. The tighter limit is used to at least {WITHIN:.0%} in "
        f"{near}; in the other {len(rows) - near} one rounding step is larger than that, and the plan names it: "
        f"{_yes(holds(r) for r in rows)}.",
        "`params` and `madds` limit one of the two, `both` limits both, `tight` leaves "
        f"{TIGHT:.0%} of the way from the least reachable to the dense network. Shares are of the dense network, rounded; limits hold "
        "exactly. The strategy `sensitivity` spends the same budget otherwise: whether that is better is a question of accuracy, "
        "which is not asked here.",
        f"commit {data['commit']}, {data['date']}, torch {data['torch']}, timm {data['timm']}, seed {data['seed']}; starts tiled, "
        "scope separable; channels in multiples of 8, small_mobilenetv2 of 2; batch 1 at the default input.",
        "## All plans",
        _table(rows),
        "## Where a rounding step leaves more than 2 %",
        _notes([row for row in rows if used(row) < WITHIN]),
        "Counted on the meta device. Again: `python -m benchmarks.budgets`.",
    ]
    return "\n\n".join(lines) + "\n"


def _yes(all_of: Iterator[bool]) -> str:
    found = list(all_of)
    return "yes" if all(found) else f"**no, in {found.count(False)}**"


def _table(rows: list[dict[str, Any]]) -> str:
    names = ("backbone", "budget", "strategy", "params: limit", "params", "madds: limit", "madds", "used")
    rule = "| --- | --- | --- | --: | --: | --: | --: | --: |"
    head = "| " + " | ".join(names) + " |\n" + rule
    return "\n".join([head, *(_line(row) for row in rows)])


def _line(row: dict[str, Any]) -> str:
    cells = [row["backbone"], row["budget"], row["strategy"]]
    for what in ("params", "madds"):
        limit, dense = row["limits"][what], row["dense"][what]
        cells.append("" if limit is None else f"{limit / dense:.1%}")
        cells.append(f"{row['counted'][what]:,} ({row['counted'][what] / dense:.1%})")
    return "| " + " | ".join([*cells, f"{used(row):.1%}"]) + " |"


def _notes(rows: list[dict[str, Any]]) -> str:
    if not rows:
        return "Nowhere."
    return "\n".join(f"- {row['backbone']}, {row['budget']}, {row['strategy']}: {row['note']}" for row in rows)


def main(arguments: Sequence[str]) -> int:
    """Measure and write the results, then the page; returns 1 where a promise is broken."""
    if "--page" not in arguments:
        data = measure()
        temporary = RESULTS.with_suffix(".tmp")
        temporary.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
        temporary.replace(RESULTS)
    data = json.loads(RESULTS.read_text(encoding="utf-8"))
    PAGE.write_text(page(data), encoding="utf-8")
    broken = [row for row in data["rows"] if not holds(row)]
    for row in broken:
        print(f"broken: {row}", file=sys.stderr)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
