"""Find the weights whose products a counter does not see.

Tests: tests/cost/test_products.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import is_traceable_wrapper_subclass
from torch.utils._pytree import tree_leaves

from nes_lab.nn.layer import EpitomeLayer

__all__ = ["WeightUses", "hides_products", "inner_tensors"]

NO_PRODUCTS = frozenset(
    f"aten::{name}"
    for name in (
        *("embedding", "index", "index_select", "gather", "take", "cat", "stack", "copy_", "where", "masked_fill"),
        *("index_put", "index_put_", "index_copy", "index_add", "scatter", "scatter_add", "slice_scatter"),
        *("native_layer_norm", "_fused_rms_norm", "native_group_norm", "native_batch_norm", "constant_pad_nd"),
        *("_native_batch_norm_legit", "_native_batch_norm_legit_no_training", "_prelu_kernel", "searchsorted"),
    )
)
"""Operations on a weight and an input that look up, move, normalize or join numbers."""

_HIDING = ("aten::_fft_", "aten::linalg_", "aten::_linalg_", "aten::cholesky", "aten::triangular_solve", "aten::ormqr")
"""How the names of operations begin that multiply matrices inside: Fourier transforms, inverses, decompositions."""

_NOT_HIDING = ("aten::linalg_vector_norm", "aten::linalg_cross")


def hides_products(operation: Any) -> bool:
    """Return True for an operation that multiplies matrices inside, such as a Fourier transform or an inverse.

    Examples:
        >>> hides_products(torch.ops.aten.linalg_inv_ex), hides_products(torch.ops.aten.relu)
        (True, False)
    """
    name = str(getattr(operation, "_qualified_op_name", operation))
    return name.startswith(_HIDING) and name not in _NOT_HIDING


def inner_tensors(tensor: Tensor) -> Iterator[Tensor]:
    """Yield the plain tensors that hold a tensor's numbers.

    For a plain tensor this is the tensor itself. Quantized weights of torchao hold their integers and factors in tensors of
    their own.

    Examples:
        >>> [t.shape for t in inner_tensors(torch.zeros(2, 3))]
        [torch.Size([2, 3])]
    """
    if not is_traceable_wrapper_subclass(tensor):
        yield tensor
        return
    for name in tensor.__tensor_flatten__()[0]:  # type: ignore[attr-defined]
        yield from inner_tensors(getattr(tensor, name))


class WeightUses:
    """Follows a model's weights through the operations of one forward pass.

    Storages identify weights, so views of a weight are recognized. A tensor computed from weights alone counts as these weights.
    Epitome layers are left out; their products have formulas of their own.

    Args:
        model: The model.
    """

    def __init__(self, model: nn.Module) -> None:
        self._owners: dict[StorageWeakRef, frozenset[str]] = {}
        self._matrices: dict[str, str] = {}
        self._read: set[str] = set()
        self._touched: set[str] = set()
        self.unseen: dict[str, str] = {}
        inside = {id(m) for layer in model.modules() if isinstance(layer, EpitomeLayer) for m in layer.modules()}
        for name, module in model.named_modules():
            for own, parameter in module._parameters.items() if id(module) not in inside else ():
                if parameter is not None and not nn.parameter.is_lazy(parameter):
                    self._follow(name, own, parameter)

    def _follow(self, name: str, own: str, parameter: Tensor) -> None:
        full = f"{name}.{own}".removeprefix(".")
        for tensor in inner_tensors(parameter):
            storage = _storage(tensor)
            if storage is not None and storage not in self._owners:
                self._owners[storage] = frozenset([full])
                if sum(size > 1 for size in parameter.shape) > 1:
                    self._matrices[full] = name

    def owners(self, tensor: Tensor) -> frozenset[str]:
        """Return the names of the parameters that a tensor shows or is computed from; empty for a tensor of the input."""
        storage = _storage(tensor)
        return self._owners.get(storage, frozenset()) if storage is not None else frozenset()

    def scaled_weight_madds(self, operands: Sequence[Any], out: Any) -> int:
        """Return the multiply-adds of an entrywise product, which is 0 except where it multiplies a weight by repeated inputs.

        ``(x[:, :, None] * weight).sum(1)`` is a matrix product: each input meets several weights. A scale or gate is not:
        each input meets one number.
        """
        tensors = [operand for operand in operands if isinstance(operand, Tensor)]
        inputs = [tensor for tensor in tensors if not self.owners(tensor)]
        if len(tensors) != 2 or len(inputs) != 1 or not inputs[0].is_floating_point():
            return 0
        return out.numel() if inputs[0].numel() < out.numel() else 0

    def scaled_row_madds(self, table: Tensor, rows: Tensor, factors: Tensor | None) -> int:
        """Return the multiply-adds of looking up rows of a weight and adding them with a factor per row; 0 without factors."""
        return rows.numel() * table.shape[1] if factors is not None and self.owners(table) else 0

    def see(self, operation: Any, args: Any, out: Any, counted: bool) -> None:
        """Record an operation.

        Args:
            operation: The operation, as an ``OpOverloadPacket``.
            args: Its arguments.
            out: Its result.
            counted: True if its multiply-adds were counted.
        """
        operands = [leaf for leaf in tree_leaves(args) if isinstance(leaf, Tensor)]
        each = [self.owners(operand) for operand in operands]
        weights = frozenset().union(*each)
        results = [leaf for leaf in tree_leaves(out) if isinstance(leaf, Tensor)]
        if not weights:
            return
        self._touched |= weights
        if all(self.owners(result) for result in results):
            return  # a view
        self._read |= weights
        if all(each):
            self._owners |= {storage: weights for result in results if (storage := _storage(result)) is not None}
        elif not counted and not _without_products(operation):
            for weight in weights & self._matrices.keys():
                self.unseen.setdefault(self._matrices[weight], f"{operation} has no formula")

    def not_seen(self, model: nn.Module, ran: frozenset[str]) -> Mapping[str, str]:
        """Return the modules with weight matrices whose products were not seen, each with the reason.

        Args:
            model: The model.
            ran: Names of the modules that ran.
        """
        for weight, name in self._matrices.items():
            module = model.get_submodule(name)
            called = name in ran and next(module.children(), None) is None
            if weight not in self._read and (called or weight in self._touched):
                parameter = weight.rpartition(".")[2]
                self.unseen.setdefault(name, f"no operation of torch was seen to read {parameter}")
        return self.unseen


def _storage(tensor: Tensor) -> StorageWeakRef | None:
    """Return what identifies the memory of a tensor; None if torch does not show it."""
    try:
        return StorageWeakRef(tensor.untyped_storage())
    except (NotImplementedError, RuntimeError):
        return None


@cache
def _without_products(operation: Any) -> bool:
    """Return True if an operation on a weight and an input multiplies at most entry by entry."""
    if str(getattr(operation, "_qualified_op_name", operation)) in NO_PRODUCTS:
        return True
    overloads = [getattr(operation, name) for name in getattr(operation, "overloads", list)()]
    return any(torch.Tag.pointwise in overload.tags for overload in overloads)
