"""``save_pretrained`` and ``from_pretrained``: a folder of JSON and safetensors, without pickle."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from nes_lab import __version__
from nes_lab.errors import CheckpointError, NesLabError, OptionError
from nes_lab.export.folder import new_folder
from nes_lab.export.outline import epitome_names, layer_record, outline
from nes_lab.export.rebuild import dense_network, rebuild
from nes_lab.export.saved import CONFIG, FETCHING, FORMAT, SCHEMA, WEIGHTS, check_weights, read_config, seal
from nes_lab.export.tensors import fill, store, transient
from nes_lab.records.compression_plan import CompressionPlan
from nes_lab.runs.files import sha256_of

__all__ = ["from_pretrained", "read_config", "save_pretrained"]


def save_pretrained(
    model: nn.Module,
    folder: str | Path,
    *,
    backbone: Mapping[str, Any] | str | None = None,
    plan: CompressionPlan | None = None,
    metadata: Mapping[str, Any] | None = None,
    keep_learner: bool = True,
    overwrite: bool = False,
) -> Path:
    """Save a model, compressed or dense, as ``config.json`` and ``model.safetensors``.

    Every epitome and every shared tensor is stored once, dtypes as they are; what a rule gives (fixed starts) is not stored. The
    folder appears whole or not at all.

    Args:
        model: Any module of plain tensors; left as it was.
        folder: A new or empty folder, or one that holds a saved model alone.
        backbone: How the dense network is made: a name, or the arguments of :func:`nes_lab.create_backbone` as a dict. None: what
            ``create_backbone`` noted on the model; without it :func:`from_pretrained` needs the dense network as ``model=``.
        plan: Stored too. None: what ``create_model`` noted on the model.
        metadata: Plain data of your own for ``config.json``.
        keep_learner: Store index learners that still learn. False stores the starts they have come to: the loaded model is frozen.
        overwrite: Replace a saved model that is there, in one step.

    Returns:
        The folder.

    Raises:
        CheckpointError: If the folder holds something else, the disk does not take it, or the model cannot be stored (NaN, meta
            tensors); nothing is left behind.

    Examples:
        >>> import tempfile, nes_lab
        >>> net = nn.Sequential(nn.Linear(64, 64))
        >>> small = nes_lab.compress(net, nes_lab.plan_for_budget(net, nes_lab.Budget(params="50%"), torch.randn(1, 64)))
        >>> with tempfile.TemporaryDirectory() as place:
        ...     again = from_pretrained(save_pretrained(small, f"{place}/small"), model=net)
        >>> torch.equal(again[0].epitome, small[0].epitome)
        True
    """
    if not isinstance(model, nn.Module):
        raise OptionError(f"model is a {type(model).__name__}; save_pretrained takes a torch module")
    folder = Path(folder)
    if not keep_learner:
        model = _frozen_copy(model)
    config, tensors = _describe(model, backbone, plan, metadata)
    with new_folder(folder, overwrite) as place:
        try:
            save_file(tensors, place / WEIGHTS, metadata={"format": "pt"})
        except SafetensorError as error:
            raise CheckpointError(f"weights cannot be written to {folder}: {error}") from error
        weights = {"file": WEIGHTS, "bytes": (place / WEIGHTS).stat().st_size, "sha256": sha256_of(place / WEIGHTS)}
        (place / CONFIG).write_text(json.dumps(seal(config | {"weights": weights}), indent=1) + "\n", encoding="utf-8")
        (place / WEIGHTS).chmod((place / CONFIG).stat().st_mode)  # safetensors writes files that only their owner reads
    return folder


def from_pretrained(
    folder: str | Path, model: nn.Module | None = None, device: torch.device | str | None = None
) -> nn.Module:
    """Load what :func:`save_pretrained` wrote: the same state, bit for bit, in evaluation mode.

    The network is built by code that is installed here; from the folder come numbers and settings alone, checked before use.

    Args:
        folder: The folder, or ``"hf://user/repository"`` (``"hf://user/repository@revision"``) of the Hugging Face Hub.
        model: The dense network it was made from, or one like it; left as it was. None: the backbone named in the folder.
        device: Where the tensors go; None: the CPU.

    Raises:
        CheckpointError: If a file is missing, truncated, altered or of another schema, or the network is another: says which, and
            names the first layer that differs.

    Examples:
        >>> import tempfile
        >>> net = nn.Linear(2, 3)
        >>> with tempfile.TemporaryDirectory() as place:
        ...     again = from_pretrained(save_pretrained(net, f"{place}/net"), model=nn.Linear(2, 3))
        >>> torch.equal(again.weight, net.weight), again.training
        (True, False)
    """
    if model is not None and not isinstance(model, nn.Module):
        raise OptionError(
            f"model is a {type(model).__name__}; from_pretrained takes the dense network as a torch module"
        )
    if str(folder).startswith("hf://"):
        from nes_lab.export.hub import fetch

        folder = fetch(str(folder))
    folder = Path(folder)
    config = read_config(folder)
    tensors = _read_weights(folder, config)
    try:
        with torch.random.fork_rng(devices=[]), torch.inference_mode(False), torch.no_grad():
            found = rebuild(dense_network(config) if model is None else model, config)
            fill(found, tensors, config)
    except NesLabError as error:
        raise CheckpointError(f"{folder}: {error}") from error
    _note(found, config)
    return found.to("cpu" if device is None else device).eval()


def _frozen_copy(model: nn.Module) -> nn.Module:
    model = copy.deepcopy(model)
    for _, layer in epitome_names(model):
        layer.freeze()
    return model


def _describe(
    model: nn.Module,
    backbone: Mapping[str, Any] | str | None,
    plan: CompressionPlan | None,
    metadata: Mapping[str, Any] | None,
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    stored = store(model)
    plan = getattr(model, "nes_lab_plan", None) if plan is None else plan
    config = {
        "format": FORMAT,
        "schema": SCHEMA,
        "versions": {"nes_lab": __version__, "torch": torch.__version__, "safetensors": safetensors.__version__},
        "backbone": _stamp(model, backbone),
        "epitome_layers": {name: layer_record(layer) for name, layer in epitome_names(model)},
        "modules": outline(model),
        "tied": stored.tied,
        "strides": stored.strides,
        "fixed_parameters": stored.fixed,
        "transient": {
            s.name: str(s.tensor.dtype).removeprefix("torch.") for s in transient(model) if s.tensor is not None
        },
        "plan": plan.to_dict() if isinstance(plan, CompressionPlan) else None,
        "metadata": dict(metadata or {}),
    }
    try:
        return json.loads(json.dumps(config, allow_nan=False)), stored.tensors  # lists for tuples, as it will be read
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"metadata and the backbone's options must be plain data for JSON: {error}") from error


def _stamp(model: nn.Module, backbone: Mapping[str, Any] | str | None) -> dict[str, Any] | None:
    given: Mapping[str, Any] | None = {"name": backbone} if isinstance(backbone, str) else backbone
    stamp: Mapping[str, Any] | None = getattr(model, "nes_lab_backbone", None) if given is None else given
    if stamp is None:
        return None
    whole = {"name": None, "num_classes": None, "in_channels": 3, "width": 1.0, "options": {}}
    rest = {key: value for key, value in stamp.items() if key not in whole}
    options = {key: value for key, value in {**stamp.get("options", {}), **rest}.items() if key not in FETCHING}
    return whole | {key: value for key, value in stamp.items() if key in whole} | {"options": options}


def _read_weights(folder: Path, config: Mapping[str, Any]) -> dict[str, Tensor]:
    path = check_weights(folder, dict(config))
    try:
        return load_file(path)
    except (OSError, SafetensorError, ValueError, MemoryError) as error:
        raise CheckpointError(f"{path} is no safetensors file that can be read: {error}") from error


def _note(model: nn.Module, config: Mapping[str, Any]) -> None:
    """What the makers of a model note on it: the backbone, the plan."""
    if config.get("backbone") is not None:
        model.nes_lab_backbone = config["backbone"]  # type: ignore[assignment]
    if config.get("plan") is not None:
        try:
            model.nes_lab_plan = CompressionPlan.from_dict(config["plan"])  # type: ignore[assignment]
        except NesLabError as error:
            raise CheckpointError(f"the stored plan cannot be read: {error}") from error
