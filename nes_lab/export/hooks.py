"""Name the hooks of a network that may change its outputs. No file holds them, so the network that is loaded must have them itself.

Tests: tests/export/test_loadable.py
"""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial

from torch import nn

from nes_lab.nn.bake import Hook

__all__ = ["added_hook", "hooks_of", "missing_hook"]

_KINDS = {"_forward_pre_hooks": "forward pre-hook", "_forward_hooks": "forward hook"}
_HARMLESS = ("torch.nn.utils.", "torch.ao.", "torch.distributed.", "accelerate.", "transformers.")
"""Beginnings of the modules whose hooks only watch, or have a tensor or module of their own, which is compared."""


def hooks_of(model: nn.Module) -> dict[str, list[str]]:
    """Return the hooks around the forwards of a network that users registered, by the name of the module.

    Examples:
        >>> net = nn.Sequential(nn.ReLU())
        >>> def double(module, inputs, output):
        ...     return output * 2
        >>> _ = net[0].register_forward_hook(double)
        >>> hooks_of(net)
        {'0': ['forward hook double']}
    """
    found = {name: _hooks(module) for name, module in model.named_modules(remove_duplicate=False)}
    return {name: hooks for name, hooks in found.items() if hooks}


def missing_hook(saved: Mapping[str, Sequence[str]], present: Mapping[str, Sequence[str]]) -> str:
    """Say which hook of a saved model the network lacks that is loaded, and what to do; empty if none.

    Args:
        saved: Hooks of the saved model, as :func:`hooks_of` returns them.
        present: Hooks of the network that is loaded.
    """
    first = _first_missing(saved, present)
    return first and (
        f"the saved model has {first}, which no file holds and which is not here: remove the hook before saving, or register it "
        "on the dense network and give that as model="
    )


def added_hook(saved: Mapping[str, Sequence[str]], present: Mapping[str, Sequence[str]]) -> str:
    """Say which hook the network that is loaded has, and the saved model has not; empty if none.

    Args:
        saved: Hooks of the saved model, as :func:`hooks_of` returns them.
        present: Hooks of the network that is loaded.
    """
    first = _first_missing(present, saved)
    return first and f"the loaded network would have {first}, which the model has not"


def _first_missing(wanted: Mapping[str, Sequence[str]], present: Mapping[str, Sequence[str]]) -> str:
    for name, hooks in wanted.items():
        for hook in Counter(hooks) - Counter(present.get(name, ())):
            return f"the {hook} on {repr(name) if name else 'the network itself'}"
    return ""


def _hooks(module: nn.Module) -> list[str]:
    return [
        f"{kind} {name}"
        for hooks, kind in _KINDS.items()
        for hook in vars(module)[hooks].values()
        if (name := _name(hook))
    ]


def _name(hook: object) -> str:
    """Return the name of a hook's function or class; empty for the hooks of packages that change nothing by themselves."""
    while isinstance(hook, partial):
        hook = hook.func
    named = hook if inspect.isroutine(hook) else type(hook)
    harmless = isinstance(hook, Hook) or str(named.__module__).startswith(_HARMLESS)
    return "" if harmless else str(named.__name__)
