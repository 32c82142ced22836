"""Define the tensor that ``layer.weight`` returns. It refuses changes in place, because they would not reach the epitome.

Tests: tests/nn/test_sampled_weight.py
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

import torch
from torch import Tensor, nn

__all__ = ["CANNOT_BE_SET", "SampledWeight", "refuse_to_set"]

CANNOT_BE_SET = "weight is sampled from the epitome and cannot be set; use load_dense_(weight, bias)"
"""Why neither ``layer.weight`` nor the numbers in it can be set."""

Result = TypeVar("Result")

_IN_PLACE = (
    "iadd",
    "iand",
    "idiv",
    "ifloordiv",
    "ilshift",
    "imod",
    "imul",
    "ior",
    "ipow",
    "irshift",
    "isub",
    "itruediv",
    "ixor",
    "setitem",
)
"""Python's names for changes in place, such as ``weight += 1`` and ``weight[0] = 1``, without their underscores."""

_NO_CHANGE = ("requires_grad_", "detach_", "share_memory_", "rename_")
"""Methods whose names end with an underscore, though they leave the numbers as they are."""

_VIEWS = (
    *(
        "__getitem__",
        "as_strided",
        "chunk",
        "detach",
        "diagonal",
        "expand",
        "expand_as",
        "flatten",
        "movedim",
        "moveaxis",
    ),
    *("narrow", "permute", "ravel", "reshape", "reshape_as", "select", "split", "squeeze", "swapaxes", "swapdims", "t"),
    *("tensor_split", "transpose", "unbind", "unflatten", "unfold", "unsqueeze", "view", "view_as"),
)
"""Methods that return the same numbers in another shape. Writing into their results is refused too."""

_VIEW_PROPERTIES = ("data", "T", "mT", "H", "mH")


def refuse_to_set(*given: Any, **options: Any) -> NoReturn:
    """Refuse to set ``layer.weight``, or to change the numbers in it.

    Raises:
        AttributeError: Always.
    """
    raise AttributeError(f"{CANNOT_BE_SET}. To change a copy, take weight.clone()")


class SampledWeight(Tensor):
    """A weight that was sampled from an epitome. It can be read like any tensor, but not changed in place.

    These changes raise an ``AttributeError``: methods such as ``zero_`` and ``copy_``, functions of ``torch.nn.init``,
    ``weight[0] = 1``, ``weight *= 2``, ``weight.data.zero_()``, ``weight.data = other``, and the same for a view of the weight
    such as ``weight[0]``, ``weight.detach()`` and ``weight.view(-1)``.

    These changes cannot be refused, and have no effect on the layer: through ``weight.numpy()``, functions of torch such as
    ``torch.relu_(weight)`` and ``torch._foreach_zero_([weight])``, and the argument ``out=weight``, which ``torch.nn.init.eye_``
    uses.

    Results of operations are ordinary tensors. So are ``weight.clone()``, ``nn.Parameter(weight)``, ``nn.Buffer(weight)``, and a
    weight read from a file: they can be changed. While torch compiles, traces or transforms the code, a layer returns ordinary
    tensors.

    Examples:
        >>> from nes_lab.nn.linear import EpitomeLinear
        >>> nn.init.zeros_(EpitomeLinear(4, 8, epitome_shape=(4, 4)).weight)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        AttributeError: weight is sampled from the epitome and cannot be set; use load_dense_(weight, bias)...
    """

    # results of operations are ordinary tensors
    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    def plain(self) -> Tensor:
        """Return the same numbers as an ordinary tensor, which can be changed in place."""
        return self.as_subclass(Tensor)

    def __deepcopy__(self, memo: dict) -> Tensor:
        return self.plain().__deepcopy__(memo)

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self.plain().__reduce_ex__(protocol)

    def __repr__(self, *given: Any, **options: Any) -> str:  # type: ignore[override]
        return self.plain().__repr__(*given, **options)

    def __setattr__(self, name: str, value: Any) -> None:
        # nn.Parameter(weight) and nn.Buffer(weight) set these on a detached tensor, which is then the user's own
        own = {"_is_param": nn.Parameter, "_is_buffer": Tensor}.get(name)
        if own is not None:
            self.__class__ = own  # type: ignore[assignment]
        Tensor.__setattr__(self, name, value)


def _like(weight: SampledWeight, result: Result) -> Result:
    """Let a result refuse changes in place, if it shares its memory with the weight."""
    if isinstance(result, tuple | list):
        return type(result)(_like(weight, part) for part in result)  # type: ignore[return-value]
    shares = type(result) is Tensor and torch._C._is_alias_of(result, weight)
    return result.as_subclass(SampledWeight) if shares else result  # type: ignore[union-attr, return-value]


def _view(method: Callable[..., Result]) -> Callable[..., Result]:
    def view(self: SampledWeight, *given: Any, **options: Any) -> Result:
        return _like(self, method(self, *given, **options))

    return view


def _complete() -> None:
    """Add to :class:`SampledWeight` the methods that refuse changes, and those whose results refuse them."""
    in_place = (n for n in dir(Tensor) if n.endswith("_") and not n.startswith("_") and n not in _NO_CHANGE)
    for name in (*in_place, *(f"__{n}__" for n in _IN_PLACE)):
        setattr(SampledWeight, name, refuse_to_set)
    for name in _VIEWS:
        setattr(SampledWeight, name, _view(getattr(Tensor, name)))
    for name in _VIEW_PROPERTIES:
        setattr(SampledWeight, name, property(_view(getattr(Tensor, name).__get__), refuse_to_set))


_complete()
