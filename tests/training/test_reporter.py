"""What a training reports: rows of metrics, and progress."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from nes_lab.training.hooks import Hooks
from tests.training.nets import trainer
from tests.training.resuming import load, save


@pytest.fixture(scope="module")
def reported() -> tuple[list[dict], list[dict]]:
    """Rows of metrics and progress of one training of 8 steps, with averaged weights."""
    rows, progress = [], []
    trainer(hooks=Hooks(metric=rows.append, on_progress=progress.append), ema_decay=0.9).fit()
    return rows, progress


def test_reporter_gives_rows_of_metrics(reported) -> None:
    rows, _ = reported
    assert [(row["step"], row["epoch"], row["split"]) for row in rows] == [
        (3, 1, "train"),
        (4, 1, "train"),
        (4, 1, "val"),
        (6, 2, "train"),
        (8, 2, "train"),
        (8, 2, "val"),
    ]
    assert set(rows[0]) == {"step", "epoch", "split", "loss", "top1", "top5", "lr", "images_per_s"}
    assert set(rows[2]) - set(rows[0]) == {"ema_top1", "ema_top5", "ema_loss"}
    assert rows[2]["ema_loss"] != rows[2]["loss"]
    assert rows[0]["lr"] > rows[-2]["lr"] > 0  # the schedule is followed
    assert all(0 <= row["top1"] <= row["top5"] <= 100 for row in rows)
    assert all(row["images_per_s"] > 0 for row in rows if row["split"] == "train")


def test_reporter_gives_complete_progress(reported) -> None:
    last = reported[1][-1]
    names = {"phase", "label", "done", "total", "epoch", "epochs", "images_per_s", "seconds_left", "loss", "top1"}
    assert set(last) == names
    assert (last["done"], last["total"], last["epoch"], last["epochs"]) == (8, 8, 2, 2)
    assert math.isfinite(last["loss"])


def test_reporter_tells_no_loss_when_resumed_at_the_end_of_an_epoch(tmp_path: Path) -> None:
    first = trainer()
    first.hooks = Hooks(should_stop=lambda: first.step >= first.total, checkpoint=lambda tr: save(tr, tmp_path))
    assert not first.fit()
    seen = []
    assert load(trainer(hooks=Hooks(on_progress=seen.append)), tmp_path).fit()
    assert (seen[0]["loss"], seen[0]["images_per_s"]) == (None, None)
