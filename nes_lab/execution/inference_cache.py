"""Keep values that were computed from tensors, as long as the tensors hold the same numbers. Inference then computes them once.

Whether they hold the same numbers is found by one of two ways:

- By comparison with an exact copy, byte by byte. It sees every change, also one through ``.data``, which torch does not count.
  It works on a CPU only: on other devices a comparison would wait for the device, so nothing is kept there.
- By torch's count of in-place changes, once :func:`nes_lab.for_inference` has said that nothing else changes the tensors.

Tests: tests/nn/test_inference_cache.py
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from nes_lab.epitome.empty_copy import EmptyCopy
from nes_lab.epitome.transforms import recording, transforming

__all__ = ["InferenceCache", "is_counted", "is_plain"]

Value = TypeVar("Value")

_equal_memory = ctypes.CDLL("msvcrt" if os.name == "nt" else None).memcmp
_equal_memory.argtypes, _equal_memory.restype = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t), ctypes.c_int


class _Seen:
    """Remembers a tensor, and tells later whether it still holds the same numbers.

    Args:
        tensor: The tensor to remember.
        exact: True to compare all numbers with a copy; False to trust torch's count of in-place changes.
    """

    def __init__(self, tensor: Tensor, exact: bool) -> None:
        # the tensor and an alias of its memory are kept alive, so that no other tensor can get the same address
        self.tensor, self.alias = tensor, tensor.detach()
        self.address, self.layout = tensor.data_ptr(), _layout(tensor)
        self.copy = self.alias.clone() if exact else None
        self.version = 0 if exact else tensor._version
        self.bytes = tensor.numel() * tensor.itemsize

    def comparable(self) -> bool:
        """Return True if tensor and copy have their numbers in the same order in memory, without gaps."""
        return self.copy is None or (
            self.copy.stride() == self.tensor.stride() and (self.address != 0 or not self.bytes)
        )

    def still(self, tensor: Tensor) -> bool:
        """Return True if ``tensor`` is the same object as the remembered tensor, and its numbers have not changed."""
        if tensor is not self.tensor or tensor.data_ptr() != self.address or _layout(tensor) != self.layout:
            return False
        if self.copy is None:
            return tensor._version == self.version and not _has_gradient(tensor)
        return not _equal_memory(self.address, self.copy.data_ptr(), self.bytes)


def _layout(tensor: Tensor) -> tuple[Any, ...]:
    return tensor.shape, tensor.stride(), tensor.dtype


def _has_gradient(tensor: Tensor) -> bool:
    return tensor.is_leaf and tensor.grad is not None


def is_plain(tensor: Tensor) -> bool:
    """Return True if a tensor has memory of its own: it is not fake, and not a wrapper that ``vmap`` made."""
    return type(tensor) in (Tensor, nn.Parameter) and not torch._C._functorch.is_functorch_wrapped_tensor(tensor)


def is_counted(tensor: Tensor) -> bool:
    """Return True if torch counts the in-place changes of a tensor.

    It does not count them for tensors that were made in inference mode. A tensor with a gradient may be changed by a fused
    optimizer, which does not count.
    """
    return not tensor.is_inference() and not _has_gradient(tensor)


_Key = tuple[_Seen | None, ...]


def _key(tensors: Sequence[Tensor | None], trusting: bool) -> _Key | None:
    """Return what is needed to see later whether the tensors have changed; None if this cannot be seen."""
    given = [tensor for tensor in tensors if tensor is not None]
    if not all(is_plain(tensor) for tensor in given):
        return None
    exact = not (trusting and all(is_counted(tensor) for tensor in given))
    if exact and not all(tensor.is_cpu for tensor in given):
        return None
    key = tuple(None if tensor is None else _Seen(tensor, exact) for tensor in tensors)
    return key if all(seen is None or seen.comparable() for seen in key) else None


def _same(key: _Key, tensors: Sequence[Tensor | None]) -> bool:
    if len(key) != len(tensors):
        return False
    for seen, tensor in zip(key, tensors, strict=True):  # a loop: this runs at every call of a layer
        if seen is None or tensor is None:
            if seen is not tensor:
                return False
        elif not seen.still(tensor):
            return False
    return True


class InferenceCache(EmptyCopy):
    """Keeps values that were computed from tensors, until one of the tensors changes.

    A copied or unpickled cache is empty, and trusts nothing. Several threads may use one cache.
    """

    def __init__(self) -> None:
        self.trusting = False
        """True if torch's count of in-place changes is enough to see a change (:func:`nes_lab.for_inference`)."""
        self._entry: tuple[_Key, dict[str, Any]] | None = None  # one object, so that no thread sees half of it

    def get(
        self, name: str, tensors: Sequence[Tensor | None], build: Callable[[], Value], trusting: bool = False
    ) -> Value:
        """Return the value that ``build()`` computes from the given tensors. If it is kept and they did not change, do not build it.

        Nothing is kept while torch compiles, traces, records or transforms the code, nor if a change of the tensors could not be seen.

        Args:
            name: Name of the value; several values may be computed from the same tensors.
            tensors: Tensors that ``build`` reads; no gradient reaches them.
            build: Function that computes the value.
            trusting: True if torch's count of in-place changes is enough to see a change, here and now.
        """
        if torch.compiler.is_compiling() or torch.jit.is_tracing() or transforming() or recording():
            return build()
        entry = self._entry
        if entry is None or not _same(entry[0], tensors):
            key = _key(tensors, trusting or self.trusting)
            if key is None:
                self._entry = None
                return build()
            entry = (key, {})
        if name not in entry[1]:
            # not in inference mode, because training cannot use what is made there
            with torch.inference_mode(False), torch.no_grad():
                value = build()
            if not _same(entry[0], tensors):  # another thread changed a tensor meanwhile
                return value
            entry[1][name] = value
            self._entry = entry
        return entry[1][name]

    def clear(self) -> None:
        """Drop all kept values."""
        self._entry = None
