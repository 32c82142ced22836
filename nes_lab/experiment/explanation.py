"""Explain the answers of a run's network beside those of a dense one: on which images they differ, and which parts they look at.

Tests: tests/worker/test_explanations.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from nes_lab.config import ExperimentConfig, load_config
from nes_lab.datasets.spec import DatasetSpec
from nes_lab.errors import OptionError
from nes_lab.experiment.build import build
from nes_lab.experiment.initial_network import is_compressed, load_initial
from nes_lab.experiment.kept_answers import needed_objects
from nes_lab.experiment.load_data import load_data
from nes_lab.experiment.predictions import shown_example
from nes_lab.experiment.run import Run
from nes_lab.experiment.uploaded_images import Uploaded
from nes_lab.figures.attributions import attribution_rows
from nes_lab.figures.deletion_curves import curve_data
from nes_lab.progress_bar import OnProgress
from nes_lab.records.explanations import explanation_finding
from nes_lab.runs.imports import imports_of_run
from nes_lab.training.device import pick_device

__all__ = ["Pair", "disagreements", "explain_images"]

CANDIDATES = 24
"""Number of examples that are offered: as many of the largest disagreements, and as many evenly spaced ones."""
_BATCH = 64


class Pair:
    """Holds the network of a run, the network to compare it with, and the data of the run.

    Args:
        run: The run whose network is explained.
        reference: Another run on the same data, or ``"origin"``: the dense network that the run began with or was taught by.

    Raises:
        OptionError: If something was given in memory, or both networks do not answer the same classes.
        NesLabError: If a run has no checkpoint, or its files are damaged.
    """

    def __init__(self, run: Run, reference: Run | str) -> None:
        for each in [run] if isinstance(reference, str) else [run, reference]:
            if reason := needed_objects(each, "data", "network"):
                raise OptionError(reason)
        with imports_of_run(run.folder):
            config = load_config(run.info.config)
            start = load_initial(run.folder, run.info, config)
            self.data = load_data(config, start)
            found = _origin(config, self.data, start) if isinstance(reference, str) else reference.network()
        self.device = pick_device("auto")
        self.networks = [network.to(self.device).eval() for network in (found, run.network())]
        self._check()

    def _check(self) -> None:
        example = self.data.example_input(self.device)
        if not example.is_floating_point() or example.ndim < 3 or example.shape[1] not in (1, 3):
            raise OptionError(
                f"The data {self.data.name} holds neither images nor signals, so there is nothing to draw."
            )
        with torch.no_grad():
            shapes = [tuple(network(example).shape) for network in self.networks]
        if shapes[0] != shapes[1] or len(shapes[0]) != 2:
            raise OptionError(
                f"The networks return outputs of shape {shapes[0]} and {shapes[1]}; give networks that score the same classes."
            )

    def answers(self, inputs: Tensor) -> list[Tensor]:
        """Return the probabilities of both networks, ``(N, classes)`` each, on the CPU."""
        with torch.no_grad():
            return [network(inputs.to(self.device)).float().softmax(1).cpu() for network in self.networks]

    def batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the validation data in batches, in order."""
        return self.data.val.eval_batches(_BATCH)


def _origin(config: ExperimentConfig, data: DatasetSpec, start: nn.Module | None) -> nn.Module:
    """Return the dense network that a run began with, or the teacher of its distillation."""
    if start is not None and is_compressed(start):
        raise OptionError("The run began with a network that was compressed already. Choose a run of a dense network.")
    tree = config.to_dict()
    training, backbone = tree["training"], tree["backbone"]
    if training.get("kd_weight") and training.get("kd_checkpoint"):
        backbone |= {"checkpoint": training["kd_checkpoint"], "pretrained": False, "new_head": False}
    elif start is None and not backbone.get("pretrained") and backbone.get("checkpoint") is None:
        raise OptionError("The run began with random weights, so its dense network knows nothing. Choose another run.")
    training |= {"kd_weight": 0.0, "kd_checkpoint": None}
    return build(load_config(tree | {"compression": None}), None, data, start).model


def disagreements(pair: Pair, on_progress: OnProgress | None = None) -> dict[str, Any]:
    """Predict all validation data with both networks, and return the examples on which they disagree most.

    Args:
        pair: The two networks and the data.
        on_progress: Called after each batch. An error that it raises ends the work.

    Returns:
        Data for JSON: ``same`` (share of examples with the same answer), ``total``, ``classes``, and ``worst`` and ``spaced``: the
        largest disagreements first, and evenly spaced examples, as dicts with ``index``, ``label``, ``answers`` (of the reference and
        of the run), ``probability`` (of the run's answer), ``disagreement`` (half the sum of the absolute differences of the
        probabilities, from 0 to 1) and a picture.
    """
    total, done, same = len(pair.data.val), 0, 0
    wanted = set(np.linspace(0, total - 1, min(CANDIDATES, total)).astype(int).tolist())
    worst: list[dict[str, Any]] = []
    spaced: list[dict[str, Any]] = []
    for inputs, labels in pair.batches():
        first, second = pair.answers(inputs)
        apart = ((first - second).abs().sum(1) / 2).tolist()
        answers = torch.stack([first.argmax(1), second.argmax(1)], 1)
        same += int((answers[:, 0] == answers[:, 1]).sum())
        for place, amount in enumerate(apart):
            is_bad = len(worst) < CANDIDATES or amount > worst[-1]["disagreement"]
            if not is_bad and done + place not in wanted:
                continue
            row = {"index": done + place, "label": int(labels[place]), "answers": answers[place].tolist()}
            row["probability"] = float(second[place].max())
            row |= {"disagreement": amount, **shown_example(inputs[place], pair.data)}
            if is_bad:
                worst = sorted([*worst, row], key=lambda each: -each["disagreement"])[:CANDIDATES]
            if row["index"] in wanted:
                spaced.append(row)
        done += len(labels)
        _tell(on_progress, "examples", done, total)
    names = [str(name) for name in pair.data.classes]
    return {"same": same / max(1, done), "total": done, "classes": names, "worst": worst, "spaced": spaced}


