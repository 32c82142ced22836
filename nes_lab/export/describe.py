"""Describe a model that is saved: make the content of ``config.json``.

Tests: tests/export/test_pretrained.py
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import safetensors
import torch
from torch import nn

from nes_lab import __version__
from nes_lab.backbones.class_names import classes_of
from nes_lab.backbones.preprocessing import preprocessing_of
from nes_lab.errors import CheckpointError
from nes_lab.export.hooks import hooks_of
from nes_lab.export.outline import layer_record, named_epitome_layers, outline
from nes_lab.export.saved_config import FORMAT, SCHEMA
from nes_lab.export.tensors import StoredTensors, unsaved_buffers
from nes_lab.records.compression_plan import CompressionPlan

__all__ = ["describe"]


def describe(
    model: nn.Module,
    stored: StoredTensors,
    stamp: Mapping[str, Any] | None,
    plan: CompressionPlan | None,
    metadata: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """Return the configuration of a saved model, without what depends on the weights file.

    Args:
        model: The model. Its tensors are not read.
        stored: Names of its shared tensors, its strides and its parameters that are not trained.
        stamp: How its backbone is made by name; None: the folder does not say it.
        plan: Compression plan to store with the model; None: the model's attribute ``nes_lab_plan``.
        metadata: The user's own plain data; None: no data.

    Raises:
        CheckpointError: If ``metadata`` or an option of the backbone is not plain data.
    """
    plan = getattr(model, "nes_lab_plan", None) if plan is None else plan
    config = {
        "format": FORMAT,
        "schema": SCHEMA,
        "versions": {"nes_lab": __version__, "torch": torch.__version__, "safetensors": safetensors.__version__},
        "backbone": stamp,
        "epitome_layers": {name: layer_record(layer) for name, layer in named_epitome_layers(model)},
        "modules": outline(model),
        "hooks": hooks_of(model),
        "tied": stored.tied,
        "strides": stored.strides,
        "fixed_parameters": stored.fixed,
        "transient": {
            s.name: str(s.tensor.dtype).removeprefix("torch.") for s in unsaved_buffers(model) if s.tensor is not None
        },
        "plan": plan.to_dict() if isinstance(plan, CompressionPlan) else None,
        "metadata": dict(metadata or {}),
        "classes": classes_of(model),
        "preprocessing": None if (shown := preprocessing_of(model)) is None else shown.to_dict(),
    }
    try:
        # through JSON, tuples become lists, which is also what a reader of the file gets
        return json.loads(json.dumps(config, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"metadata= and the backbone's options should be plain data for JSON: {error}") from error
