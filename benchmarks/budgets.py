"""Check budgets on twelve backbones, and write docs/budgets.md: no limit is exceeded, and counts equal the predicted ones.

Plans are made for real weights, because the strategy ``sensitivity`` reads them. The compressed networks are counted on the meta
device, which gives the same numbers without arithmetic. This takes a few minutes on one core. ``--page`` writes the page from
the results and measures nothing.
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

from nes_lab.runs.replace import write_target

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
"""The tight budget is the least reachable cost plus this share of the distance to the dense cost."""
WITHIN = 0.98
"""A plan should use at least this share of the tighter limit, or give the reason why it does not."""


def budgets(model: nn.Module, example: Any, round_to: int) -> dict[str, Any]:
    """Return four budgets for a model: each limit alone, both limits, and both limits near the least that can be reached."""
    import nes_lab

    try:
        nes_lab.plan_for_budget(model, nes_lab.Budget(params=2, madds=2), example, round_to=round_to)
        raise AssertionError("a budget of two params did not raise BudgetError")
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
    """Yield one row per strategy and budget: the limits, the predicted counts and the measured ones."""
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
    """Return the share of the tighter limit that a row uses."""
    return max(row["counted"][what] / limit for what, limit in row["limits"].items() if limit is not None)


def holds(row: dict[str, Any]) -> bool:
    """Check a row: counted as predicted, within every limit, and close to the tighter limit unless its note gives a reason."""
    near = used(row) >= WITHIN or "prevents more" in row["note"]
    return row["counted"] == row["predicted"] and used(row) <= 1 and near


def measure() -> dict[str, Any]:
    """Return all rows, with the versions, commit, date and seed they were made with."""
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
    """Return the page as Markdown. It depends on the contents of the result file only."""
    rows = data["rows"]
    backbones = list(dict.fromkeys(row["backbone"] for row in rows))
    lines = [
        "# Budgets: asked for, predicted, counted",
        "<!-- Written by benchmarks/budgets.py from benchmarks/results/budgets.json; do not edit. -->",
        f"Plans were made for {len(backbones)} backbones of different families, with four budgets and two strategies each: "
        f"{len(rows)} plans.",
        "\n".join(_claims(rows)),
        "The budget `params` limits params only, `madds` limits multiply-adds only, `both` limits both. `tight` limits both to the "
        f"least reachable cost plus {TIGHT:.0%} of the distance to the dense cost. Percentages are shares of the dense network. They "
        "are rounded here, but the limits hold exactly. The strategy `sensitivity` distributes the same budget differently over the "
        "layers. This page does not measure whether that improves accuracy.",
        f"Made at commit {data['commit']}, {data['date']}, with torch {data['torch']}, timm {data['timm']}, seed {data['seed']}: tiled "
        "starts, scope separable, channels in multiples of 8 (of 2 in small_mobilenetv2), batch 1 at the default input size.",
        "## All plans",
        _table(rows),
        "## Plans that use less than 98 % of the tighter limit",
        _notes([row for row in rows if used(row) < WITHIN]),
        "The networks were counted on the meta device. `python -m benchmarks.budgets` repeats everything.",
    ]
    return "\n\n".join(lines) + "\n"


def _claims(rows: list[dict[str, Any]]) -> Iterator[str]:
    near = sum(used(row) >= WITHIN for row in rows)
    yield f"- The counts of the compressed network equal the predicted ones: {_yes(r['counted'] == r['predicted'] for r in rows)}."
    yield f"- No limit is exceeded: {_yes(used(r) <= 1 for r in rows)}."
    yield f"- Plans that use at least {WITHIN:.0%} of the tighter limit: {near} of {len(rows)}."
    if near < len(rows):
        yield f"- The others give the reason, a rounding step that is too large: {_yes(holds(row) for row in rows)}."


def _yes(claims: Iterator[bool]) -> str:
    holding = list(claims)
    return "yes" if all(holding) else f"**no, in {holding.count(False)}**"


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
        return "None."
    return "\n".join(f"- {row['backbone']}, {row['budget']}, {row['strategy']}: {row['note']}" for row in rows)


def main(arguments: Sequence[str]) -> int:
    """Measure, write the results and the page. Return 1 if a row does not hold."""
    if "--page" not in arguments:
        data = measure()
        write_target(RESULTS, json.dumps(data, indent=1) + "\n")
    data = json.loads(RESULTS.read_text(encoding="utf-8"))
    write_target(PAGE, page(data))
    broken = [row for row in data["rows"] if not holds(row)]
    for row in broken:
        print(f"broken: {row}", file=sys.stderr)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
