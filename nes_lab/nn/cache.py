"""What inference need not build twice: one value, kept while the tensors it was built from stay the same."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from typing import TypeVar

import torch
from torch import Tensor

__all__ = ["InferenceCache", "tensor_key"]

T = TypeVar("T")


def tensor_key(tensors: Iterable[Tensor | None]) -> Hashable | None:
    """Identity of tensors and of their contents, or None where contents cannot be followed.

    In-place changes (an optimizer's step, ``load_state_dict``) raise a tensor's version. Tensors made under inference mode have
    no version, so nothing may be kept for them. A write through ``.data`` that keeps the storage goes unseen, as it does for autograd.
    """
    key: list[Hashable] = [torch.is_inference_mode_enabled()]
    for tensor in tensors:
        if tensor is None:
            continue
        if tensor.is_inference():
            return None
        key.append((tensor.data_ptr(), tensor._version, tensor.dtype, tensor.device, tuple(tensor.shape)))
    return tuple(key)


class InferenceCache:
    """Keeps the last value built; copies and pickles of the owner begin empty.

    The key holds the inference mode, so that a value made under ``torch.inference_mode`` never reaches a training step.
    """

    def __init__(self) -> None:
        self._key: Hashable | None = None
        self._value: object = None

    def get(self, key: Hashable | None, build: Callable[[], T]) -> T:
        """The kept value when ``key`` is that of the last call, else a new one; a None key keeps nothing."""
        if key is None:
            return build()
        if self._key != key:
            self._value = build()
            self._key = key
        return self._value  # type: ignore[return-value]

    def clear(self) -> None:
        """Forget the kept value."""
        self._key = self._value = None

    def __deepcopy__(self, memo: dict) -> InferenceCache:
        return InferenceCache()

    def __reduce__(self) -> tuple:
        return (InferenceCache, ())
