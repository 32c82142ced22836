"""Keep for each input shape how a layer is computed, ready to be called, once ``for_inference`` has said that weights stay as they are.

Such a call has no choices left to make. Before it is used, only a few facts are checked: that no tensor of the layer was changed as far
as torch counts changes, and that torch does not record, trace or transform the code.

Tests: tests/execution/test_ready_calls.py, tests/nn/test_inference_cache.py
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import forward_ad

from nes_lab.epitome.empty_copy import EmptyCopy
from nes_lab.execution.inference_cache import is_counted, is_plain
from nes_lab.execution.ready_steps import Call

__all__ = ["ReadyCalls", "Source"]

_MAX_SHAPES = 16
"""Largest number of input shapes for which calls are kept; when it is reached, all are dropped."""
_Key = tuple[torch.Size, tuple[int, ...], torch.dtype]


class Source(NamedTuple):
    """Names a value that a kept call was made from, and where a module holds it.

    Args:
        holder: Dictionary of the module, such as ``module._parameters``.
        name: Name of the value in it.
        value: The value. Of a tensor, the changes that torch counts are seen. Any other object is only compared by identity.
    """

    holder: Mapping[str, Any]
    name: str
    value: Any


class _Watched(NamedTuple):
    holder: Mapping[str, Any]
    name: str
    tensor: Tensor
    version: int
    address: int
    alias: Tensor  # keeps the memory, so that no other tensor can get the same address


class _Kept(NamedTuple):
    objects: tuple[Source, ...]
    tensors: tuple[_Watched, ...]
    calls: dict[_Key, Call]


class ReadyCalls(EmptyCopy):
    """Keeps the calls of one layer, by the shape, layout and dtype of the input.

    A copied or unpickled one is empty. Several threads may use it.
    """

    def __init__(self) -> None:
        self._kept: _Kept | None = None  # one object, so that no thread sees half of it

    def find(self, x: Tensor) -> Call | None:
        """Return the call for an input, if one is kept and may be used here and now; otherwise None."""
        kept = self._kept
        if kept is None or torch.is_grad_enabled() or type(x) is not Tensor:
            return None
        call = kept.calls.get((x.shape, x.stride(), x.dtype))
        if call is None or not x.is_cpu or _special():
            return None
        # two loops, and no functions in them: this runs at every call of a layer
        for holder, name, value in kept.objects:
            if holder.get(name) is not value:
                self._kept = None
                return None
        for holder, name, tensor, version, address, _ in kept.tensors:
            if (
                holder.get(name) is not tensor
                or tensor._version != version
                or tensor.data_ptr() != address
                or tensor.grad is not None  # a fused optimizer may change it without counting
            ):
                self._kept = None
                return None
        return call

    def keep(self, x: Tensor, sources: Sequence[Source], make: Callable[[], Call]) -> None:
        """Keep a call for inputs like ``x``. Nothing is kept if a change of its sources could not be seen.

        Args:
            x: Input for which the call is made.
            sources: All values that the call is made from.
            make: Function that makes the call: a function that computes the layer's output from such an input.
        """
        if type(x) is not Tensor or not x.is_cpu or _special() or torch.is_grad_enabled():
            return
        if any(source.holder.get(source.name) is not source.value for source in sources):
            return
        tensors = [source for source in sources if isinstance(source.value, Tensor)]
        if not all(_seen(source.value) for source in tensors):
            return
        objects = tuple(source for source in sources if not isinstance(source.value, Tensor))
        watched = tuple(_Watched(*s, s.value._version, s.value.data_ptr(), s.value.detach()) for s in tensors)
        kept, calls = self._kept, {}
        if kept is not None and len(kept.calls) < _MAX_SHAPES and _same(kept, objects, watched):
            calls = dict(kept.calls)
        calls[x.shape, x.stride(), x.dtype] = make()
        self._kept = _Kept(objects, watched, calls)

    def clear(self) -> None:
        """Drop all kept calls."""
        self._kept = None


def _special() -> bool:
    """Return True while torch traces, records, transforms or casts: a kept call must not be used or made then."""
    return bool(
        torch._C._len_torch_dispatch_stack()
        or torch._C._are_functorch_transforms_active()
        or torch._C._get_tracing_state() is not None
        or forward_ad._current_level >= 0
        or torch.is_autocast_enabled("cpu")
    )


def _seen(tensor: Tensor) -> bool:
    """Return True if a change of a tensor that torch counts would be seen."""
    return is_plain(tensor) and tensor.is_cpu and tensor.is_leaf and is_counted(tensor)


def _same(kept: _Kept, objects: tuple[Source, ...], watched: tuple[_Watched, ...]) -> bool:
    """Return True if kept calls were made from the given values, in their present state."""
    before = [(s.name, id(s.value)) for s in kept.objects], [(id(w.tensor), w.version, w.address) for w in kept.tensors]
    now = [(s.name, id(s.value)) for s in objects], [(id(w.tensor), w.version, w.address) for w in watched]
    return before == now
