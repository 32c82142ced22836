"""Recognize modules that are made to be re-parameterized: after training they fold their branches and norms into one layer.

RepVGG, MobileOne, RepViT and others are. Folding must come before compression: a folded network is smaller, and folding
computes a dense weight from a compressed one.

Tests: tests/nn/test_reparameterize.py
"""

from __future__ import annotations

import inspect

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from nes_lab.errors import PlanError
from nes_lab.nn.layer import EpitomeLayer
from nes_lab.text import list_some

__all__ = ["reparameterize_first", "refuse_folding_"]

FOLDING_METHODS = ("reparameterize", "fuse", "switch_to_deploy")
"""Methods by which timm and others fold the branches and norms of a module into one layer."""


def reparameterize_first(model: nn.Module) -> str:
    """Return a remark if a network has modules that are still to be re-parameterized; empty if it has none.

    Args:
        model: The dense network.

    Examples:
        >>> class Block(nn.Sequential):
        ...     def reparameterize(self):
        ...         pass
        >>> print(reparameterize_first(nn.Sequential(Block(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8)))))
        re-parameterize first: 1 module (0) folds branches and norms by its method reparameterize(), and ...
    """
    folding = {name: _methods(module) for name, module in model.named_modules() if _has_norm(module)}
    names = [name or "the network itself" for name, methods in folding.items() if methods]
    if not names:
        return ""
    method = next(methods[0] for methods in folding.values() if methods)
    many = "modules" if len(names) > 1 else "module"
    return (
        f"re-parameterize first: {len(names)} {many} ({list_some(names, 3)}) {'fold' if len(names) > 1 else 'folds'} branches and "
        f"norms by {'their' if len(names) > 1 else 'its'} method {method}(), and the network is smaller afterwards. Plan and compress "
        "the folded network (with timm: timm.utils.reparameterize_model(model.eval())); folding a compressed one would make it dense"
    )


def refuse_folding_(model: nn.Module) -> None:
    """Let modules that hold epitome layers refuse to be re-parameterized, which would make them dense without a word.

    The refusal is removed from modules without epitome layers, such as those of a materialized network.

    Args:
        model: The network. It is changed: a module's folding method is covered by an attribute that raises a PlanError.
    """
    for name, module in model.named_modules():
        compressed = any(isinstance(part, EpitomeLayer) for part in module.modules())
        for method in _methods(module):
            if not compressed and isinstance(vars(module).get(method), _Refusal):
                del vars(module)[method]
            elif compressed and _has_norm(module):
                vars(module)[method] = _Refusal(name, method)


class _Refusal:
    """Takes the place of a folding method, and raises an error that says what to do instead."""

    def __init__(self, module: str, method: str) -> None:
        self.module, self.method = module, method

    def __call__(self, *args: object, **kwargs: object) -> None:
        where = f"module {self.module!r}" if self.module else "the network"
        raise PlanError(
            f"{where}: {self.method}() would replace its epitome layers by one dense layer. Re-parameterize the dense network, then "
            "plan and compress it; or fold a dense copy of this one: nes_lab.materialize(network)"
        )


def _methods(module: nn.Module) -> list[str]:
    """Return the names of the folding methods of a module, without those that its forward method calls or that take arguments."""
    code = getattr(type(module).forward, "__code__", None)
    used = code.co_names if code else ()
    return [name for name in FOLDING_METHODS if name not in used and _takes_nothing(getattr(type(module), name, None))]


def _takes_nothing(method: object) -> bool:
    if not inspect.isfunction(method):
        return False
    parameters = list(inspect.signature(method).parameters.values())[1:]
    return all(p.default is not p.empty or p.kind is p.VAR_KEYWORD for p in parameters)


def _has_norm(module: nn.Module) -> bool:
    return any(isinstance(part, _BatchNorm) for part in module.modules())
