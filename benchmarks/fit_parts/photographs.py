"""The pretrained MobileNetV2, photographs to calibrate it, and other photographs on which agreement with it is measured."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import nes_lab

__all__ = ["BATCH", "EVERY", "SIZE", "Photographs", "load_photographs"]

SIZE = 160
"""Width and height of the images."""
EVERY = 5
"""Every fifth photograph is kept for the comparison; the others may calibrate."""
CALIBRATION_EVERY = 4
"""Every fourth of these calibrates."""
BATCH = 50


@dataclass
class Photographs:
    """The dense network, and two sets of photographs with none in common.

    Args:
        dense: MobileNetV2 with its pretrained weights.
        calibration: Batches of photographs that calibrate a fit.
        more: Batches of four times as many, these among them.
        other: Batches of photographs on which agreement is measured.
    """

    dense: nn.Module
    calibration: list[Tensor]
    more: list[Tensor]
    other: list[Tensor]

    @cached_property
    def predicted(self) -> Tensor:
        """Class that the dense network predicts for each of the other photographs."""
        return _predictions(self.dense, self.other)

    def agreement(self, network: nn.Module) -> float:
        """Return the percentage of the other photographs for which a network predicts the same class as the dense one."""
        same = _predictions(nes_lab.materialize(network).eval(), self.other) == self.predicted
        return 100 * same.double().mean().item()

    def top1(self) -> float:
        """Return the percentage of the other photographs that the dense network classifies correctly: one per class, in order."""
        classes = torch.arange(0, EVERY * len(self.predicted), EVERY)
        return 100 * (self.predicted == classes).double().mean().item()


def load_photographs(folder: Path) -> Photographs:
    """Read the pretrained weights and the photographs from a shared folder.

    Args:
        folder: Folder whose subfolder ``data`` has ``pretrained`` and ``imagenet_sample``.
    """
    import numpy as np
    import timm
    from PIL import Image
    from safetensors.torch import load_file

    weights, place = folder / "data" / "pretrained" / "mobilenetv2_100.safetensors", folder / "data" / "imagenet_sample"
    files = sorted(place.glob("val/*/*.jpg"))
    if not weights.exists() or not files:
        raise SystemExit(f"{folder / 'data'} has no weights or photographs; set --shared or NES_LAB_SHARED")
    dense: Any = timm.create_model("mobilenetv2_100", pad_type="same").eval()
    dense.load_state_dict(load_file(weights))
    images = []
    for file in files:
        with Image.open(file) as image:
            small = image.convert("RGB").resize((SIZE, SIZE), Image.Resampling.BICUBIC)
        images.append(torch.from_numpy(np.array(small)).permute(2, 0, 1))
    every = torch.stack(images).float() / 127.5 - 1
    rest = every[torch.arange(len(every)) % EVERY != 0]
    return Photographs(dense, *(list(part.split(BATCH)) for part in (rest[::CALIBRATION_EVERY], rest, every[::EVERY])))


def _predictions(network: nn.Module, batches: list[Tensor]) -> Tensor:
    with torch.inference_mode():
        return torch.cat([network(batch).argmax(1) for batch in batches])
