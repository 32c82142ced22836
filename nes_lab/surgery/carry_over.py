"""Carry over what users added to a layer, when another layer takes its place.

A layer keeps more than its weights: flags that the parent's forward method reads, hooks, buffers, submodules, attributes of its
parameters. All of it goes to the new layer, under the same names. What belongs to the weight goes to the epitome, and back.

Tests: tests/surgery/test_carry_over.py
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from types import FunctionType

import torch
from torch import Tensor, nn

from nes_lab.nn.copy_network import Memo, Model, copy_network, copy_parameter_extras, held_values, prepare_memo
from nes_lab.nn.kinds import BASES, class_kind
from nes_lab.nn.layer import EpitomeLayer
from nes_lab.nn.own_attributes import own_attributes, torch_class
from nes_lab.nn.registry import LAYERS
from nes_lab.nn.reparameterize import refuse_folding_

__all__ = [
    "HOOKS",
    "MEMBERS",
    "SETTINGS",
    "added_hooks",
    "carry_over",
    "copy_with_replacements",
    "weights_held_elsewhere",
    "why_not_carried",
]

HOOKS = (
    *("_forward_pre_hooks", "_forward_pre_hooks_with_kwargs"),
    *("_forward_hooks", "_forward_hooks_with_kwargs", "_forward_hooks_always_called"),
    *("_backward_pre_hooks", "_backward_hooks"),
    *("_state_dict_pre_hooks", "_state_dict_hooks", "_load_state_dict_pre_hooks", "_load_state_dict_post_hooks"),
)
"""The attributes in which torch keeps the hooks of a module, as dicts by the number of the hook."""

MEMBERS = ("_parameters", "_buffers", "_modules")
"""The attributes in which torch keeps the parameters, buffers and submodules of a module, as dicts by name."""

SETTINGS = ("training", "_is_full_backward_hook", "_non_persistent_buffers_set")
"""The other attributes that every module has."""

_NOT_COPIED = "_compiled_call_impl"  # what module.compile() made; torch leaves it out of copies too
_WEIGHTS = {"weight", "epitome"}
_HARMLESS = {
    *("reset_parameters", "extra_repr", "_get_name", "_load_from_state_dict", "_save_to_state_dict"),
    *("_load_state_dict_pre_hook", "_version"),
}
"""Methods that a subclass may override, because they do not change what the layer computes."""


def copy_with_replacements(model: Model, replacement: Callable[[str, nn.Module], nn.Module | None]) -> Model:
    """Copy a network with other modules in the place of some, which get all that users added to those.

    A module may be registered in several places. It then gets one new module for all these places.

    What ``module.compile()`` made is not copied, as in copies by ``copy.deepcopy``. A warning names the modules.

    Args:
        model: The network; it is not changed.
        replacement: Function that takes a module's name and the module. It returns the new module, or None to copy the old one.

    Raises:
        OptionError: If the network holds something that cannot be copied; the message names module and attribute. Then
            ``replacement`` is not called.
    """
    _warn_of_compiled(model)
    memo = prepare_memo(model, {})
    candidates = [(module, replacement(name, module)) for name, module in model.named_modules()]
    replaced = [(old, new) for old, new in candidates if new is not None]
    memo |= {id(old): new for old, new in replaced}
    for old, new in replaced:
        carry_over(old, new, memo)
    copied = copy_network(model, memo)
    refuse_folding_(copied)
    return copied


def _warn_of_compiled(model: nn.Module) -> None:
    compiled = [repr(name) if name else "the network" for name, m in model.named_modules() if vars(m).get(_NOT_COPIED)]
    if compiled:
        warnings.warn(
            f"compile() of {', '.join(compiled)} is not carried over; call compile() again on the network that is returned",
            stacklevel=5,
        )


def carry_over(old: nn.Module, new: nn.Module, memo: Memo) -> None:
    """Copy what users added to a layer to the layer that takes its place.

    These are attributes, parameters, buffers, submodules, hooks, and the attributes, hooks and memory format of parameters. What
    ``module.compile()`` made is left out.

    Args:
        old: The layer; it is not changed.
        new: The layer that takes its place.
        memo: The memo of the copy of the network, so that references to other modules follow the copy.
    """
    own = own_attributes(type(old))
    for name, value in _added_attributes(old, own, type(new)):
        vars(new)[name] = copy.deepcopy(value, memo)
    for members in MEMBERS:
        empty = {name for name, value in vars(new)[members].items() if value is None and members == "_modules"}
        added = {name: value for name, value in vars(old)[members].items() if name not in own or name in empty}
        vars(new)[members].update({name: copy.deepcopy(value, memo) for name, value in added.items()})
        if isinstance(new, EpitomeLayer):
            new.carried = new.carried.union(added)
    new._non_persistent_buffers_set |= old._non_persistent_buffers_set - own
    for hooks in HOOKS:
        copied = copy.deepcopy(vars(old)[hooks], memo)  # the memo holds it for handles that remove a hook
        for number in vars(old)[hooks].keys() - added_hooks(old, hooks).keys():
            del copied[number]
        copied.update(vars(new)[hooks])
        vars(new)[hooks] = copied
    new._is_full_backward_hook = old._is_full_backward_hook
    for name, before, after in _parameter_pairs(old, new):
        if name in _WEIGHTS:
            copy_parameter_extras(before, after, memo)
            _copy_memory_format(before, after)
        else:  # the same numbers, for everything that refers to them, such as another layer with the same bias
            new._parameters[name] = memo.setdefault(id(before), after)


def added_hooks(module: nn.Module, hooks: str) -> dict[int, object]:
    """Return the hooks of one kind that users registered on a module, by number, without those of NES Lab's own layers.

    Args:
        module: The module.
        hooks: The kind, a name in :data:`HOOKS`.
    """
    return {number: hook for number, hook in vars(module)[hooks].items() if not _is_own_hook(hook)}


def _is_own_hook(hook: object) -> bool:
    function = getattr(hook, "hook", hook)  # torch wraps hooks on the state dict
    return getattr(function, "__module__", "").startswith("nes_lab.nn.")


def weights_held_elsewhere(model: nn.Module) -> dict[int, str]:
    """Find the parameters that something besides their modules refers to, such as a list in an attribute of the network.

    Returns:
        A dict from the ``id()`` of each such parameter to the place that refers to it.

    Examples:
        >>> model = nn.Sequential(nn.Linear(2, 3))
        >>> model.kept = [model[0].weight]
        >>> list(weights_held_elsewhere(model).values())
        ['kept[0]']
    """
    return {
        id(value): place
        for place, value, holder in held_values(model)
        if isinstance(value, nn.Parameter)
        and not (isinstance(holder, nn.Module) and any(value is own for own in holder._parameters.values()))
    }


def why_not_carried(layer: nn.Module, held_elsewhere: Mapping[int, str] | None = None) -> str:
    """Return the reason why what was added to a dense layer cannot be carried over to an epitome layer; empty if it can.

    Args:
        layer: A dense layer that an epitome layer can replace.
        held_elsewhere: What :func:`weights_held_elsewhere` finds in the network; None: the layer alone is looked at.

    Examples:
        >>> layer = nn.Linear(2, 3)
        >>> layer.epitome = "mine"
        >>> why_not_carried(layer)
        "its attribute 'epitome' has the name of an attribute that epitome layers use"
    """
    kind = class_kind(type(layer))
    if kind is None:
        return ""
    place = (held_elsewhere or {}).get(id(layer.weight))
    if place is not None:
        return f"{place} of the network refers to its weight, and would go on using the dense weight"
    own, epitome_class = own_attributes(type(layer)), LAYERS[kind]
    taken = frozenset(dir(epitome_class)) | own_attributes(epitome_class)
    names = [name for name, _ in _added_attributes(layer, own, epitome_class)]
    for members in MEMBERS:
        names += [name for name in vars(layer)[members] if name not in own]
    for name in names:
        if name in taken:
            return f"its attribute {name!r} has the name of an attribute that epitome layers use"
        if layer._parameters.get(name) is not None and layer._parameters[name] is layer.weight:
            return f"its attribute {name!r} is its weight under another name"
    return _why_class_not_carried(type(layer))


def _why_class_not_carried(kind: type[nn.Module]) -> str:
    base = torch_class(kind)
    for name, value in _class_attributes(kind):
        if name not in _HARMLESS and (hasattr(base, name) or hasattr(type(value), "__get__")) and not _is_method(value):
            return f"{kind.__name__} has a property {name!r} of its own, which an epitome layer cannot take over"
        if hasattr(base, name) and name not in _HARMLESS:
            return f"{kind.__name__} has a method {name} of its own in place of torch's, so what it does is not known"
    return ""


def _is_method(value: object) -> bool:
    return isinstance(value, FunctionType | staticmethod | classmethod)


def _class_attributes(kind: type[nn.Module]) -> Iterator[tuple[str, object]]:
    """Yield what a subclass of torch's layers defines itself, without what every class has."""
    base = torch_class(kind)
    if base not in BASES:
        return
    for each in reversed(kind.__mro__[: kind.__mro__.index(base)]):
        yield from ((name, value) for name, value in vars(each).items() if not name.startswith("__"))


