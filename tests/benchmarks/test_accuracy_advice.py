"""The rows that plans quote as advice follow from the rows of the study."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import nes_lab
from benchmarks import accuracy
from benchmarks.accuracy_parts.advice_rows import advice_rows, as_lines
from benchmarks.accuracy_parts.cells import Cell, study_cells
from benchmarks.accuracy_parts.study import read_study, trainings
from nes_lab.planning import advice

SEEDS = [0.0, 0.3, -0.3]


def cells(better: float, part: str) -> list[Cell]:
    """Return cells of the study of CPUs with made-up rows of one part: epitomes are better by so many points."""
    study = read_study(accuracy.PARTS / "cpu.yaml")
    rows: dict[str, dict[str, Any]] = {}
    for _ in range(2):
        for t in trainings(study, rows):
            if t.part.name == part and t.lr is not None:
                top1 = 60 + SEEDS[t.seed] * (1 if t.contender == "width" else 1.2)
                top1 += better * (t.contender == "shared") - (t.contender == "random")
                facts = {
                    "backbone": "cifar_resnet14",
                    "epochs": 12,
                    "cpu_seconds": 1.0,
                    "holdout_top1": top1,
                    "test_top1": top1,
                }
                rows[t.id] = facts | {"id": t.id, "part": part, "contender": t.contender, "seed": t.seed, "lr": t.lr}
    return study_cells(study, rows)


def test_rows_of_the_study_replace_first_looks_at_the_same_budget_and_no_others() -> None:
    old = [
        {"kind": kind, "quantity": quantity, "share": share, "status": "first look"}
        for kind, quantity, share in (
            ("residual", "params", 0.05),
            ("residual", "params", 0.2),
            ("depthwise", "madds", 0.5),
        )
    ]
    rows = advice_rows(cells(3.0, "resnet14-bytes"), old)
    assert {row["status"] for row in rows if row["share"] in (0.05, 0.1)} == {"study cpu"}
    assert rows[-2:] == old[1:] and [row["contender"] for row in rows[:2]] == [
        "width",
        "epitomes, joint scope, random starts",
    ]
    assert rows[0]["top1"] == [60.0, 60.3, 59.7] and rows[0]["network"] == "ResNet-14" and rows[0]["data"] == "CIFAR-10"
    assert advice_rows(cells(3.0, "another part"), old) == old
    assert as_lines(rows).count("\n") == len(rows)


@pytest.mark.parametrize(
    ("better", "says"),
    [
        (3.0, "it was better than a narrower network by 3.0 points of top-1 (95 % interval 2.9 to 3.1)"),
        (0.1, "are level within ±0.2 points of top-1"),
    ],
)
def test_a_plan_quotes_the_study_with_the_interval_of_its_seeds(
    better: float, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = tuple(advice_rows(cells(better, "resnet14-bytes"), []))
    monkeypatch.setattr(advice, "measured", lambda: rows)
    dense, x = nes_lab.create_backbone("cifar_resnet20", num_classes=10), torch.zeros(1, 3, 32, 32)
    found = nes_lab.plan_for_budget(dense, nes_lab.Budget(stored_bytes="6%"), x, share="stage", windows=2).advice
    assert len(found) == 1 and says in found[0] and "(12 epochs, 3 seeds each)" in found[0]
