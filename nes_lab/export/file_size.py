"""Predict how many bytes a compressed network takes on disk, from its compression plan.

Nothing is trained or written for it: the network is built without numbers, and its description is counted.

Tests: tests/export/test_file_size.py
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor, nn

from nes_lab.export.backbone_stamp import stamp_of
from nes_lab.export.describe import describe
from nes_lab.export.packed import stored_integers
from nes_lab.export.saved_config import WEIGHTS, add_checksum
from nes_lab.export.tensors import StoredTensors, slots
from nes_lab.nn.copy_network import copy_network
from nes_lab.records.compression_plan import CompressionPlan
from nes_lab.surgery.replace import replace_layers
from nes_lab.text import format_bytes

__all__ = ["predict_file_bytes", "with_file_bytes"]

_CODES = {
    **{getattr(torch, f"float{bits}"): f"F{bits}" for bits in (16, 32, 64)},
    torch.bfloat16: "BF16",
    torch.bool: "BOOL",
}
_CODES |= {getattr(torch, f"int{bits}"): f"I{bits}" for bits in (8, 16, 32, 64)} | {torch.uint8: "U8"}

_ALIGNED = 8
"""The header of a safetensors file ends at a multiple of this many bytes."""


def predict_file_bytes(model: nn.Module, plan: CompressionPlan) -> int:
    """Predict the bytes of the folder that :func:`nes_lab.save_pretrained` writes for a compressed network.

    Counted are the tensors, the header of ``model.safetensors`` and ``config.json``, without metadata of the user and networks that
    predict starts.

    Args:
        model: The dense model; it is not changed.
        plan: The compression plan.

    Examples:
        >>> import nes_lab
        >>> model = nn.Sequential(nn.Linear(64, 64))
        >>> plan = nes_lab.plan_for_budget(model, nes_lab.Budget(params="50%"), torch.zeros(1, 64))
        >>> predict_file_bytes(model, plan) > plan.predicted.stored_bytes
        True
    """
    memo = {id(tensor): _without_numbers(tensor) for tensor in (*model.parameters(), *model.buffers())}
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        small = replace_layers(copy_network(model, memo), plan, "none")
    tied, fixed, header, offset = dict[str, str](), list[str](), dict[str, object](), 0
    header["__metadata__"] = {"format": "pt"}
    known, smaller = dict[object, str](), stored_integers(small)
    for name, key, tensor, learns in _tensors(small):
        if key in known:
            tied[name] = known[key]
            continue
        known[key] = name
        for part, stored in smaller.get(name, {name: tensor}).items():
            size = stored.numel() * stored.itemsize
            entry = {"dtype": _CODES.get(stored.dtype, "F32"), "shape": list(stored.shape)}
            header[part] = entry | {"data_offsets": [offset, offset + size]}
            offset += size
        if not learns:
            fixed.append(name)
    text = len(json.dumps(header, separators=(",", ":")).encode())
    config = describe(small, StoredTensors({}, tied, {}, fixed), stamp_of(model, None), plan, None)
    packed = {name: "float32" for name in smaller if name in header}
    config |= {"packed": packed} if packed else {}
    weights = {"file": WEIGHTS, "bytes": offset, "sha256": "0" * 64}
    described = json.dumps(add_checksum(config | {"weights": weights}), indent=1)
    return offset + 8 + text + -text % _ALIGNED + len(described.encode()) + 1


def with_file_bytes(model: nn.Module, plan: CompressionPlan) -> CompressionPlan:
    """Return a plan with the predicted bytes of its file, and a note that says them. Only a budget for stored bytes asks for it.

    Args:
        model: The dense model; it is not changed.
        plan: The compression plan.
    """
    if plan.budget is None or plan.budget.stored_bytes is None:
        return plan
    size = predict_file_bytes(model, plan)
    tensors = plan.predicted.stored_bytes
    note = (
        f"saved, the network takes {format_bytes(size)}: tensors {format_bytes(tensors)}, and their names, the description of the "
        f"layers and this plan {format_bytes(size - tensors)}"
    )
    return replace(plan, file_bytes=size, notes=(*plan.notes, note))


def _tensors(model: nn.Module) -> Iterator[tuple[str, object, Tensor, bool]]:
    """Yield name, identity, tensor and whether it is trained or a buffer, for all tensors that a file holds."""
    for slot in slots(model):
        if slot.tensor is not None and ".routing.learner" not in slot.name:
            key = id(slot.tensor) if slot.axis is None else (id(slot.owner), slot.axis)
            yield slot.name, key, slot.tensor, slot.tensor.requires_grad or not slot.parameter


def _without_numbers(tensor: Tensor) -> Tensor:
    empty = torch.empty_like(tensor, device="meta")
    return nn.Parameter(empty, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else empty
