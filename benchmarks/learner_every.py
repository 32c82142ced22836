"""Compare index learners that predict the starts in every step with index learners that predict in every fourth step, on digits.

::

    python -m benchmarks.learner_every      # writes results/learner_every.json, in about two minutes of one core

Both networks of a pair have the same first weights and see the same batches. The times are of the process, one thread.
"""

from __future__ import annotations

import json
import platform
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.speed import commit
from nes_lab.runs.replace import write_target

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results" / "learner_every.json"
EVERY, SEEDS, EPOCHS, SHARE = (1, 4), (0, 1, 2), 8, 0.3


def train(seed: int, every: int, epochs: int = EPOCHS) -> dict[str, Any]:
    """Train one network on the handwritten digits, and return its accuracy, its time, and how far its starts moved."""
    import torch
    from torch import nn

    import nes_lab
    from nes_lab.datasets.digits import load_digits
    from nes_lab.nn.inspect import epitome_layers
    from nes_lab.training.evaluate import evaluate
    from nes_lab.training.loop import Trainer

    torch.manual_seed(seed)
    data = load_digits()
    block = (nn.ReLU(), nn.MaxPool2d(2))
    dense = nn.Sequential(
        *(nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), *block),
        *(nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU()),
        *(nn.Conv2d(32, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10)),
    )
    budget = nes_lab.Budget(madds=SHARE)
    plan = nes_lab.plan_for_budget(dense, budget, torch.zeros(1, 1, 8, 8), routing="learner", patch_channels=4)
    network = nes_lab.compress(dense, plan, initial_weights="reset")
    before = _starts(network)
    recipe = nes_lab.Recipe(epochs=epochs, batch_size=64, lr=0.1, momentum=0.9, warmup_epochs=1, learner_every=every)
    trainer, begin = Trainer(network, data, recipe, seed=seed), time.process_time()
    trainer.fit()
    seconds = time.process_time() - begin
    moves = [float((a - b).abs().max()) for a, b in zip(_starts(network), before, strict=True)]
    return {
        "seed": seed,
        "learner_every": every,
        "top1": round(evaluate(trainer.model, data.val, batch_size=256)["top1"], 2),
        "seconds": round(seconds, 2),
        "steps": trainer.step,
        "largest_move": round(max(moves), 3),
        "layers": len(list(epitome_layers(network))),
    }


def _starts(network: Any) -> list[Any]:
    from nes_lab.nn.inspect import epitome_layers

    tables = [table for _, layer in epitome_layers(network) for table in layer.routing.current()]
    return [table.clone() for table in tables if table is not None]


def summary(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return mean and standard deviation of the accuracy, and the seconds, for each ``learner_every``."""
    found = []
    for every in EVERY:
        mine = [row for row in rows if row["learner_every"] == every]
        top1 = [row["top1"] for row in mine]
        spread = statistics.stdev(top1) if len(top1) > 1 else 0.0
        seconds = statistics.mean(row["seconds"] for row in mine)
        found.append(
            {
                "learner_every": every,
                "top1_mean": round(statistics.mean(top1), 2),
                "top1_sd": round(spread, 2),
                "seconds": round(seconds, 2),
            }
        )
    return found


def main() -> int:
    import torch

    torch.set_num_threads(1)
    rows = []
    for seed in SEEDS:
        for every in EVERY if seed % 2 == 0 else reversed(EVERY):
            rows.append(train(seed, every))
            print(rows[-1], file=sys.stderr, flush=True)
    facts = {
        "script": "benchmarks/learner_every.py",
        "commit": commit(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "threads": 1,
        "epochs": EPOCHS,
        "madds": SHARE,
    }
    write_target(RESULTS, json.dumps({"facts": facts, "summary": summary(rows), "runs": rows}, indent=1) + "\n")
    print(json.dumps(summary(rows)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
