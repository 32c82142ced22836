"""List weight matrices outside Linear and Conv layers, such as attention and embeddings. They stay dense.

Tests: tests/planning/test_survey.py.
"""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor, nn

from nes_lab.nn.kinds import ALREADY_EPITOME, BASES
from nes_lab.nn.layer import EpitomeLayer

__all__ = ["other_weight_reason", "other_weights"]

ALWAYS_LISTED = (nn.MultiheadAttention, nn.RNNBase, nn.RNNCellBase, nn.Bilinear, nn.Embedding, nn.EmbeddingBag)
"""Modules that a plan lists even if their matrices are small."""

MIN_SHARE_LISTED = 0.01
"""Share of a model's params from which on a matrix is listed. Smaller ones barely affect a budget and would lengthen the plan."""


def other_weights(model: nn.Module) -> Iterator[tuple[str, nn.Module, str]]:
    """Find the modules that hold weight matrices but are not linear layers or convolutions.

    Yields ``(name, module, parameter)``. ``name`` is the name of the module. ``parameter`` is the name of the module's
    largest matrix. For a parameter of the model itself, ``name`` is the name of the parameter.

    Examples:
        >>> [(name, parameter) for name, _, parameter in other_weights(nn.Sequential(nn.MultiheadAttention(8, 2)))]
        [('0', 'in_proj_weight')]
    """
    total = sum(p.numel() for p in model.parameters())
    for name, module in model.named_modules():
        if isinstance(module, (*BASES, nn.modules.conv._ConvTransposeNd)):
            continue
        matrices = {n: p for n, p in module._parameters.items() if p is not None and _is_matrix(p)}
        if not matrices:
            continue
        largest = max(matrices, key=lambda n: matrices[n].numel())
        if isinstance(module, ALWAYS_LISTED) or matrices[largest].numel() >= MIN_SHARE_LISTED * total:
            yield name or largest, module, largest


def _is_matrix(parameter: Tensor) -> bool:
    return sum(size > 1 for size in parameter.shape) > 1


def other_weight_reason(module: nn.Module, parameter: str) -> str:
    """Return why a weight matrix outside Linear and Conv layers stays dense.

    Examples:
        >>> other_weight_reason(nn.MultiheadAttention(8, 2), "in_proj_weight")
        'in_proj_weight belongs to MultiheadAttention itself; there is no Linear layer to replace'
    """
    if isinstance(module, EpitomeLayer):
        return ALREADY_EPITOME
    if isinstance(module, nn.Embedding | nn.EmbeddingBag):
        return "an embedding is looked up row by row, not multiplied"
    return f"{parameter} belongs to {type(module).__name__} itself; there is no Linear layer to replace"
