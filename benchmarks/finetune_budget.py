"""Measure top-1 of a pretrained MobileNetV2 right after the fit of ``imagenet_finetune``, by budget, to choose the recipe's budget.

The photographs are the shared sample, one per class. Most of them are training images of the pretrained weights, so top-1 shows
agreement with the dense network, not accuracy. Writes results/finetune_budget.json.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from nes_lab.runs.replace import write_target

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "finetune_budget.json"
SIZE, IMAGES, CALIBRATION = 160, 200, 256
BETWEEN: dict[str, Any] = {"snap": False}  # starts may be fractional
BUDGETS: tuple[tuple[str, dict[str, Any] | None], ...] = (
    ("dense", None),
    ("params 90%", {"params": "90%"} | BETWEEN),
    ("params 80%", {"params": "80%"} | BETWEEN),
    ("params 80%, output_axis", {"params": "80%", "wiring": "output_axis"} | BETWEEN),
    ("params 80%, input_axis", {"params": "80%", "wiring": "input_axis"} | BETWEEN),
    ("params 50%, madds 75%", {"params": "50%", "madds": "75%"} | BETWEEN),
    ("params 90%, whole cells", {"params": "90%"}),
    ("params 80%, whole cells", {"params": "80%"}),
    ("params 80%, input_axis, whole cells", {"params": "80%", "wiring": "input_axis"}),
)


def main() -> int:
    import timm
    import torch

    from benchmarks.speed import commit, processor
    from tests.shared_data import FOLDER

    weights, photographs = FOLDER / "pretrained" / "mobilenetv2_100.safetensors", FOLDER / "imagenet_sample" / "val"
    if not weights.exists() or not photographs.exists():
        sys.exit(f"{FOLDER} has no weights or photographs: set NES_LAB_SHARED to the folder whose data/ has them")
    facts = {"script": "benchmarks/finetune_budget.py", "device": processor(), "torch": torch.__version__}
    facts |= {"timm": timm.__version__, "commit": commit(), "seed": 0, "image_size": SIZE, "images": IMAGES}
    rows: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as place:
        for split in ("train", "val"):
            os.symlink(photographs, Path(place) / split)
        for name, budget in BUDGETS:
            rows[name] = measure(place, weights, budget)
            print(name, rows[name], file=sys.stderr, flush=True)
            write_target(RESULTS, json.dumps(facts | {"calibration": CALIBRATION, "rows": rows}, indent=1) + "\n")
    return 0


def measure(place: str, weights: Path, budget: dict[str, Any] | None) -> dict[str, Any]:
    from nes_lab.config import load_config
    from nes_lab.experiment.build import build
    from nes_lab.recipes.registry import recipe

    tree = recipe("imagenet_finetune").tree(dense=budget is None)
    tree["data"] = {"name": "imagenet", "root": place, "image_size": SIZE, "normalize": "half"}
    tree["backbone"] = {"name": "mobilenetv2_100", "checkpoint": str(weights), "options": {"pad_type": "same"}}
    if budget is not None:
        options = {key: value for key, value in tree["compression"].items() if key not in ("params", "madds")}
        tree["compression"] = options | {"calibration": CALIBRATION} | budget
        tree["training"]["kd_weight"] = 0.0
    begin = time.perf_counter()
    built = build(load_config(tree))
    row = {"params": built.cost.params / built.dense_cost.params, "madds": built.cost.madds / built.dense_cost.madds}
    if built.fit is not None:
        row |= {"residual_before": built.fit.residual_before, "residual": built.fit.residual}
    return row | {"top1": top1(built.model, built.data.val), "seconds": time.perf_counter() - begin}


def top1(model: Any, split: Any) -> float:
    """Return the percentage of evenly spaced photographs that are classified correctly."""
    import torch

    every, right, count = len(split) // IMAGES, 0, 0
    model.eval()
    with torch.inference_mode():
        for number, (images, labels) in enumerate(split.eval_batches(every)):
            if number < IMAGES:
                right += int(model(images[:1]).argmax() == labels[0])
                count += 1
    return 100 * right / count


if __name__ == "__main__":
    sys.exit(main())
