"""Save a model as a folder of JSON and safetensors, without pickle, and load it (``save_pretrained``, ``from_pretrained``)."""

from __future__ import annotations

import json
import warnings
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from nes_lab.backbones.class_names import set_classes
from nes_lab.backbones.preprocessing import set_preprocessing
from nes_lab.cost.left_as_it_was import left_as_it_was
from nes_lab.cost.probe import in_mode
from nes_lab.errors import CheckpointError, MissingPackageError, NesLabError, OptionError, PlanError
from nes_lab.export.atomic_write import new_folder
from nes_lab.export.backbone_stamp import stamp_of, stamps
from nes_lab.export.describe import describe
from nes_lab.export.hub_download import download_from_hub
from nes_lab.export.loadable import common_tensors, loading_difference, named_dense_network, stand_in_dense_network
from nes_lab.export.outline import named_epitome_layers
from nes_lab.export.packed import pack, unpack
from nes_lab.export.rebuild import dense_network, rebuild
from nes_lab.export.saved_config import (
    CONFIG,
    WEIGHTS,
    add_checksum,
    checked_weights,
    read_saved_config,
)
from nes_lab.export.tensors import collect_tensors, fill
from nes_lab.import_spec import is_import_spec
from nes_lab.nn.bake import bake, computed_tensors
from nes_lab.nn.copy_network import copy_network
from nes_lab.records.compression_plan import CompressionPlan
from nes_lab.records.preprocessing import Preprocessing
from nes_lab.runs.files import sha256_of
from nes_lab.surgery.transformers_mark import mark_for_transformers_
from nes_lab.surgery.verify import why_not_verified

__all__ = ["from_pretrained", "save_pretrained"]


def save_pretrained(
    model: nn.Module,
    folder: str | Path,
    *,
    backbone: Mapping[str, Any] | str | None = None,
    plan: CompressionPlan | None = None,
    metadata: Mapping[str, Any] | None = None,
    keep_learner: bool = True,
    overwrite: bool = False,
    example_input: Any = None,
    verify: bool = True,
) -> Path:
    """Save a compressed or dense model in a folder, as ``config.json`` and ``model.safetensors``.

    Every epitome and every shared tensor is stored once, in its dtype. Starts (positions of patches) that are set by a
    rule are not stored. They are computed again when the model is loaded. Pruning masks and parametrizations are baked into the
    tensors, except those of dense layers that the backbone's name makes. Before anything is written, the network is rebuilt as
    :func:`from_pretrained` will do it, and compared with the model. The folder appears complete, or not at all.

    Forward hooks and forward pre-hooks that you registered are not stored, only their names. A hook that the backbone's name does
    not make is refused. Without a name, the network that is given as ``model=`` at load must have the hook, which is kept.

    A model with a plan runs once before it is saved. A layer that is not called as often as the plan says is an error. A warning
    says why the run could not be made, for example for a plan of an older version.

    Args:
        model: Any module of plain tensors; it does not change.
        folder: A new or empty folder, or one that contains a saved model and nothing else.
        backbone: How to create the dense network: a name, or the arguments of :func:`nes_lab.create_backbone` as a dict. None:
            the model's attribute ``nes_lab_backbone``, which ``create_backbone`` sets. The number of classes is taken from the
            model if its classifier was replaced. ``""``, or no such attribute: the folder does not say how to create the dense
            network, and :func:`from_pretrained` needs it as ``model=``.
        plan: Compression plan to store with the model. None: the model's attribute ``nes_lab_plan``, which ``create_model`` sets.
        metadata: Your own plain data to store in ``config.json``; None: no data.
        keep_learner: True: index learners (the networks that predict starts) are stored. Training can then continue after
            loading. False: the starts that they predict now are stored instead, and the loaded model is frozen.
        overwrite: True to replace a saved model that is already in the folder, in one step.
        example_input: Input of that run: a tensor, a tuple of arguments or a dict of keyword arguments. None: an input is made from
            the description in the plan.
        verify: False: the model is not run and compared with its plan.

    Returns:
        The path of the folder.

    Raises:
        OptionError: If ``model`` is not a torch module, or cannot run ``example_input``.
        CheckpointError: If the folder contains something else or cannot be written, or the model cannot be stored (NaN, meta
            tensors) or does not call its layers as the plan says, or what would be loaded differs from the model; the message
            names the first difference. Then the folder is not changed.

    Examples:
        >>> import tempfile, torch, nes_lab
        >>> net = torch.nn.Sequential(torch.nn.Linear(64, 64))
        >>> small = nes_lab.compress(net, nes_lab.plan_for_budget(net, nes_lab.Budget(params="50%"), torch.randn(1, 64)))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     again = nes_lab.from_pretrained(nes_lab.save_pretrained(small, f"{folder}/small"), model=net)
        >>> torch.equal(again[0].epitome, small[0].epitome)
        True
    """
    if not isinstance(model, nn.Module):
        raise OptionError(f"model is a {type(model).__name__}; give a torch module")
    folder = Path(folder)
    if verify:
        _verify(model, plan, example_input)
    model = _plain(model)
    if not keep_learner:
        model = _frozen_copy(model)
    config, tensors = _loadable(model, backbone, plan, metadata)
    with new_folder(folder, overwrite) as temporary:
        stored, packed = pack(model, tensors)
        try:
            save_file(stored, temporary / WEIGHTS, metadata={"format": "pt"})
        except SafetensorError as error:
            raise CheckpointError(f"weights cannot be written to {folder}: {error}") from error
        weights = {
            "file": WEIGHTS,
            "bytes": (temporary / WEIGHTS).stat().st_size,
            "sha256": sha256_of(temporary / WEIGHTS),
        }
        described = add_checksum(config | ({"packed": packed} if packed else {}) | {"weights": weights})
        (temporary / CONFIG).write_text(json.dumps(described, indent=1) + "\n", encoding="utf-8")
        (temporary / WEIGHTS).chmod(
            (temporary / CONFIG).stat().st_mode
        )  # safetensors creates files that only their owner can read
    return folder


