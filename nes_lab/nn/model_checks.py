"""Refuse networks that cannot be looked into, and networks whose copies would still run the layers of the original.

Tests: tests/nn/test_model_checks.py
"""

from __future__ import annotations

import functools
import types
from collections.abc import Iterator, Mapping

import torch
from torch import nn

from nes_lab.errors import OptionError
from nes_lab.nn.copy_network import held_values

__all__ = ["check_copyable", "check_module"]

_COMPILED = "OptimizedModule"
"""Class name of ``torch.compile(network)``. It compiles its forward again when it is copied."""


def check_module(model: object, caller: str) -> None:
    """Check that a network is a Python module, whose layers can be watched and replaced.

    Args:
        model: The network.
        caller: Name of the public function that got the network, for the message.

    Raises:
        OptionError: If ``model`` is not a module, or is or contains a TorchScript or exported program; the message names it.

    Examples:
        >>> check_module(nn.Linear(2, 3), "count")
        >>> check_module(3, "count")
        Traceback (most recent call last):
        nes_lab.errors.OptionError: model is a int; count takes a torch module
    """
    if not isinstance(model, nn.Module):
        raise OptionError(f"model is a {type(model).__name__}; {caller} takes a torch module")
    for name, module in model.named_modules():
        kind = _fixed_program(module)
        if kind:
            where = f"its module {name!r}" if name else "it"
            raise OptionError(
                f"model is a {type(model).__name__}; {where} is {kind}, whose layers are fixed in a program of its own. "
                f"{caller} takes the Python network that it was made from; compress that one, then export the result"
            )


def _fixed_program(module: nn.Module) -> str:
    """Return what kind of fixed program a module is; empty for a module that runs Python code."""
    if isinstance(module, torch.jit.ScriptModule):
        return "a TorchScript module (torch.jit.script or torch.jit.trace)"
    names = {(kind.__module__, kind.__name__) for kind in type(module).__mro__}
    exported = {("torch.export._unlift", "_StatefulGraphModule"), ("torch.export.unflatten", "_SubmoduleBase")}
    rewritten = isinstance(module, torch.fx.GraphModule) and "eval" in vars(module)  # such as by torchao's quantization
    return "a program of torch.export" if rewritten or names & exported else ""


def check_copyable(model: nn.Module, caller: str) -> None:
    """Check that a deep copy of a network runs its own layers.

    A function that was put on a module in place of a method, such as ``m.forward = torch.compile(m.forward)``, is not copied:
    the copy's function still calls the layers of the original. The same holds for a function in another attribute, or a hook, that
    was defined where a module of the network is a local variable. Bound methods and ``functools.partial`` objects are copied.

    Args:
        model: The network.
        caller: Name of the public function that got the network, for the message.

    Raises:
        OptionError: If a module has such a function; the message names the module.

    Examples:
        >>> net = nn.Sequential(nn.Linear(2, 3))
        >>> check_copyable(net, "compress")
        >>> net.forward = lambda x: net[0](x) * 2
        >>> check_copyable(net, "compress")
        Traceback (most recent call last):
        nes_lab.errors.OptionError: model: the forward of the network itself was replaced by ...
    """
    names = {id(module): name for name, module in model.named_modules()}
    for name, module in model.named_modules():
        if type(module).__name__ == _COMPILED:
            continue
        for method, function in vars(module).items():
            held = next((m for m in _held_after_copy(function) if id(m) in names), None)
            if held is None or not callable(getattr(type(module), method, None)):
                continue
            whose = f"of the module {name!r}" if name else "of the network itself"
            raise OptionError(
                f"model: the {method} {whose} was replaced by the function {_name_of(function)!r}, which holds "
                f"{_called(names[id(held)])}. {caller} works on a copy, and in the copy this function would still run the "
                "layers of the given network. Define it in the class or bind it with types.MethodType; for a compiled "
                "network write torch.compile(model) or model.compile() instead of model.forward = torch.compile(model.forward)"
            )
    _check_functions(model, names, caller)


def _check_functions(model: nn.Module, names: Mapping[int, str], caller: str) -> None:
    """Refuse functions in attributes and hooks that hold a module of the network; a copy would take them over as they are."""
    for place, value, holder in held_values(model):
        replaces_method = isinstance(holder, nn.Module) and callable(
            getattr(type(holder), place.rpartition(".")[2], None)
        )
        if not isinstance(value, types.FunctionType) or replaces_method or "_orig_mod" in place:
            continue
        if value.__globals__.get("__name__", "").startswith("torch.ao."):
            continue  # torch's observers ask the module for its device
        held = next((module for module in _held(value, set()) if id(module) in names), None)
        if held is not None:
            raise OptionError(
                f"model: its attribute {place} is the function {_name_of(value)!r}, which holds {_called(names[id(held)])}. {caller} "
                "works on a copy, and in the copy this function would still use the given network. Make it a method: copies of "
                "methods belong to the copy; or remove it first, if it is a hook that only looks"
            )


def _called(name: str) -> str:
    return f"the module {name!r}" if name else "the network itself"


def _name_of(function: object) -> str:
    return str(getattr(function, "__qualname__", type(function).__name__))


def _held_after_copy(value: object) -> Iterator[nn.Module]:
    """Yield the modules that an attribute would still hold after a deep copy of its module.

    A deep copy copies bound methods and partial objects with what they hold, but it takes over functions as they are.
    """
    if isinstance(value, types.MethodType):
        yield from _held_after_copy(value.__func__)
    elif isinstance(value, functools.partial):
        for part in (value.func, *value.args, *value.keywords.values()):
            yield from _held_after_copy(part)
    elif isinstance(value, types.FunctionType):
        yield from _held(value, set(), with_globals=True)


def _held(value: object, seen: set[int], with_globals: bool = False) -> Iterator[nn.Module]:
    """Yield the modules that a value holds: a module, a bound method, or a function with what it closes over.

    Args:
        value: The value.
        seen: Ids of the values that were looked into already.
        with_globals: Also look at the module-level names that a function uses.
    """
    if id(value) in seen:
        return
    seen.add(id(value))
    parts: list[object] = []
    if isinstance(value, nn.Module):
        yield value
    elif isinstance(value, types.MethodType):
        parts = [value.__self__, value.__func__]
    elif isinstance(value, functools.partial):
        parts = [value.func, *value.args, *value.keywords.values()]
    elif isinstance(value, types.FunctionType):
        parts = [*_cells(value), *(value.__defaults__ or ()), *vars(value).values()]
        parts += [value.__globals__.get(name) for name in _names(value.__code__)] if with_globals else []
    for part in parts:
        yield from _held(part, seen)


def _cells(function: types.FunctionType) -> Iterator[object]:
    for cell in function.__closure__ or ():
        try:
            yield cell.cell_contents
        except ValueError:  # a variable that was not set yet
            continue


def _names(code: types.CodeType) -> Iterator[str]:
    """Yield the names that the code of a function uses, with the functions that it defines."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _names(constant)
