"""Keep values that were computed from tensors, as long as the tensors do not change. Inference then computes them only once.

Tests: tests/nn/test_layer.py
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from nes_lab.epitome.transforms import transforming

__all__ = ["InferenceCache", "tensor_key"]


class _Seen:
    """Remembers a tensor, and tells later whether its contents are unchanged."""

    def __init__(self, tensor: Tensor) -> None:
        # the tensor and an alias of its memory are kept alive, so that no other tensor can get the same address
        self.tensor, self.alias, self.version = tensor, tensor.detach(), tensor._version
        self.address = tensor.data_ptr()

    def still(self, tensor: Tensor) -> bool:
        """Return True if ``tensor`` is the same object as the remembered tensor, and its contents have certainly not changed."""
        return (
            tensor is self.tensor
            and tensor._version == self.version
            and tensor.data_ptr() == self.address
            and not _has_gradient(tensor)
        )


def _has_gradient(tensor: Tensor) -> bool:
    return tensor.is_leaf and tensor.grad is not None


def tensor_key(tensors: Iterable[Tensor | None]) -> tuple[_Seen | None, ...] | None:
    """Return a key that changes when the contents of one of the tensors change; None if there is no such key.

    The key holds each tensor's version, torch's count of in-place changes. Such a change is, for example, an optimizer's
    step. The function returns None in three cases:

    - A tensor was made in inference mode, and so has no version.
    - A tensor has a gradient. A fused optimizer may change the tensor without raising its version.
    - A tensor has no storage of its own (inside ``vmap``, fake tensors).

    A write through ``.data`` that keeps the storage is not noticed; autograd does not notice such a write either.
    """
    key: list[_Seen | None] = []
    for tensor in tensors:
        if tensor is not None:
            plain = type(tensor) in (Tensor, nn.Parameter) and not torch._C._functorch.is_functorch_wrapped_tensor(
                tensor
            )
            if not plain or tensor.is_inference() or _has_gradient(tensor):
                return None
        key.append(None if tensor is None else _Seen(tensor))
    return tuple(key)


class InferenceCache:
    """Keeps values that were computed from tensors, until one of the tensors changes. A copied or unpickled cache is empty.

    Values that were computed in ``torch.inference_mode`` are returned only in that mode, because training cannot use them.
    """

    def __init__(self) -> None:
        self._mode = False
        self._key: tuple[_Seen | None, ...] | None = None
        self._values: dict = {}

    def values(self, tensors: Sequence[Tensor | None]) -> dict | None:
        """Return the dictionary of cached values for the given tensors; None if nothing may be cached for them.

        The dictionary is empty at first, and again after one of the tensors has changed. The caller adds values to it.
        """
        if transforming():
            return None
        if self._same(tensors):
            return self._values
        key = tensor_key(tensors)
        self._key, self._mode, self._values = key, torch.is_inference_mode_enabled(), {}
        return None if key is None else self._values

    def _same(self, tensors: Sequence[Tensor | None]) -> bool:
        if self._key is None or self._mode != torch.is_inference_mode_enabled() or len(self._key) != len(tensors):
            return False
        for seen, tensor in zip(self._key, tensors, strict=True):  # a loop: this runs at every call of a layer
            if seen is None or tensor is None:
                if seen is not tensor:
                    return False
            elif not seen.still(tensor):
                return False
        return True

    def clear(self) -> None:
        """Drop all cached values."""
        self._key, self._values = None, {}

    def __deepcopy__(self, memo: dict) -> InferenceCache:
        return InferenceCache()

    def __reduce__(self) -> tuple:
        return (InferenceCache, ())