def from_pretrained(
    folder: str | Path,
    model: nn.Module | None = None,
    device: torch.device | str | None = None,
    *,
    allow_import: bool = False,
) -> nn.Module:
    """Load a model that :func:`save_pretrained` wrote, with the same tensors bit for bit, in evaluation mode.

    The folder contains only numbers and settings, no code. They are checked before use. The settings may name a function
    that makes the dense network, as ``package.module:function``. It is imported only if ``allow_import`` is True.

    Args:
        folder: Path of the folder; or ``"hf://user/repository"`` or ``"hf://user/repository@revision"`` on the Hugging Face Hub.
        model: The dense network from which the model was made, or one with the same layers; it does not change. Its
            forward hooks are kept; it must have those of the saved model. None: the backbone named in the folder is created.
        device: Device for the tensors; None: the CPU.
        allow_import: True: import and call the function that the folder names. Code that the folder chooses runs then, so
            give True only for a folder that you trust. False: such a folder needs ``model``.

    Raises:
        OptionError: If ``model`` is not a torch module.
        CheckpointError: If a file is missing, truncated, altered or has another schema. Also if the dense network differs from
            that of the saved model; then the message names the first layer that differs.

    Examples:
        >>> import tempfile, torch, nes_lab
        >>> net = torch.nn.Linear(2, 3)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     again = nes_lab.from_pretrained(nes_lab.save_pretrained(net, f"{folder}/net"), model=torch.nn.Linear(2, 3))
        >>> torch.equal(again.weight, net.weight), again.training
        (True, False)
    """
    if model is not None and not isinstance(model, nn.Module):
        raise OptionError(f"model is a {type(model).__name__}; give the dense network as a torch module")
    if str(folder).startswith("hf://"):
        folder = download_from_hub(str(folder))
    folder = Path(folder)
    config = read_saved_config(folder)
    tensors = _read_weights(folder, config)
    try:
        with left_as_it_was(), torch.inference_mode(False), torch.no_grad():
            dense = dense_network(config, allow_import) if model is None else _as_saved(model, tensors)
            loaded = rebuild(dense, config)
            fill(loaded, tensors, config)
    except NesLabError as error:
        raise CheckpointError(f"{folder}: {error}") from error
    _note(loaded, config, allow_import)
    mark_for_transformers_(loaded)
    return in_mode(loaded.to("cpu" if device is None else device))


def _frozen_copy(model: nn.Module) -> nn.Module:
    model = copy_network(model)
    for _, layer in named_epitome_layers(model):
        layer.freeze()
    return model


def _verify(model: nn.Module, plan: CompressionPlan | None, example_input: Any) -> None:
    plan = getattr(model, "nes_lab_plan", None) if plan is None else plan
    try:
        why_not = why_not_verified(model, plan, example_input) if isinstance(plan, CompressionPlan) else ""
    except PlanError as error:
        raise CheckpointError(f"the model cannot be saved with its plan: {error}") from error
    if why_not:
        warnings.warn(f"save_pretrained: the model is saved, but not verified: {why_not}", stacklevel=3)


