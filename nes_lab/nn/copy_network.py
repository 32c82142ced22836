"""Copy a user's network, with everything that its modules and parameters hold.

``copy.deepcopy`` stops at a kept feature or a lock with a message that names neither, and leaves out what users attach to
parameters. This function is the library's only way of copying a network.

Tests: tests/nn/test_copy_network.py
"""

from __future__ import annotations

import copy
import copyreg
import weakref
from collections import deque
from collections.abc import Iterator
from functools import partial
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, fx, nn

from nes_lab.errors import OptionError

__all__ = ["HeldValue", "Memo", "Model", "copy_network", "copy_parameter_extras", "held_values", "prepare_memo"]

Model = TypeVar("Model", bound=nn.Module)
"""Class of the user's network. A copy has the same class."""
Memo = dict[int, Any]
"""The memo of ``copy.deepcopy``: the copy of each object, by the object's ``id()``."""

_MEMBERS = ("_parameters", "_buffers", "_modules")
_SHARED = (type(None), bool, int, float, complex, str, bytes, range, property, type(...), type(NotImplemented))
_SHARED_CODE = (type, FunctionType, BuiltinFunctionType, CodeType, ModuleType, weakref.ref)
_SETTINGS = (torch.dtype, torch.device, torch.layout)


class HeldValue(NamedTuple):
    """Something that a network holds.

    Args:
        place: Its place in the network, such as ``blocks.0.lock``.
        value: The object.
        holder: The object that holds it: a module, a list, another object. None: ``value`` is the network itself.
    """

    place: str
    value: object
    holder: object


def copy_network(model: Model, memo: Memo | None = None) -> Model:
    """Copy a network like ``copy.deepcopy``, and also copy what users attached to its parameters.

    A tensor that autograd computed, such as a feature that the forward method keeps, is copied without its history. A Python
    module, such as ``numpy``, is shared.

    Args:
        model: The network; it is not changed.
        memo: Objects that take the place of others in the copy, by the ``id()`` of the objects they replace. None: there are none.

    Returns:
        The copy, of the network's class. Gradients of parameters are not copied.

    Raises:
        OptionError: If the network holds something that cannot be copied, such as a lock; the message names module and attribute.

    Examples:
        >>> net = nn.Linear(2, 3)
        >>> net.weight.lr_factor = 0.1
        >>> copy_network(net).weight.lr_factor
        0.1
    """
    memo = prepare_memo(model, {} if memo is None else memo)
    try:
        copied = copy.deepcopy(model, memo)
    except Exception as error:
        raise OptionError(f"model: a {type(model).__name__} that cannot be copied: {error}") from error
    for parameter in model.parameters():
        copied_parameter = memo.get(id(parameter))
        if isinstance(copied_parameter, Tensor) and copied_parameter is not parameter:
            copy_parameter_extras(parameter, copied_parameter, memo)
    return copied


def prepare_memo(model: nn.Module, memo: Memo) -> Memo:
    """Check that everything in a network can be copied, and enter the copies that ``copy.deepcopy`` would not make.

    Args:
        model: The network; it is not changed.
        memo: The memo; copies are added to it.

    Returns:
        ``memo``.

    Raises:
        OptionError: If something cannot be copied; the message names module and attribute.
    """
    modules = {id(module) for module in model.modules()}
    for place, value, _ in held_values(model):
        if id(value) in memo:
            continue
        if isinstance(value, ModuleType):
            memo[id(value)] = value
        elif isinstance(value, Tensor):
            if not value.is_leaf:
                memo[id(value)] = value.detach().clone()
        elif isinstance(value, weakref.ref) and id(value()) in modules:
            reason = "a weak reference to another of its modules, which a copy would go on using"
            raise _not_copied(model, place, reason)
        elif not _is_shared(value) and not _copies_itself(value):
            try:
                _reduced(value)
            except Exception as error:
                raise _not_copied(model, place, f"a {type(value).__name__}, which cannot be copied") from error
    return memo


def _not_copied(model: nn.Module, place: str, reason: str) -> OptionError:
    modules = [name for name, _ in model.named_modules() if place.startswith(f"{name}.")]
    owner = max(modules, key=len, default="")
    where = f"module {owner!r}" if owner else "the network itself"
    return OptionError(
        f"model: {where} holds {reason}, as its attribute {place.removeprefix(f'{owner}.')}. This call works on a copy: delete "
        "the attribute first, and let the module make it when it needs it"
    )


