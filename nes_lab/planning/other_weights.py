"""Matrices that no layer of their own holds: attention's input projection, recurrent layers, embeddings, tables of a model."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor, nn

from nes_lab.nn.kinds import BASES

__all__ = ["bare_matrices", "bare_reason"]

_ALWAYS = (nn.MultiheadAttention, nn.RNNBase, nn.RNNCellBase, nn.Bilinear, nn.Embedding, nn.EmbeddingBag)
_SHARE = 0.01  # of all params: what is smaller holds no budget and would only lengthen the plan


def bare_matrices(model: nn.Module) -> Iterator[tuple[str, nn.Module, str]]:
    """Name, module and largest parameter of modules that hold matrices themselves, where they are known or large.

    A matrix of the model itself has no module to be named after, so the name is the parameter's.

    Examples:
        >>> [(name, parameter) for name, _, parameter in bare_matrices(nn.Sequential(nn.MultiheadAttention(8, 2)))]
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
        if isinstance(module, _ALWAYS) or matrices[largest].numel() >= _SHARE * total:
            yield name or largest, module, largest


def _is_matrix(parameter: Tensor) -> bool:
    return sum(size > 1 for size in parameter.shape) > 1


def bare_reason(module: nn.Module, parameter: str) -> str:
    """Why the matrix stays dense."""
    kind = type(module).__name__
    if isinstance(module, nn.Embedding | nn.EmbeddingBag):
        return "an embedding is looked up row by row, not multiplied"
    return f"{parameter} is a bare parameter of {kind}, which uses it itself: no layer's place to put another in"
