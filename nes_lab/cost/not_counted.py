"""Name the modules whose params or multiply-adds cannot be counted.

Tests: tests/cost/test_products.py.
"""

from __future__ import annotations

import torch
from torch import nn

from nes_lab.cost.unseen import WeightUses
from nes_lab.records.cost_report import NotCounted

__all__ = ["not_counted"]

PACKED = (
    "its numbers are packed by torch's quantization, which shows no tensors; count the network before it is quantized"
)


def not_counted(model: nn.Module, uses: WeightUses, ran: frozenset[str]) -> tuple[NotCounted, ...]:
    """Return the modules whose params or multiply-adds cannot be counted, each with the reason.

    Args:
        model: The model.
        uses: What was seen of the model's weights in a forward pass.
        ran: Names of the modules that ran.

    Examples:
        >>> not_counted(nn.ReLU(), WeightUses(nn.ReLU()), frozenset([""]))
        ()
    """
    packed = dict.fromkeys(_packed_modules(model, ran), ("params", PACKED))
    unseen = {name: ("madds", reason) for name, reason in uses.not_seen(model, ran).items()}
    return tuple(
        NotCounted(name, type(model.get_submodule(name)).__name__, quantity, reason)  # type: ignore[arg-type]
        for gaps in (packed, unseen)
        for name, (quantity, reason) in gaps.items()
    )


def _packed_modules(model: nn.Module, ran: frozenset[str]) -> list[str]:
    """Return the names of the modules whose numbers torch packs into opaque objects, as its quantized layers do.

    Args:
        model: The model.
        ran: Names of the modules that ran. An object inside a module that did not run itself counts for the module around it.
    """
    found: dict[str, None] = {}
    for name, module in model.named_modules():
        if any(isinstance(value, torch.ScriptObject) for value in vars(module).values()):
            parents = [name]
            while parents[-1]:
                parents.append(parents[-1].rpartition(".")[0])
            owner = next((parent for parent in parents if parent in ran), name)
            found[owner] = None
    return list(found)
