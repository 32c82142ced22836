"""The worker predicts the validation data of a run, and its numbers are those of the training."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch import nn

import nes_lab
from nes_lab.errors import OptionError
from nes_lab.experiment.kept_answers import kept_answer
from nes_lab.worker.exports import predict_run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    config = {"compression": {"madds": "60%"}, "data": {"limit": 256}, "training": {"epochs": 1, "threads": 1}}
    return nes_lab.train(config, root=tmp_path_factory.mktemp("runs"), progress=False)


def ask(run, report=None):
    return predict_run({"root": str(run.folder.parent), "run": run.id, "which": "last"}, report)


def test_predict_run_agrees_with_the_validation(run):
    seen = []
    answer = ask(run, seen.append)
    matrix = np.array(answer["confusion"])
    assert answer["total"] == matrix.sum() == seen[-1]["done"]
    assert answer["accuracy"] == pytest.approx(100 * np.trace(matrix) / matrix.sum())
    assert answer["accuracy"] == pytest.approx(run.summary["top1"])  # what the training measured
    shown = answer["examples"]
    assert len(shown) == min(64, answer["total"]) and all(row["picture"].startswith("data:image/") for row in shown)
    losses = [row["loss"] for row in answer["worst"]]
    assert losses == sorted(losses, reverse=True) and all(row["label"] != row["predicted"] for row in answer["worst"])
    first = answer["pairs"][0]
    assert first["count"] == (matrix - np.diag(np.diag(matrix))).max() == matrix[first["label"], first["predicted"]]
    assert len(json.dumps(answer)) < 1_000_000


def test_predictions_are_kept_until_the_run_trains_further(run):
    answer = ask(run)
    assert kept_answer(run, "predictions") == json.loads(json.dumps(answer))
    (run.folder / "exports" / "predictions.json").write_text(json.dumps(answer | {"step": 0}))
    assert kept_answer(run, "predictions") is None
    (run.folder / "exports" / "predictions.json").write_text("{")
    assert kept_answer(run, "predictions") is None


def test_predict_run_stops_when_it_is_cancelled(run):
    def stop(event):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ask(run, stop)


def test_predict_run_shows_sounds_as_outlines(tmp_path):
    sounds = torch.randn(40, 1, 256).sin()
    data = nes_lab.datasets.as_dataset.as_dataset(((sounds, torch.arange(40) % 2), (sounds, torch.arange(40) % 2)))
    from nes_lab.experiment.predictions import shown_example

    assert shown_example(sounds[0], data) == {}  # the data does not say that these are sounds
    from dataclasses import replace

    outline = shown_example(sounds[0], replace(data, length=256, shape=None))["outline"]
    assert len(outline[0]) == len(outline[1]) and max(map(abs, outline[1])) == pytest.approx(1)


def test_predict_run_says_what_was_given_in_memory(tmp_path):
    pairs = (torch.randn(64, 4), torch.arange(64) % 2)
    recipe = {"epochs": 1, "warmup_epochs": 0, "threads": 1}
    run = nes_lab.train(
        {"data": {"batch_size": 16}, "training": recipe},
        network=nn.Linear(4, 2),
        data=(pairs, pairs),
        root=tmp_path,
        progress=False,
    )
    with pytest.raises(OptionError, match="The data and the network of this run was given as an object in Python"):
        ask(run)