def _added_attributes(old: nn.Module, own: frozenset[str], new: type[nn.Module]) -> Iterator[tuple[str, object]]:
    """Yield the attributes that a layer has and the layer that takes its place does not have by itself.

    Among them are methods and settings of the layer's class.
    """
    for name, value in _class_attributes(type(old)):
        if not hasattr(new, name) and name not in _HARMLESS:
            yield name, partial(value, old) if isinstance(value, FunctionType) else getattr(type(old), name)
    for name, value in vars(old).items():
        of_class = isinstance(value, partial) and value.func is getattr(new, name, value)
        if name not in own and name != _NOT_COPIED and not of_class:
            yield name, value


def _parameter_pairs(old: nn.Module, new: nn.Module) -> Iterator[tuple[str, Tensor, nn.Parameter]]:
    """Yield each own parameter of a layer: its name, the parameter, and the parameter of the new layer that takes its place."""
    for name, before in old._parameters.items():
        partner = next((n for n in new._parameters if n == name or {n, name} == _WEIGHTS), None)
        after = None if partner is None else new._parameters[partner]
        if before is not None and after is not None and after is not before and name in own_attributes(type(old)):
            yield name, before, after


def _copy_memory_format(before: Tensor, after: Tensor) -> None:
    """Store a tensor's numbers in the memory format of another tensor with as many axes."""
    for axes, form in ((4, torch.channels_last), (5, torch.channels_last_3d)):
        last = before.ndim == axes and before.is_contiguous(memory_format=form) and not before.is_contiguous()
        if last and after.ndim == axes:
            after.data = after.data.contiguous(memory_format=form)
