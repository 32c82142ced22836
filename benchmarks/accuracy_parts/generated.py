"""Make a network whose weights are sums of frozen random bases, drawn from a seed, with learned coefficients.

Only the coefficients are stored. Stem and classifier stay dense, as they do with epitomes. A weight is cut into blocks of at most
``BLOCK`` numbers, so that the bases of a layer, which its blocks share, fit into memory.

Source: the idea of PRANC (Nooralinejad et al., ICCV 2023) and NOLA (Koohpayegani et al., ICLR 2024); the code is our own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

import nes_lab
from nes_lab.errors import BudgetError, OptionError
from nes_lab.records.budget import parse_bytes

__all__ = ["BLOCK", "Generated", "generating_madds", "network"]

BLOCK = 4096
"""Most numbers of a weight that one set of coefficients makes."""


class Generated(nn.Module):
    """Makes a weight from coefficients: each block is the sum of ``count`` random bases times its own coefficients.

    The bases have entries of variance ``1 / size``, so they are nearly orthonormal, and a step of the coefficients moves the weight as
    far as the projected step of a dense one.

    Args:
        shape: Shape of the weight.
        count: Number of coefficients of each block.
        seed: Seed of the bases.

    Shape:
        - coefficients ``(blocks, count)``, weight ``shape``
    """

    base: Tensor

    def __init__(self, shape: Sequence[int], count: int, seed: int) -> None:
        super().__init__()
        self.shape, self.blocks, self.size = tuple(shape), *_blocks(math.prod(shape))
        draw = torch.Generator().manual_seed(seed)
        base = torch.randn(count, self.size, generator=draw) / math.sqrt(self.size)
        self.register_buffer("base", base, persistent=False)

    def forward(self, coefficients: Tensor) -> Tensor:
        """Return the weight that the coefficients make."""
        flat = (coefficients @ self.base).flatten()
        return flat[: math.prod(self.shape)].view(self.shape)

    def right_inverse(self, weight: Tensor) -> Tensor:
        """Return coefficients that make a weight of the same direction as the projection of this one, and of the same variance."""
        filled = nn.functional.pad(weight.flatten(), (0, self.blocks * self.size - weight.numel()))
        return filled.view(self.blocks, self.size) @ self.base.T * math.sqrt(self.size / len(self.base))


def network(
    backbone: str,
    stored_bytes: str,
    num_classes: int = 10,
    in_channels: int = 3,
    base_seed: int = 0,
    options: Mapping[str, Any] | None = None,
) -> nn.Module:
    """Return a backbone with generated weights whose coefficients use a budget on stored bytes.

    Args:
        backbone: Name of the backbone.
        stored_bytes: Share of the dense network's bytes, such as ``"5%"``.
        num_classes: Number of outputs.
        in_channels: Channels of the input.
        base_seed: Seed of the bases.
        options: Further options of the backbone.

    Raises:
        OptionError: If the budget is not a share of the dense network.
        BudgetError: If what stays dense needs more than the budget.

    Examples:
        >>> dense, small = nes_lab.create_backbone("cifar_resnet14"), network("cifar_resnet14", "5%")
        >>> x = torch.zeros(1, 3, 32, 32)
        >>> 0.0495 < nes_lab.count(small, x).stored_bytes / nes_lab.count(dense, x).stored_bytes <= 0.05
        True
    """
    share = parse_bytes(stored_bytes)
    if share is None or share > 1:
        raise OptionError(f"stored_bytes={stored_bytes!r}; give a share of the dense network, such as '5%'")
    made = nes_lab.create_backbone(
        backbone, num_classes=num_classes, in_channels=in_channels, **({} if options is None else dict(options))
    )
    layers = _layers(made)
    weights = {name: layer.weight for name, layer in layers.items()}
    fixed = _bytes(made) - sum(_size(weight) for weight in weights.values())
    room = (share * _bytes(made) - fixed) / 4
    if room < sum(_blocks(weight.numel())[0] for weight in weights.values()):
        raise BudgetError(f"stored_bytes={stored_bytes!r} of {backbone}: what stays dense takes {fixed:,} bytes")
    counts = _counts([weight.numel() for weight in weights.values()], room)
    for number, (layer, count) in enumerate(zip(layers.values(), counts, strict=True)):
        generated = Generated(layer.weight.shape, count, base_seed * 1000 + number)
        parametrize.register_parametrization(layer, "weight", generated)
    return made


def generating_madds(made: nn.Module) -> int:
    """Return the multiply-adds that make the weights once, which a count of the network includes; 0 without generated weights.

    Args:
        made: A network.
    """
    found = [module for module in made.modules() if isinstance(module, Generated)]
    return sum(module.blocks * module.base.numel() for module in found)


def _layers(made: nn.Module) -> dict[str, Any]:
    """Return the layers whose weights are generated: all convolutions and linear layers without groups but the first and the last."""
    kinds = (nn.Conv1d, nn.Conv2d, nn.Linear)
    found = {name: m for name, m in made.named_modules() if isinstance(m, kinds) and getattr(m, "groups", 1) == 1}
    return {name: found[name] for name in list(found)[1:-1]}


def _blocks(numbers: int) -> tuple[int, int]:
    """Return the number of blocks of a weight, and the size of each."""
    blocks = math.ceil(numbers / BLOCK)
    return blocks, math.ceil(numbers / blocks)


def _counts(numbers: Sequence[int], room: float) -> list[int]:
    """Return the coefficients of each weight's blocks: the same share of its numbers for all, as large as the room allows."""
    cut = [_blocks(number) for number in numbers]
    low, high = 0.0, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        total = sum(blocks * max(1, int(middle * size)) for blocks, size in cut)
        low, high = (middle, high) if total <= room else (low, middle)
    return [max(1, int(low * size)) for _, size in cut]


def _size(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def _bytes(made: nn.Module) -> int:
    return sum(_size(tensor) for tensor in made.state_dict().values())
