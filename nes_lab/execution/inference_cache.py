"""Keep what was built from tensors while these stay the same, so that inference does not build it twice.

Tests: tests/nn/test_layer.py
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

__all__ = ["InferenceCache", "tensor_key"]


class _Seen:
    """A tensor as it was when something was built from it: same object, storage and version mean the same contents.

    It holds the tensor and an alias of its storage, so that no other tensor can be given either address in the meantime.
    """

    def __init__(self, tensor: Tensor) -> None:
        self.tensor, self.alias, self.version = tensor, tensor.detach(), tensor._version
        self.address = tensor.data_ptr()

    def still(self, tensor: Tensor) -> bool:
        """Return True if this is the same tensor, its contents have not changed, and a change would be noticed."""
        return (
            tensor is self.tensor
            and tensor._version == self.version
            and tensor.data_ptr() == self.address
            and not _has_gradient(tensor)
        )


def _has_gradient(tensor: Tensor) -> bool:
    return tensor.is_leaf and tensor.grad is not None


def tensor_key(tensors: Iterable[Tensor | None]) -> tuple[_Seen | None, ...] | None:
    """Return what identifies tensors and their contents, or None where a change of contents would go unnoticed.

    In-place changes (an optimizer's step, ``load_state_dict``) raise a tensor's version. The key is None for tensors made under
    inference mode (they have no version), for those with a gradient (a fused optimizer's step raises no version), and for
    those without storage of their own (inside ``vmap``, fake tensors). A write through ``.data`` that keeps the storage
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
    """Keeps what was built from some tensors while they stay the same; copies and pickles of it are empty.

    Values made under ``torch.inference_mode`` are not returned outside it, so that none reaches a training step.
    """

    def __init__(self) -> None:
        self._mode = False
        self._key: tuple[_Seen | None, ...] | None = None
        self._values: dict = {}

    def values(self, tensors: Sequence[Tensor | None]) -> dict | None:
        """Return what was built from these tensors as they are now, by name, to read and to fill; None where nothing may be kept."""
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
        """Forget what was kept."""
        self._key, self._values = None, {}

    def __deepcopy__(self, memo: dict) -> InferenceCache:
        return InferenceCache()

    def __reduce__(self) -> tuple:
        return (InferenceCache, ())
