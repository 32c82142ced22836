"""Load CIFAR-10 and pretrained weights from a shared folder, by the script data/load.py in that folder; nothing is copied."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor, nn

import nes_lab

__all__ = ["Data", "augmented", "load_data", "normalize", "pretrained", "shared_reader"]

_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Data:
    """Images as bytes ``(N, 3, 32, 32)`` and labels.

    Args:
        train, train_labels, test, test_labels: The two splits.
        source: The name of the data set, for the page.
    """

    train: Tensor
    train_labels: Tensor
    test: Tensor
    test_labels: Tensor
    source: str


def shared_reader(folder: Path) -> ModuleType:
    path = folder / "data" / "load.py"
    if not path.exists():
        raise SystemExit(f"{path} is missing; set --shared or NES_LAB_SHARED to the folder that contains data/load.py")
    spec = importlib.util.spec_from_file_location("shared_load", path)
    assert spec is not None and spec.loader is not None  # the file exists
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def load_data(folder: Path, train: int | None = None, test: int | None = None) -> Data:
    """Return the first images of both splits, in a fixed shuffled order."""
    load = shared_reader(folder)
    parts = []
    for split, limit in (("train", train), ("test", test)):
        images, labels, _ = load.cifar10(split, limit=limit)
        parts += [torch.from_numpy(images).permute(0, 3, 1, 2).contiguous(), torch.from_numpy(labels).long()]
    return Data(*parts, source="CIFAR-10, lossless")


def pretrained(folder: Path) -> nn.Module:
    """Return the dense ResNet-56 with its trained weights."""
    model = nes_lab.create_backbone("cifar_resnet56").eval()
    state = shared_reader(folder).state_dict("cifar10_resnet56")
    model.load_state_dict({key: torch.from_numpy(value) for key, value in state.items()})
    return model


def normalize(images: Tensor) -> Tensor:
    """Convert bytes to the normalized numbers the network was trained on."""
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (_MEAN, _STD))
    return (images.float() / 255 - mean) / std


def augmented(data: Data, batch: int, generator: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the batches of one epoch: shuffled, flipped at random, padded by 4 black pixels and cropped at random."""
    order = torch.randperm(len(data.train), generator=generator)
    pixels = torch.arange(32)
    for chosen in order.split(batch):
        if len(chosen) < batch:
            return
        images = torch.nn.functional.pad(data.train[chosen], (4, 4, 4, 4))
        rows, columns = (torch.randint(0, 9, (batch, 1), generator=generator) + pixels for _ in range(2))
        flip = torch.rand(batch, 1, generator=generator) < 0.5
        columns = torch.where(flip, columns.flip(1), columns)
        number = torch.arange(batch).view(-1, 1, 1)
        cut = images.permute(0, 2, 3, 1)[number, rows.unsqueeze(2), columns.unsqueeze(1)]
        yield normalize(cut.permute(0, 3, 1, 2)), data.train_labels[chosen]
