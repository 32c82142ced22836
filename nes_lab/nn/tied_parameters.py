"""Keep parameters that layers share shared when torch puts new parameters in their place.

torch moves most parameters in place. It makes new ones where it cannot: from or to the ``meta`` device (``to_empty()``, ``to("meta")``),
if ``torch.__future__.set_overwrite_module_params_on_conversion`` is set, and in ``load_state_dict(assign=True)``. Each layer would then
get a parameter of its own.

Tests: tests/nn/test_tied_parameters.py
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.weak import TensorWeakRef, WeakTensorKeyDictionary

from nes_lab.errors import OptionError

__all__ = ["TiedParameters"]

_TAKEN_OVER = WeakTensorKeyDictionary()
"""Old parameter -> the call that replaced it, and the new parameter. An entry goes when the last layer lets go of the old parameter."""


class TiedParameters(nn.Module):
    """Base class of epitome layers: layers that shared a parameter also share the one that takes its place.

    Raises:
        OptionError: If layers that share a parameter on the ``meta`` device are moved one by one to different devices or dtypes.
    """

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> TiedParameters:
        before = [(module, name, old) for module in self.modules() for name, old in module._parameters.items()]
        super()._apply(fn, recurse)
        for module, name, old in before:
            reason = _tie(module, name, old, fn)
            if reason:
                raise OptionError(reason)
        return self

    def _load_from_state_dict(
        self,
        state_dict: dict[str, Any],
        prefix: str,
        local_metadata: dict[str, Any],
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        before = list(self._parameters.items())
        super()._load_from_state_dict(
            state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
        )
        for name, old in before:
            reason = _tie(self, name, old, error_msgs, compare=True)  # one list of errors per call of load_state_dict
            if reason:
                error_msgs.append(f"{prefix}{name}: {reason}")


def _tie(module: nn.Module, name: str, old: nn.Parameter | None, call: object, *, compare: bool = False) -> str:
    """Put the parameter that already took the place of ``old`` elsewhere in this place too.

    Args:
        module: Module that held the old parameter, and holds the new one.
        name: Name of the parameter in the module.
        old: The old parameter; None if there was none.
        call: Object by which the steps of one call of torch are told from those of another.
        compare: Whether both new parameters have values, which must be equal.

    Returns:
        Why the two places cannot share a parameter; empty if they do, or if nothing else shared the old one.
    """
    new = module._parameters.get(name)
    if old is None or new is None or new is old:
        return ""
    last_call, reference = _TAKEN_OVER.get(old) or (None, None)
    first = None if reference is None else reference()
    if not isinstance(first, nn.Parameter) or (last_call is not call and not old.is_meta):
        _TAKEN_OVER[old] = (call, TensorWeakRef(new))
        return ""
    if first is new:
        return ""
    if (first.device, first.dtype, first.shape) != (new.device, new.dtype, new.shape):
        return (
            f"{name}: layers share this parameter, but in one of them it is now on {first.device} with {first.dtype}, and here it would be "
            f"on {new.device} with {new.dtype}. Give all of them one device and one dtype, as network.to_empty(device=...) does"
        )
    if compare and not new.is_meta and not torch.equal(first, new):
        return "layers share this parameter, but the state dict has different values for them"
    module._parameters[name] = first
    return ""
