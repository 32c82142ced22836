"""Small networks with the habits of real ones."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

W = 32


def numbers(found: Any) -> list[Tensor]:
    """The floating tensors of an output, however nested."""
    leaves = torch.utils._pytree.tree_leaves(found)
    return [leaf for leaf in leaves if isinstance(leaf, Tensor) and leaf.is_floating_point()]


class Wave(nn.Module):
    """Sound in, classes out: strided one-dimensional convolutions, as M5 has them."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv1d(1, W, 80, stride=4),
            nn.BatchNorm1d(W),
            nn.ReLU(),
            nn.MaxPool1d(4),
            nn.Conv1d(W, W, 3, padding="same"),
            nn.BatchNorm1d(W),
            nn.ReLU(),
            nn.Conv1d(W, 2 * W, 3, dilation=2),
        )
        self.head = nn.Linear(2 * W, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x).mean(-1)).log_softmax(-1)


class Volume(nn.Module):
    """Three spatial axes, one convolution of a subclass that only has a name of its own."""

    def __init__(self) -> None:
        super().__init__()

        class Named(nn.Conv3d):
            pass

        self.body = nn.Sequential(
            nn.Conv3d(4, 16, 3, padding=1), nn.ReLU(), Named(16, 32, (1, 3, 3), stride=(1, 2, 2), groups=2)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


class Grouped(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.grouped = nn.Conv2d(16, 64, 3, groups=4)
        self.depthwise = nn.Conv2d(64, 64, 3, groups=64)
        self.point = nn.Conv2d(64, 32, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.point(self.depthwise(self.grouped(x)))


class Attending(nn.Module):
    def __init__(self, batch_first: bool) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(W, 4, batch_first=batch_first)
        self.fc = nn.Linear(W, 2 * W)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.attention(x, x, x, need_weights=False)[0])


class TiedHead(nn.Module):
    """As language models have it: the scores are products with the embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(50, W)
        self.layers = nn.ModuleList([nn.Linear(W, 2 * W), nn.Linear(2 * W, W)])
        self.lm_head = nn.Linear(W, 50, bias=False)
        self.lm_head.weight = self.embedding.weight

    def forward(self, input_ids: Tensor, scale: float = 1.0) -> dict[str, Tensor]:
        x = self.embedding(input_ids) * scale
        for layer in self.layers:
            x = layer(x).relu()
        return {"logits": self.lm_head(x)}


class Twice(nn.Module):
    """One layer under two names, called under both, the second from another module."""

    def __init__(self) -> None:
        super().__init__()
        self.shared = nn.Linear(W, W)
        self.parts = nn.ModuleDict({"again": self.shared, "own": nn.Linear(W, W)})

    def forward(self, x: Tensor) -> Tensor:
        return self.parts["own"](self.parts["again"](self.shared(x).relu()))


class TwoInputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(W, W), nn.Linear(W, W)

    def forward(self, left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
        return self.a(left), self.b(right)


class Boxes(nn.Module):
    """A list of images of any sizes in, one dict each out."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, W, 3), nn.ReLU(), nn.Conv2d(W, W, 3))

    def forward(self, images: list[Tensor]) -> list[dict[str, Tensor]]:
        return [{"scores": self.body(image[None]).amax((2, 3))} for image in images]