def explain_images(
    pair: Pair,
    method: str,
    indices: Sequence[int] = (),
    uploads: Sequence[Uploaded] = (),
    layer: str | None = None,
    on_progress: OnProgress | None = None,
) -> dict[str, Any]:
    """Attribute the answers of both networks on some images, and compare.

    Both explain the answers of the reference.

    Args:
        pair: The two networks and the data.
        method: ``"integrated_gradients"``, ``"gradcam"`` or ``"occlusion"``.
        indices: Positions of validation examples.
        uploads: Images of the user, in place of validation examples.
        layer: Layer that GradCAM looks at, in both networks; None finds one in each.
        on_progress: Called after each image. An error that it raises ends the work.

    Returns:
        Data for JSON: ``rows`` as :func:`nes_lab.figures.attributions.attribution_rows` returns, with ``index`` or ``name`` and the
        areas under the curves; ``curves`` of both networks; ``layers``; ``classes``; ``finding``, a sentence; ``device``.

    Raises:
        OptionError: If there are no images, an index is wrong, or the method does not fit the networks.
        DataError: If an uploaded image is refused.
    """
    from nes_lab.attribution import compare_attributions  # the other answers do not need captum

    inputs, labels, about = _uploaded(pair, uploads) if uploads else _examples(pair, indices)
    rows: list[dict[str, Any]] = []
    curves: list[list[dict[str, Any]]] = [[], []]
    layers: list[str] = []
    for place in range(len(inputs)):  # one after the other, so that the work can be cancelled
        _tell(on_progress, "images", place, len(inputs))
        one = inputs[place : place + 1].to(pair.device)
        found = compare_attributions(*pair.networks, one, method, layer=layer)  # type: ignore[arg-type]
        given = None if labels is None else labels[place : place + 1]
        areas = {name: value for name, value in found.rows()[0].items() if name.startswith(("deletion", "insertion"))}
        rows.append(attribution_rows(found, one.cpu(), labels=given)[0] | about[place] | areas)
        for part, each in zip(curves, (found.first_curves, found.second_curves), strict=True):
            part.append(curve_data(each))
        layers = [found.first.layer, found.second.layer]
    _tell(on_progress, "images", len(inputs), len(inputs))
    joined = [_joined(part) for part in curves]
    names = [str(name) for name in pair.data.classes]
    about_all = {"classes": names, "layers": layers, "device": pair.device.type}
    return {"rows": rows, "curves": joined, "finding": explanation_finding(rows), **about_all}


def _examples(pair: Pair, indices: Sequence[int]) -> tuple[Tensor, list[int], list[dict[str, Any]]]:
    total = len(pair.data.val)
    if not indices:
        raise OptionError("No image is chosen. Choose at least one.")
    if wrong := [index for index in indices if not 0 <= index < total]:
        raise OptionError(f"There is no validation example {wrong[0]:,}; they are numbered from 0 to {total - 1:,}.")
    kept: dict[int, tuple[Tensor, int]] = {}
    done = 0
    for inputs, labels in pair.batches():
        kept |= {
            index: (inputs[index - done], int(labels[index - done]))
            for index in indices
            if 0 <= index - done < len(labels)
        }
        done += len(labels)
        if len(kept) == len(set(indices)):
            break
    chosen = [kept[index] for index in indices]
    return torch.stack([each for each, _ in chosen]), [label for _, label in chosen], [{"index": i} for i in indices]


def _uploaded(pair: Pair, uploads: Sequence[Uploaded]) -> tuple[Tensor, None, list[dict[str, Any]]]:
    if pair.data.kind != "image":
        raise OptionError(
            f"The data {pair.data.name} holds no images, so no image can be explained. Choose validation examples."
        )
    return torch.stack([each.prepared(pair.data) for each in uploads]), None, [{"name": each.name} for each in uploads]


def _joined(parts: list[dict[str, Any]]) -> dict[str, Any]:
    return {"shares": parts[0]["shares"]} | {
        half: [line for part in parts for line in part[half]] for half in ("deletion", "insertion")
    }


def _tell(on_progress: OnProgress | None, phase: str, done: int, total: int) -> None:
    if on_progress is not None:
        on_progress({"phase": phase, "done": done, "total": total, "label": ""})