def _plain(model: nn.Module) -> nn.Module:
    """Return a model without the wrapper of ``torch.compile``, and its epitome layers without masks and parametrizations."""
    if type(model).__name__ == "OptimizedModule":  # importing the class takes a second
        model = cast(nn.Module, model._orig_mod)
    return _baked(model)


def _baked(model: nn.Module, names: Collection[str] | None = None) -> nn.Module:
    try:
        return bake(model, names)
    except OptionError as error:
        raise CheckpointError(f"the model cannot be saved: {error}") from error


def _as_saved(dense: nn.Module, tensors: Mapping[str, Tensor]) -> nn.Module:
    """Return a dense network in which masks and parametrizations are baked into the tensors that the file holds as plain ones."""
    return bake(dense, {name for name, _, tensor in computed_tensors(dense) if _dotted(name, tensor) in tensors})


def _dotted(name: str, tensor: str) -> str:
    return f"{name}.{tensor}" if name else tensor


def _loadable(
    model: nn.Module,
    backbone: Mapping[str, Any] | str | None,
    plan: CompressionPlan | None,
    metadata: Mapping[str, Any] | None,
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return the configuration and the tensors to save, checked to be loaded as the model that is saved.

    Raises:
        CheckpointError: If they would not be; the message names the first difference.
    """
    stored, differences = collect_tensors(model), dict[str, int]()
    for stamp in stamps(model, backbone):
        try:
            dense = stand_in_dense_network(model) if stamp is None else named_dense_network(stamp, model)
        except CheckpointError as error:
            differences.setdefault(str(error).partition("; install")[0], -1)
            continue
        # the network that the user will give as model= may lack every mask and parametrization
        made = set() if stamp is None else {(name, tensor) for name, _, tensor in computed_tensors(dense)}
        saved = _baked(model, {name for name, _, tensor in computed_tensors(model) if (name, tensor) not in made})
        if saved is not model:
            stored = collect_tensors(saved)
            dense = stand_in_dense_network(saved) if stamp is None else dense
        config = describe(saved, stored, stamp, plan, metadata)
        difference = loading_difference(saved, dense, config, stored.tensors)
        if not difference:
            return config, stored.tensors
        differences.setdefault(difference, common_tensors(saved, dense))
    # the number of classes that makes the network most like the model; what differs then is not the classifier
    first = max(differences, key=differences.__getitem__)
    raise CheckpointError(_refusal(model, backbone, first))


def _refusal(model: nn.Module, backbone: Mapping[str, Any] | str | None, difference: str) -> str:
    stamp = stamp_of(model, backbone)
    if stamp is None:
        return f"the folder could not be loaded again, so it is not written: {difference}"
    return (
        f"the folder could not be loaded again by the name of its backbone, {stamp['name']!r}, so it is not written: {difference}. "
        'Give the arguments that make this network as backbone=; or give backbone="", and load the folder with model='
    )


def _read_weights(folder: Path, config: Mapping[str, Any]) -> dict[str, Tensor]:
    path = checked_weights(folder, dict(config))
    try:
        return unpack(load_file(path), config.get("packed", {}))
    except (OSError, SafetensorError, ValueError, MemoryError) as error:
        raise CheckpointError(f"{path} is not a readable safetensors file: {error}") from error


def _note(model: nn.Module, config: Mapping[str, Any], allow_import: bool) -> None:
    """Set the attributes ``nes_lab_backbone`` and ``nes_lab_plan`` of a loaded model from the content of ``config.json``."""
    set_classes(model, config.get("classes"))
    shown = config.get("preprocessing")  # absent from folders of version 0.1
    set_preprocessing(model, Preprocessing.from_dict(shown) if shown else None)
    backbone = config.get("backbone")
    # nes_lab.train imports what nes_lab_backbone names, so a file must not choose it
    if backbone is not None and (allow_import or not is_import_spec(backbone["name"])):
        model.nes_lab_backbone = backbone  # type: ignore[assignment]
    if config.get("plan") is not None:
        try:
            model.nes_lab_plan = CompressionPlan.from_dict(config["plan"])  # type: ignore[assignment]
        except MissingPackageError as error:
            warnings.warn(f"the model is complete, but its attribute nes_lab_plan is not set: {error}", stacklevel=3)
        except NesLabError as error:
            raise CheckpointError(f"the stored plan cannot be read: {error}") from error
