"""Compare a network with one of the same layers that was made again by name: the plain attributes of modules, and the outputs.

A network may depend on more than its tensors and layers, such as on a number that its ``forward`` reads.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree

from nes_lab.cost.left_as_it_was import left_as_it_was
from nes_lab.export.plain_attributes import attribute_difference, plain_attributes

__all__ = ["network_difference"]


def network_difference(network: nn.Module, remade: nn.Module, example: Tensor | None) -> str:
    """Describe how a network differs from one with the same tensors; return an empty string if nothing differs.

    Args:
        network: The network, in evaluation mode.
        remade: The network that was made again, in evaluation mode.
        example: Input for which the outputs are compared. None: only the attributes are compared.
    """
    difference = attribute_difference(plain_attributes(network), plain_attributes(remade))
    if difference or example is None:
        return difference
    try:
        outputs = _outputs(network, example)
    except Exception:  # noqa: BLE001  a network that fails is reported later, with its reason
        return ""
    try:
        same = _same(outputs, _outputs(remade, example))
    except Exception:  # noqa: BLE001  it is another network, for whatever reason
        same = False
    return "" if same else "other outputs"


def _outputs(network: nn.Module, example: Tensor) -> Any:
    with left_as_it_was(network, example), torch.no_grad():  # both networks draw the same random numbers
        return _pytree.tree_map_only(Tensor, torch.clone, network(example))


def _same(outputs: Any, others: Any) -> bool:
    (left, shape), (right, other_shape) = _pytree.tree_flatten(outputs), _pytree.tree_flatten(others)
    pairs = [(a, b) for a, b in zip(left, right, strict=False) if isinstance(a, Tensor) and isinstance(b, Tensor)]
    # the same code on the same weights; only the order of additions may differ
    return shape == other_shape and all(
        a.shape == b.shape and torch.allclose(a.float(), b.float(), rtol=1e-3, atol=1e-5, equal_nan=True)
        for a, b in pairs
    )
