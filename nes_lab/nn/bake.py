"""Bake pruning masks, weight norms and parametrizations of layers into plain tensors, in a copy of the network.

``torch.nn.utils.prune`` and ``torch.nn.utils.parametrize`` replace a tensor of a layer by a computation. Where the layer itself is
replaced, saved or exported, the tensor takes the place of the computation.

Tests: tests/nn/test_bake.py
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Iterator

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import ParametrizationList
from torch.nn.utils.prune import BasePruningMethod
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from nes_lab.errors import OptionError
from nes_lab.geometry.epitome_geometry import EpitomeGeometry
from nes_lab.nn.copy_network import Model, copy_network

__all__ = ["bake", "computed_tensors"]

_PARTS = ("orig", "mask", "g", "v", "u")
"""Ends of the names of the tensors from which torch's hooks compute a tensor, as in ``epitome_orig``."""


def bake(model: Model, names: Collection[str] | None = None) -> Model:
    """Return a network whose epitome layers hold plain tensors, instead of pruning masks, weight norms and parametrizations.

    Each tensor gets the value that it has in evaluation mode, so the outputs in evaluation mode stay the same.

    Args:
        model: Any module; it is not changed.
        names: Names of the modules whose tensors are made plain; None: all epitome layers, with the modules inside them.

    Returns:
        ``model`` itself if all these tensors are plain already; otherwise a copy.

    Raises:
        OptionError: If a tensor has another value at each call; the message names layer and tensor.

    Examples:
        >>> import nes_lab
        >>> layer = nes_lab.EpitomeLinear(8, 8, epitome_shape=(4, 4))
        >>> _ = torch.nn.utils.prune.l1_unstructured(layer, "epitome", 0.5)
        >>> "epitome_mask" in layer.state_dict(), "epitome_mask" in bake(layer).state_dict()
        (True, False)
    """
    names = _names_in_epitome_layers(model) if names is None else names
    if not any(tensor for name, _, tensor in computed_tensors(model) if name in names):
        return model
    copied = copy_network(model)
    modules = dict(copied.named_modules(remove_duplicate=False))
    for name in names:
        with torch.inference_mode(False), torch.no_grad():
            _bake_module(name, modules[name])
    return copied


def computed_tensors(model: nn.Module) -> Iterator[tuple[str, nn.Module, str]]:
    """Yield each tensor that torch computes by a mask, a norm or a parametrization: name of the module, module, name of the tensor."""
    for name, module in model.named_modules(remove_duplicate=False):
        for _, hook in _hooks(module):
            yield name, module, _tensor_name(hook)
        for tensor in _parametrizations(module):
            yield name, module, tensor


def _names_in_epitome_layers(model: nn.Module) -> set[str]:
    names, inside = [name for name, _ in model.named_modules(remove_duplicate=False)], []
    for name, module in model.named_modules(remove_duplicate=False):
        if isinstance(
            getattr(module, "geometry", None), EpitomeGeometry
        ):  # dense.py, which layer.py needs, imports this file
            inside.append(name)
    starts = tuple(f"{name}." if name else "" for name in inside)
    return {name for name in names if name in inside or (starts and name.startswith(starts))}


Hook = BasePruningMethod | WeightNorm | SpectralNorm


def _hooks(module: nn.Module) -> list[tuple[int, Hook]]:
    return [(key, hook) for key, hook in module._forward_pre_hooks.items() if isinstance(hook, Hook)]


def _tensor_name(hook: Hook) -> str:
    return hook._tensor_name if isinstance(hook, BasePruningMethod) else hook.name


def _parametrizations(module: nn.Module) -> dict[str, ParametrizationList]:
    lists = module._modules.get("parametrizations")
    entries = dict(lists.items()) if isinstance(lists, nn.ModuleDict) else {}
    return {name: entry for name, entry in entries.items() if isinstance(entry, ParametrizationList)}


# ---- in the copy -----------------------------------------------------------------------------------------------------


def _bake_module(name: str, module: nn.Module) -> None:
    for key, hook in _hooks(module):
        tensor = _tensor_name(hook)
        value = _steady(_computation(module, hook), name, tensor)
        parts = [f"{tensor}_{part}" for part in _PARTS]
        stored = [module._parameters.get(part) for part in parts]
        trains = any(parameter.requires_grad for parameter in stored if parameter is not None)
        for part in parts:
            module._parameters.pop(part, None)
            module._buffers.pop(part, None)
        vars(module).pop(tensor, None)
        del module._forward_pre_hooks[key]
        if isinstance(hook, SpectralNorm):
            _forget_norm(module, hook)
        module.register_parameter(tensor, nn.Parameter(value, trains))
    entries = _parametrizations(module)
    if not entries:
        return
    values = {tensor: _steady(entry.eval(), name, tensor) for tensor, entry in entries.items()}
    del module._modules["parametrizations"]
    module.__class__ = type(module).__bases__[
        0
    ]  # what torch does; its function would change the class of the original too
    for tensor, entry in entries.items():
        originals = list(entry.parameters(recurse=False))
        if originals:
            module.register_parameter(tensor, nn.Parameter(values[tensor], any(p.requires_grad for p in originals)))
        else:
            module.register_buffer(tensor, values[tensor])


def _computation(module: nn.Module, hook: Hook) -> Callable[[], Tensor]:
    if isinstance(hook, BasePruningMethod):
        return lambda: hook.apply_mask(module)
    if isinstance(hook, WeightNorm):
        return lambda: hook.compute_weight(module)
    return lambda: hook.compute_weight(module, do_power_iteration=False)


def _forget_norm(module: nn.Module, norm: SpectralNorm) -> None:
    """Remove the hooks by which torch's old spectral norm keeps its version in a state dict."""
    for hooks in (module._state_dict_hooks, module._load_state_dict_pre_hooks):
        for key, hook in list(hooks.items()):
            if getattr(getattr(hook, "hook", hook), "fn", None) is norm:
                del hooks[key]


def _steady(compute: Callable[[], Tensor], name: str, tensor: str) -> Tensor:
    with warnings.catch_warnings(
        action="ignore", category=FutureWarning
    ):  # torch's notes that weight norm is an old function
        value, again = compute().detach().clone(), compute()
    if not torch.equal(value, again):
        raise OptionError(
            f"layer {name!r}: the parametrization of {tensor!r} gives other values at each call, in evaluation mode too, so no plain "
            "tensor can take its place. Remove it first: torch.nn.utils.parametrize.remove_parametrizations"
        )
    return value
