"""Store in a state dict how an epitome layer reads its epitome, and refuse the tensors of a layer that reads differently.

Starts that a rule sets are not in a state dict. Without this record, tensors of a layer with another rule, seed, boundary or
patch shape would fit by name and shape, and give other outputs.

Tests: tests/nn/test_reading_record.py
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.module import _EXTRA_STATE_KEY_SUFFIX

from nes_lab.geometry.epitome_geometry import EpitomeGeometry
from nes_lab.geometry.flat_geometry import FlatGeometry
from nes_lab.geometry.start_rules import rule_starts
from nes_lab.nn.starts import Starts

__all__ = ["ReadingRecord"]

_REFUSED = (
    "these tensors belong to epitome layers that read their epitomes differently. Make the network with the settings of the "
    "saved one, or load a folder of save_pretrained with nes_lab.from_pretrained. The layers are "
)
_MAX_BYTES = 1 << 16
_UNREADABLE = (
    f"its {_EXTRA_STATE_KEY_SUFFIX!r} is damaged (leave it out when you compute with the tensors of a state dict)"
)


class ReadingRecord(nn.Module):
    """Base class of epitome layers: adds the record of how the layer reads its epitome to the state dict, and checks it.

    The record is a tensor of bytes (``torch.uint8``), which contains JSON with sorted keys. A state dict without the record, such
    as one that an earlier version wrote, is loaded without the check.
    """

    geometry: EpitomeGeometry
    routing: Starts
    epitome_dtype: str

    def get_extra_state(self) -> Tensor:
        """Return the record of how this layer reads its epitome, as JSON in a tensor of bytes. torch stores it in the state dict."""
        text = json.dumps(
            _record(self.geometry, self.routing, self.epitome_dtype), sort_keys=True, separators=(",", ":")
        )
        return torch.tensor(list(text.encode()), dtype=torch.uint8, device="cpu")

    def set_extra_state(self, state: Tensor) -> None:
        """Do nothing: the record is compared before tensors are loaded. torch calls this method afterwards."""

    def _load_from_state_dict(
        self,
        state_dict: dict[str, Any],
        prefix: str,
        local_metadata: dict[str, Any],
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        key = prefix + _EXTRA_STATE_KEY_SUFFIX
        difference = _difference(state_dict.get(key), self.geometry, self.routing, self.epitome_dtype)
        if difference:
            _name_layer(error_msgs, f"{prefix[:-1] or 'the layer itself'} ({difference})")
            return
        super()._load_from_state_dict(
            state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
        )
        if key in missing_keys:
            missing_keys.remove(key)


def _record(geometry: EpitomeGeometry, starts: Starts, epitome_dtype: str) -> dict[str, Any]:
    rounded = {"epitome_dtype": epitome_dtype} if epitome_dtype != "float" else {}
    return (
        rounded
        | {
            "weight_shape": list(geometry.weight_shape),
            "patch_channels": list(geometry.patch_shape[:2]),
            "scope": geometry.scope,
            "boundary": geometry.boundary,
            "routing": starts.mode,
            "starts": starts.state_name,
            "seed": starts.seed,
        }
        | ({"windows": geometry.windows} if isinstance(geometry, FlatGeometry) else {})
    )


def _difference(stored: object, geometry: EpitomeGeometry, starts: Starts, epitome_dtype: str) -> str:
    """Say how a stored record differs from that of a layer; empty if the layer reads its epitome in the same way.

    Args:
        stored: The tensor of the record; None or a tensor without values: nothing is compared.
        geometry: Geometry of the layer.
        starts: The module that holds the starts of the layer.
        epitome_dtype: Type of the numbers of the layer's epitome; a record without one means floats.
    """
    if type(stored) is not Tensor or stored.is_meta:
        return ""
    saved = _read(stored)
    if saved is None:
        return _UNREADABLE
    here = _record(geometry, starts, epitome_dtype) | {"epitome_dtype": epitome_dtype}
    saved.setdefault("epitome_dtype", "float")
    compared = [
        key
        for key in ("weight_shape", "patch_channels", "scope", "boundary", "windows", "epitome_dtype")
        if key in here
    ]
    by_rule = saved.get("starts") == here["starts"] == "rule"
    compared += ["routing"] if by_rule else []
    differing = [key for key in compared if key in saved and saved[key] != here[key]]
    if by_rule and not differing and not _same_starts(geometry, starts, saved.get("seed")):
        differing = ["seed"]
    if here["starts"] == "snapped" and saved.get("starts") not in ("snapped", "rule"):
        differing.append("starts")
    return ", ".join(f"{key}={saved[key]!r:.80} is saved, {here[key]!r} is here" for key in differing)


def _read(stored: Tensor) -> dict[str, Any] | None:
    """Return the content of a stored record; None if it is damaged."""
    if stored.numel() > _MAX_BYTES:
        return None
    try:
        saved = json.loads(bytes(stored.detach().cpu().to(torch.uint8).flatten().tolist()))
    except (ValueError, RecursionError):
        return None
    return saved if isinstance(saved, dict) else None


def _same_starts(geometry: EpitomeGeometry, starts: Starts, seed: object) -> bool:
    """Return True if a rule gives the same starts with the saved seed as with the seed of the layer. Most rules ignore the seed."""
    if seed == starts.seed or not isinstance(seed, int):
        return True
    pairs = zip(rule_starts(geometry, starts.mode, seed), rule_starts(geometry, starts.mode, starts.seed), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs if a is not None and b is not None)


def _name_layer(error_msgs: list[str], layer: str) -> None:
    """Add a layer to the one message that names all layers that read differently. torch raises it at the end."""
    for index, message in enumerate(error_msgs):
        if message.startswith(_REFUSED):
            error_msgs[index] = f"{message}, {layer}"
            return
    error_msgs.append(_REFUSED + layer)
