"""Cache values that are computed from tensors until the tensors change, so that inference computes them only once.

Tests: tests/nn/test_layer.py
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

__all__ = ["InferenceCache", "tensor_key"]


class _Seen:
    """Remembers the state of a tensor. If object, storage and version are the same later, so are the contents.

    It holds the tensor and an alias of its storage, so that no other tensor can get either address in the meantime.
    """

    def __init__(self, tensor: Tensor) -> None:
        self.tensor, self.alias, self.version = tensor, tensor.detach(), tensor._version
        self.address = tensor.data_ptr()

    def still(self, tensor: Tensor) -> bool:
        """Return True if ``tensor`` is the remembered one, its contents have not changed, and a change would be noticed."""
        return (
            tensor is self.tensor
            and tensor._version == self.version
            and tensor.data_ptr() == self.address
            and not _has_gradient(tensor)
        )


def _has_gradient(tensor: Tensor) -> bool:
    return tensor.is_leaf and tensor.grad is not None


def tensor_key(tensors: Iterable[Tensor | None]) -> tuple[_Seen | None, ...] | None:
    """Return a key that identifies tensors and their contents; None if a change of their contents could go unnoticed.

    In-place changes (an optimizer's step, ``load_state_dict``) raise a tensor's version. The key is None for tensors made in
    inference mode (they have no version), for tensors with a gradient (a fused optimizer's step does not raise the version), and
    for tensors without storage of their own (inside ``vmap``, fake tensors). A write through ``.data`` that keeps the storage
    is not noticed; autograd does not notice it either.
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
    """Caches values that were computed from tensors until one of the tensors changes. Copies and pickles of a cache are empty.

    Values computed in ``torch.inference_mode`` are not returned outside it, so that they never reach a training step.
    """

    def __init__(self) -> None:
        self._mode = False
        self._key: tuple[_Seen | None, ...] | None = None
        self._values: dict = {}

    def values(self, tensors: Sequence[Tensor | None]) -> dict | None:
        """Return the dictionary of values computed from these tensors as they are now; None if nothing may be cached.

        The caller reads the dictionary and adds values to it. It is empty if one of the tensors has changed.
        """
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
