"""Predict the validation data of a run with its trained network: examples, the most wrong ones, and which classes are confused.

Tests: tests/worker/test_predictions.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from nes_lab.config import load_config
from nes_lab.cost.probe import evaluating
from nes_lab.datasets.spec import DatasetSpec
from nes_lab.errors import OptionError
from nes_lab.experiment.initial_network import load_initial
from nes_lab.experiment.kept_answers import needed_objects
from nes_lab.experiment.load_data import load_data
from nes_lab.experiment.run import Run, Which
from nes_lab.figures.contact_sheet import picture_uri, sound_outline
from nes_lab.packages import needed_for
from nes_lab.progress_bar import OnProgress
from nes_lab.runs.imports import imports_of_run
from nes_lab.surgery.for_inference import for_inference
from nes_lab.training.device import pick_device

__all__ = ["predict_validation", "shown_example"]

SHOWN, WORST = 64, 24
"""Numbers of examples in the answer: evenly spaced ones, and those with the highest losses."""
MOST_CLASSES = 60
"""Largest number of classes whose complete confusion matrix is in the answer."""
MOST_PAIRS = 40
_BATCH = {"cpu": 64}


def predict_validation(run: Run, which: Which = "last", on_progress: OnProgress | None = None) -> dict[str, Any]:
    """Predict all validation data of a run, and return what the network gets right and wrong, as data for JSON.

    Args:
        run: The run. Its configuration names the data.
        which: Which network, as for :meth:`nes_lab.Run.network`.
        on_progress: Called after each batch. An error that it raises ends the work.

    Returns:
        A dict: ``examples`` (64 at most, evenly spaced) and ``worst`` (the highest losses first), each a list of dicts with
        ``index``, ``label``, ``predicted``, ``probability``, ``loss`` and ``picture`` (a data address) or ``outline`` (of a sound);
        ``classes`` with precision, recall, F1 score and number of examples each; ``confusion`` (rows: label, columns: prediction) up
        to 60 classes, else None; ``pairs``, the most confused pairs; ``accuracy`` in percent, ``total``, ``device`` and ``weights``.

    Raises:
        OptionError: If the data was given in memory, or the run does not classify.
        NesLabError: If the run has no checkpoint, or its data cannot be loaded.
    """
    if reason := needed_objects(run, "data", "network"):
        raise OptionError(reason)
    if any(event.get("own_loss") for event in run.events() if event.get("kind") == "task"):
        raise OptionError("The run was trained with a loss of its own, so its outputs are not scores of classes.")
    network = run.network(which)
    with imports_of_run(run.folder):
        config = load_config(run.info.config)
        data = load_data(config, load_initial(run.folder, run.info, config))
    if data.num_classes < 2:
        raise OptionError(f"The data of the run has {data.num_classes} classes; a confusion needs at least two.")
    device = pick_device("auto")
    found = _Predicted(data)
    with evaluating(model := for_inference(network).to(device)):
        for inputs, labels in data.val.eval_batches(_BATCH.get(device.type, 256)):
            outputs = model(inputs.to(device, copy=True)).float().cpu()
            _check(outputs, labels, data)
            found.add(inputs, labels, outputs)
            if on_progress is not None:
                on_progress({"phase": "examples", "done": found.count, "total": len(data.val), "label": ""})
    about = {"device": device.type, "weights": str(network.nes_lab_trained), "which": which, "data": data.name}
    return found.answer() | about


def _check(outputs: Tensor, labels: Tensor, data: DatasetSpec) -> None:
    if outputs.ndim != 2 or labels.ndim != 1:
        shapes = f"{tuple(outputs.shape)} and labels of shape {tuple(labels.shape)}"
        raise OptionError(f"The network returns outputs of shape {shapes}; a confusion needs one class per example.")
    if outputs.shape[1] < data.num_classes:
        raise OptionError(f"The network has {outputs.shape[1]} outputs, and the data has {data.num_classes} classes.")


class _Predicted:
    """Collects predictions of batches: numbers of all examples, and the inputs of the few that are shown."""

    def __init__(self, data: DatasetSpec) -> None:
        total = len(data.val)
        self.data = data
        self.wanted = set(np.linspace(0, total - 1, min(SHOWN, total)).astype(int).tolist())
        self.count = 0
        self.labels: list[Tensor] = []
        self.guesses: list[Tensor] = []
        self.examples: list[dict[str, Any]] = []
        self.worst: list[dict[str, Any]] = []

    def add(self, inputs: Tensor, labels: Tensor, outputs: Tensor) -> None:
        losses = cross_entropy(outputs, labels, reduction="none").tolist()
        sure, guesses = outputs.softmax(1).max(1)
        wrong = (guesses != labels).tolist()
        for place in range(len(labels)):
            index = self.count + place
            is_bad = wrong[place] and (len(self.worst) < WORST or losses[place] > self.worst[-1]["loss"])
            if index not in self.wanted and not is_bad:
                continue
            row = {
                "index": index,
                "label": int(labels[place]),
                "predicted": int(guesses[place]),
                "probability": float(sure[place]),
                "loss": losses[place],
                **shown_example(inputs[place], self.data),
            }
            if index in self.wanted:
                self.examples.append(row)
            if is_bad:
                self.worst = sorted([*self.worst, row], key=lambda each: -each["loss"])[:WORST]
        self.labels.append(labels)
        self.guesses.append(guesses)
        self.count += len(labels)

    def answer(self) -> dict[str, Any]:
        with needed_for("a confusion matrix"):
            from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

        labels, guesses = (torch.cat(parts).numpy() for parts in (self.labels, self.guesses))
        names = [str(name) for name in self.data.classes]
        known = list(
            range(max(len(names), int(guesses.max()) + 1))
        )  # a network may have more outputs than there are classes
        names += [f"output {number}" for number in known[len(names) :]]
        matrix = confusion_matrix(labels, guesses, labels=known)
        scores: Any = precision_recall_fscore_support(labels, guesses, labels=known, zero_division=cast("Any", np.nan))
        rows = zip(names, *(part.tolist() for part in scores), strict=True)
        return {
            "examples": self.examples,
            "worst": self.worst,
            "classes": [
                {
                    "name": name,
                    "precision": _known(precision),
                    "recall": _known(recall),
                    "f1": _known(f1),
                    "examples": int(count),
                }
                for name, precision, recall, f1, count in rows
            ],
            "confusion": matrix.tolist() if len(known) <= MOST_CLASSES else None,
            "pairs": _pairs(matrix),
            "accuracy": 100 * float((labels == guesses).mean()),
            "total": self.count,
        }


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _pairs(matrix: np.ndarray) -> list[dict[str, int]]:
    """Return the most confused pairs: how often examples of one class were taken for another. The most frequent come first."""
    wrong = matrix.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:MOST_PAIRS]
    places: Sequence[tuple[int, int]] = [divmod(int(flat), len(wrong)) for flat in order]
    return [
        {"label": row, "predicted": column, "count": int(wrong[row, column])}
        for row, column in places
        if wrong[row, column]
    ]


def shown_example(example: Tensor, data: DatasetSpec) -> dict[str, Any]:
    """Return a small picture of an image, or the outline of a sound; nothing for other inputs."""
    values = example.float().cpu().numpy()
    if data.kind == "audio" and values.ndim == 2:
        return {"outline": sound_outline(values.mean(0))}
    if data.kind != "image" or values.ndim != 3 or values.shape[0] not in (1, 3):
        return {}
    if len(data.mean) == len(values) == len(data.std):
        mean, std = (np.reshape(part, (-1, 1, 1)) for part in (data.mean, data.std))
        values = values * std + mean
    else:  # how the image was scaled is not known
        values = (values - values.min()) / max(float(np.ptp(values)), 1e-9)
    pixels = (values * 255).round().clip(0, 255).astype(np.uint8)
    return {"picture": picture_uri(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0))}