def copy_parameter_extras(old: Tensor, new: Tensor, memo: Memo | None) -> None:
    """Copy the attributes and the gradient hooks that users attached to a parameter.

    Args:
        old: The parameter; it is not changed.
        new: The parameter that takes its place.
        memo: The memo of the copy of the network. None: the new parameter gets the same objects, not copies.
    """

    def copied(value: Any) -> Any:
        return value if memo is None else copy.deepcopy(value, memo)

    vars(new).update({name: copied(value) for name, value in vars(old).items()})
    needs_gradient = new.requires_grad
    for hooks, register in (
        (old._backward_hooks, new.register_hook),
        (getattr(old, "_post_accumulate_grad_hooks", None), new.register_post_accumulate_grad_hook),
    ):
        for hook in (hooks or {}).values():
            new.requires_grad_()  # torch registers a hook only then; a parameter may have been fixed later
            register(copied(hook))
    new.requires_grad_(needs_gradient)


def held_values(model: nn.Module) -> Iterator[HeldValue]:
    """Yield every object that a deep copy of a network would reach, with its place in the network.

    A tensor is yielded at each place that refers to it, any other object once.

    Examples:
        >>> [held.place for held in held_values(nn.Linear(2, 3)) if isinstance(held.value, nn.Parameter)]
        ['weight', 'bias']
    """
    seen: dict[int, object] = {}  # keeps the objects alive, so that no id() is used twice
    waiting = [HeldValue("", model, None)]
    while waiting:
        held = waiting.pop()
        place, value, _ = held
        if id(value) in seen and not isinstance(value, Tensor):
            continue
        yield held
        if id(value) not in seen:
            seen[id(value)] = value
            parts = [
                HeldValue(f"{place}{end}" if place else end.removeprefix("."), part, value)
                for end, part in _parts(value)
            ]
            waiting.extend(reversed(parts))


def _parts(value: object) -> Iterator[tuple[str, object]]:
    """Yield what an object holds, each with the end of its place, such as ``.lock`` or ``[0]``."""
    if isinstance(value, nn.Module):
        yield from _module_parts(value)
    elif isinstance(value, Tensor):
        yield from _named(vars(value))
        yield "._backward_hooks", value._backward_hooks
        yield "._post_accumulate_grad_hooks", getattr(value, "_post_accumulate_grad_hooks", None)
    elif isinstance(value, dict):
        yield from ((f"[{key!r:.40}]", item) for key, item in value.items())
        yield from ((f" key {key!r:.40}", key) for key in value)
    elif isinstance(value, list | tuple | set | frozenset | deque):
        yield from ((f"[{index}]", item) for index, item in enumerate(value))
    elif isinstance(value, MethodType):
        yield from ((".__self__", value.__self__), (".__func__", value.__func__))
    elif isinstance(value, partial):
        yield from (("()", part) for part in (value.func, value.args, value.keywords))
    elif not _is_shared(value) and not _copies_itself(value):
        yield from _object_parts(value)


def _module_parts(module: nn.Module) -> Iterator[tuple[str, object]]:
    if hasattr(type(module), "__deepcopy__") and not isinstance(module, fx.GraphModule):
        yield from _named(dict(module.named_children()))  # the class copies its attributes by itself
        return
    for name, value in module.__getstate__().items():
        yield from _named(value) if name in _MEMBERS else _named({name: value})


def _object_parts(value: object) -> Iterator[tuple[str, object]]:
    try:
        _, arguments, state, *_ = (*_reduced(value), None)
    except Exception:  # noqa: BLE001 -- prepare_memo reports it
        return
    yield "()", arguments
    for part in state if isinstance(state, tuple) else (state,):
        yield from _named(part) if isinstance(part, dict) else [("()", part)]


def _reduced(value: object) -> tuple[Any, ...]:
    """Return how pickle and deepcopy take an object apart; fails for a lock, a file, a generator."""
    reducer = copyreg.dispatch_table.get(type(value))
    reduced = reducer(value) if reducer else value.__reduce_ex__(4)
    return (None, ()) if isinstance(reduced, str) else reduced


def _named(values: Any) -> Iterator[tuple[str, object]]:
    return ((f".{name}", value) for name, value in values.items())


def _copies_itself(value: object) -> bool:
    """Return True if ``copy.deepcopy`` does not take an object apart as pickle does."""
    return isinstance(value, MethodType) or hasattr(type(value), "__deepcopy__")


def _is_shared(value: object) -> bool:
    return isinstance(value, _SHARED + _SHARED_CODE + _SETTINGS)
