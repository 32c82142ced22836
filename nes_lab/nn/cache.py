"""What inference need not build twice: one value, kept while the tensors it was built from stay the same."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

import torch
from torch import Tensor, nn

__all__ = ["InferenceCache", "tensor_key"]

T = TypeVar("T")


class _Seen:
    """A tensor as it was: equal to another look at it while object, storage and version are the same.

    It holds the tensor and an alias of its storage, so that neither address can be given to another meanwhile.
    """

    __hash__ = None  # type: ignore[assignment]

    def __init__(self, tensor: Tensor) -> None:
        self.tensor, self.alias, self.version = tensor, tensor.detach(), tensor._version
        self.place = (tensor.data_ptr(), tensor.dtype, tensor.device, tuple(tensor.shape), tensor.stride())

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Seen) or self.tensor is not other.tensor:
            return False
        return self.version == other.version and self.place == other.place


def tensor_key(tensors: Iterable[Tensor | None]) -> tuple | None:
    """Identity of tensors and of their contents, or None where contents cannot be followed.

    In-place changes (an optimizer's step, ``load_state_dict``) raise a tensor's version. Nothing may be kept for tensors made under
    inference mode (they have no version), for those with a gradient (a fused optimizer's step raises no version), and for
    those without storage of their own (inside ``vmap``, fake tensors). A write through ``.data`` that keeps the storage
    goes unseen, as it does for autograd.
    """
    key: list[object] = [torch.is_inference_mode_enabled()]
    for tensor in tensors:
        if tensor is None:
            continue
        plain = type(tensor) in (Tensor, nn.Parameter) and not torch._C._functorch.is_functorch_wrapped_tensor(tensor)
        if not plain or tensor.is_inference() or (tensor.is_leaf and tensor.grad is not None):
            return None
        key.append(_Seen(tensor))
    return tuple(key)


class InferenceCache:
    """Keeps the last value built; copies and pickles of the owner begin empty.

    The key holds the inference mode, so that a value made under ``torch.inference_mode`` never reaches a training step.
    """

    def __init__(self) -> None:
        self._key: tuple | None = None
        self._value: object = None

    def get(self, key: tuple | None, build: Callable[[], T]) -> T:
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
