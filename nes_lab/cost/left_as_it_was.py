"""Run a network to look at it, and leave it and the global state bit for bit as they were.

The networks are changed back, not copied: some networks cannot be copied. A forward method may do anything: update
statistics, count its calls, draw random numbers, clamp its weights.

Tests: tests/cost/test_left_as_it_was.py and tests/house/test_looking.py.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from types import FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.lazy import LazyModuleMixin

from nes_lab.cost.global_state import global_restores
from nes_lab.cost.unseen import inner_tensors
from nes_lab.errors import OptionError

__all__ = ["left_as_it_was"]


@contextmanager
def left_as_it_was(*things: Any) -> Iterator[None]:
    """Let networks run in a ``with`` block, and put everything back at its end, also if the block raises an error.

    Put back bit for bit are:

    - of a network: parameters, buffers, gradients, ``requires_grad``, modes, hooks, submodules and other attributes, such as
      counters, lists, tensors and random generators
    - the global random states of Python, numpy, torch and CUDA
    - global settings, such as torch's default dtype and number of threads (:mod:`nes_lab.cost.global_state`)

    A copy of all tensors is kept meanwhile, so the block needs their memory twice. Attributes of classes, and objects deep
    inside other objects, are not put back.

    Args:
        *things: Networks, and inputs that a network may change: tensors, or lists, tuples and dicts of tensors.

    Raises:
        OptionError: If a layer of a network has no shape yet, such as ``nn.LazyLinear``; running it would give it one.

    Examples:
        >>> network = nn.Sequential(nn.BatchNorm1d(2), nn.Dropout())  # in training mode
        >>> before = torch.get_rng_state()
        >>> with left_as_it_was(network):
        ...     _ = network.requires_grad_(False)(torch.ones(4, 2))
        >>> network[0].running_mean, network[0].weight.requires_grad, torch.equal(torch.get_rng_state(), before)
        (tensor([0., 0.]), True, True)
    """
    for thing in things:
        _refuse_lazy(thing)
    with ExitStack() as undo:  # calls every function that puts something back, even if one of them fails
        for restore in (*global_restores(), *_restores(things)):
            undo.callback(restore)
        yield


def _refuse_lazy(thing: Any) -> None:
    for name, module in thing.named_modules() if isinstance(thing, nn.Module) else ():
        if isinstance(module, LazyModuleMixin) and module.has_uninitialized_params():  # type: ignore[misc]
            raise OptionError(
                f"{f'layer {name!r}' if name else 'model'} is a {type(module).__name__}, which has no shape yet; call the "
                "model once on an input first"
            )


def _restores(things: Any) -> Iterator[Callable[[], object]]:
    """Yield functions that put back everything that is reachable from some values: modules, containers and tensors."""
    seen: set[int] = set()
    todo: list[tuple[Any, bool]] = [(things, True)]
    while todo:
        value, with_objects = todo.pop()
        if id(value) in seen or isinstance(value, _ATOMS):
            continue
        seen.add(id(value))
        if isinstance(value, Tensor):
            yield from (_tensor_restore(inner) for inner in inner_tensors(value) if type(inner) in _PLAIN)
            todo.append((vars(value), False))
        elif isinstance(value, nn.Module):
            yield partial(setattr, value, "training", value.training)
            todo.append((vars(value), True))
        elif isinstance(value, dict):
            yield partial(_refill_dict, value, dict(value.items()))
            todo += [(part, with_objects) for part in value.values()]
        elif isinstance(value, list | tuple | set | frozenset | deque):
            if not isinstance(value, tuple | frozenset):
                yield partial(_refill, value, list(value))
            todo += [(part, with_objects) for part in value]
        elif isinstance(value, np.ndarray):
            if value.flags.writeable:
                yield partial(np.copyto, value, value.copy())
        elif isinstance(value, torch.Generator | random.Random | np.random.Generator | np.random.RandomState):
            yield _generator_restore(value)
        elif with_objects and _holds_state(value):
            todo.append((vars(value), False))


_ATOMS = (
    int,
    float,
    complex,
    str,
    bytes,
    type,
    type(None),
    torch.dtype,
    torch.device,
    FunctionType,
    MethodType,
    ModuleType,
)
_PLAIN = (Tensor, nn.Parameter)


def _holds_state(value: Any) -> bool:
    """Return True for an object of a user's class, whose attributes a forward method may change."""
    package = type(value).__module__.partition(".")[0]  # objects of these two are caches, or tools of torch's compiler
    return isinstance(getattr(value, "__dict__", None), dict) and package not in ("torch", "nes_lab")


def _refill(into: list[Any] | set[Any] | deque[Any], held: list[Any]) -> None:
    """Give a list, set or deque its former contents, if they have changed."""
    if list(map(id, into)) != list(map(id, held)):
        into.clear()
        (into.update if isinstance(into, set) else into.extend)(held)


def _refill_dict(into: dict[Any, Any], held: dict[Any, Any]) -> None:
    """Give a dict its former items in their former order, if they have changed."""
    for key in [key for key in into if key not in held]:
        del into[key]
    if list(into) != list(held):
        into.clear()
    for key, value in held.items():
        if key not in into or into[key] is not value:
            into[key] = value


def _generator_restore(generator: Any) -> Callable[[], object]:
    if isinstance(generator, torch.Generator | np.random.RandomState):
        return partial(generator.set_state, generator.get_state())
    if isinstance(generator, random.Random):
        return partial(generator.setstate, generator.getstate())
    return partial(setattr, generator.bit_generator, "state", generator.bit_generator.state)


def _tensor_restore(tensor: Tensor) -> Callable[[], object]:
    """Return a function that puts back a tensor's numbers, memory, gradient and ``requires_grad``."""
    memory = tensor.detach()  # it keeps the old memory, even if ``tensor.data`` is assigned
    copied = None if tensor.is_meta or tensor.layout != torch.strided or tensor.is_quantized else memory.clone()
    is_leaf, requires_grad = tensor.is_leaf, tensor.requires_grad
    gradient = tensor.grad if is_leaf else None
    restore_gradient = None if gradient is None else _tensor_restore(gradient)

    def restore() -> None:
        with torch.no_grad():
            if not _same_memory(tensor, memory):
                tensor.data = memory
            if copied is not None and not _same_bits(memory, copied):
                memory.copy_(copied)
        if is_leaf and tensor.requires_grad != requires_grad:
            tensor.requires_grad_(requires_grad)
        if is_leaf and tensor.grad is not gradient:
            tensor.grad = gradient
        if restore_gradient is not None:
            restore_gradient()

    return restore


def _same_memory(tensor: Tensor, memory: Tensor) -> bool:
    def place(t: Tensor) -> tuple[Any, ...]:
        return t.shape, t.dtype, t.device, *((t.stride(), t.data_ptr()) if t.layout == torch.strided else ())

    return place(tensor) == place(memory)


_INTEGERS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def _same_bits(tensor: Tensor, other: Tensor) -> bool:
    if tensor.is_complex():
        tensor, other = torch.view_as_real(tensor), torch.view_as_real(other)
    integers = _INTEGERS[tensor.element_size()]  # as numbers, NaN would differ from itself, and 0 would equal -0
    return torch.equal(tensor.view(integers), other.view(integers))
