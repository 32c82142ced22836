"""Train one network of a study, and return its row: accuracies, costs, seconds and the machine."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from time import process_time
from typing import Any

import torch

import nes_lab
from benchmarks.accuracy_parts import generated, int8, lowrank
from benchmarks.accuracy_parts.narrow import USUAL, narrow_widths, narrowed
from benchmarks.accuracy_parts.rows import Row
from benchmarks.accuracy_parts.study import COSTS, Study, Training
from benchmarks.speed import commit, processor
from nes_lab.experiment.load_data import load_data

__all__ = ["NotFinished", "experiment_of", "precision_here", "train_one"]


class NotFinished(Exception):
    """A training was interrupted; it continues from its last checkpoint in the next sitting."""


def precision_here() -> str:
    """Return ``"bf16"`` if this CPU or GPU multiplies bfloat16 in hardware, else ``"off"``, which is float32."""
    if torch.cuda.is_available():
        return "bf16" if torch.cuda.is_bf16_supported() else "off"
    cpuinfo = Path("/proc/cpuinfo")
    flags = cpuinfo.read_text(encoding="utf-8") if cpuinfo.exists() else ""
    return "bf16" if "avx512_bf16" in flags or "amx_bf16" in flags else "off"


def experiment_of(training: Training, study: Study, shared: Path) -> dict[str, Any]:
    """Return the complete configuration of a training.

    Args:
        training: The training.
        study: Its study.
        shared: The folder that holds the real data.
    """
    tree = training.config(study)
    tree["training"]["amp"] = precision_here()
    if ":" in tree["data"]["name"]:
        tree["data"]["root"] = str(shared)
    shape, classes, backbone = tuple(tree.pop("input")), tree.pop("classes"), tree["backbone"]
    options, share = backbone.get("options", {}), float(training.budget.rstrip("%") or 100) / 100
    kind, _ = training.opponent(study), tree.pop("opponent", None)
    if kind == "generated":
        made = {"backbone": backbone["name"], "stored_bytes": training.budget, "base_seed": training.seed}
        return tree | {"backbone": {"name": f"{generated.__name__}:network", "options": made | {"options": options}}}
    if kind == "lowrank":
        made = {"backbone": backbone["name"], "madds": training.budget, "input_shape": list(shape)}
        return tree | {"backbone": {"name": f"{lowrank.__name__}:network", "options": made | {"options": options}}}
    if kind:
        usual = tuple(options.get("widths", USUAL[backbone["name"]]))
        sizes = (backbone["name"], training.part.cost, share, shape, classes, usual)
        widths = narrow_widths(*sizes, rounded=kind == "int8")
        if kind == "int8":
            made = {"backbone": backbone["name"], "widths": list(widths)}
            return tree | {"backbone": {"name": f"{int8.__name__}:network", "options": made}}
        return narrowed(tree, widths)
    return tree


def train_one(training: Training, study: Study, shared: Path, root: Path) -> Row:
    """Train a network, or continue its training, and return its row.

    Args:
        training: The training; its learning rate is chosen.
        study: Its study.
        shared: The folder that holds the real data.
        root: Folder of the runs, which keep the checkpoints of trainings that were interrupted.

    Raises:
        NotFinished: If the training was interrupted.
    """
    before = [run for run in nes_lab.list_runs(root=root) if run.config.label == training.id]
    if before and before[0].info.is_resumable:
        run = before[0].resume(progress=False)
    elif before:
        run = before[0]
    else:
        run = nes_lab.train(experiment_of(training, study, shared), root=root, progress=False)
    if run.state != "finished":
        raise NotFinished(f"{training.id} is {run.state}")
    return _row(training, study, run)


def _row(training: Training, study: Study, run: nes_lab.Run) -> Row:
    config, summary = run.config, run.summary
    averaged = config.training.ema_decay is not None
    network = run.network("averaged" if averaged else "last")
    data = load_data(config.model_copy(update={"data": config.data.model_copy(update={"holdout": None})}))
    test = nes_lab.evaluate(network, data)
    return {
        "id": training.id,
        "study": study.name,
        "part": training.part.name,
        "cost": training.part.cost,
        "backbone": config.backbone.name,
        "widths": config.backbone.options.get("widths"),
        "contender": training.contender,
        "budget": training.budget,
        "seed": training.seed,
        "lr": training.lr,
        "epochs": config.training.epochs,
        "holdout_top1": round(summary["ema_top1" if averaged else "top1"], 3),
        "test_top1": round(test["top1"], 3),
        **{name: summary[name] for name in (*COSTS, "dense_params", "dense_madds", "learner_params")},
        "stored_bytes": summary["stored_bytes"] - int8.saved_bytes(network),
        "madds": summary["madds"] - generated.generating_madds(network),
        "seconds": round(summary["seconds"], 1),
        "sittings": run.info.attempt,
        "cpu_seconds": round(process_time(), 1),
        "precision": config.training.amp,
        **_machine(),
    }


def _machine() -> dict[str, Any]:
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "device": gpu or processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "keeps_memory": "MALLOC_TRIM_THRESHOLD_" in os.environ,
        "torch": version("torch"),
        "python": platform.python_version(),
        "commit": commit(),
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
    }
