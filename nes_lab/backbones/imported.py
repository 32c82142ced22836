"""Make a backbone by calling a function of the user's own, named as ``package.module:function``."""

from __future__ import annotations

import inspect
import weakref
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

from nes_lab.cost.probe import evaluating
from nes_lab.errors import NesLabError, OptionError
from nes_lab.import_spec import import_function, reason_of

__all__ = ["check_outputs", "imported_backbone"]

DEFAULT_CLASSES = 10
_FIELD = "backbone.name"
_made: weakref.WeakSet[nn.Module] = weakref.WeakSet()
"""Networks that the functions have returned before. Each call must return a new network."""


def imported_backbone(
    spec: str, *, num_classes: int | None, in_channels: int, width: float, options: Mapping[str, Any]
) -> nn.Module:
    """Import a function and call it to make a network.

    Args:
        spec: The function, as ``"package.module:function"``. It returns a new ``torch.nn.Module`` at each call.
        num_classes: Number of outputs. The function gets it only if it has a parameter of this name. None: the function's own
            default; 10 if it has none. 0: not known, so the function's own default.
        in_channels: Channels of the input. The function gets it only if it has a parameter of this name.
        width: Factor for the number of channels. The function gets it only if it is not 1.
        options: Further arguments of the function.

    Raises:
        OptionError: If the function cannot be imported, does not take the arguments, raises an error, or returns something
            else than a new network. Also if it needs a number of classes that is not known. The message says which of these it is.

    Examples:
        >>> imported_backbone("torch.nn:Identity", num_classes=10, in_channels=3, width=1.0, options={})
        Identity()
    """
    make = import_function(spec, _FIELD)
    if isinstance(make, nn.Module):
        raise OptionError(f"{_FIELD}={spec!r} is a network; give a function that makes a new one at each call")
    arguments = _arguments(make, spec, num_classes, in_channels, width, options)
    try:
        network = make(**arguments)
    except NesLabError:
        raise
    except Exception as error:  # the user's function may raise anything
        raise OptionError(
            f"{_FIELD}={spec!r} was called with {_shown(arguments)} and raised {reason_of(error)}"
        ) from error
    if not isinstance(network, nn.Module):
        raise OptionError(f"{_FIELD}={spec!r} returned a {type(network).__name__}; return a torch.nn.Module")
    if network in _made:
        raise OptionError(f"{_FIELD}={spec!r} returned the same network as before; make a new one at each call")
    _made.add(network)
    return network


def _arguments(
    make: Callable[..., Any],
    spec: str,
    num_classes: int | None,
    in_channels: int,
    width: float,
    options: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the keyword arguments with which to call a function that makes a network.

    Raise an OptionError if the function does not take them.
    """
    try:
        signature = inspect.signature(make)
    except (TypeError, ValueError):  # code that is not Python has no signature
        return dict(options)
    numbers: dict[str, int] = {"in_channels": in_channels}
    classes = signature.parameters.get("num_classes")
    is_required = classes is not None and classes.default is classes.empty
    if num_classes == 0 and is_required:
        raise OptionError(
            f"{_FIELD}={spec!r} needs num_classes, and the data does not say how many classes it has; let its function return "
            "nes_lab.datasets.as_dataset.as_dataset((training, validation), classes=10), or give num_classes a default"
        )
    if num_classes or is_required:
        numbers["num_classes"] = num_classes or DEFAULT_CLASSES
    arguments = {name: value for name, value in numbers.items() if name in signature.parameters}
    arguments |= ({} if width == 1.0 else {"width": width}) | dict(options)
    try:
        signature.bind(**arguments)
    except TypeError as error:
        raise OptionError(
            f"{_FIELD}={spec!r} takes {signature}, which does not suit {_shown(arguments)}: {error}; "
            "backbone.options holds its further arguments"
        ) from error
    return arguments


def _shown(arguments: Mapping[str, Any]) -> str:
    return f"({', '.join(f'{name}={value!r:.60}' for name, value in arguments.items())})"


def check_outputs(network: nn.Module, spec: str, example: Tensor, num_classes: int) -> None:
    """Run a network of the user's own once, in evaluation mode, and check the number of its outputs.

    Args:
        network: The network; it does not change.
        spec: The function that made it, for messages.
        example: One input, with a batch axis.
        num_classes: The number of outputs that the data asks for; 0: any output will do.

    Raises:
        OptionError: If the network cannot take such an input, or its output is not a tensor of shape ``(1, num_classes)``.

    Examples:
        >>> check_outputs(nn.Linear(4, 3), "my_networks:make", torch.zeros(1, 4), 10)
        Traceback (most recent call last):
        nes_lab.errors.OptionError: backbone.name='my_networks:make' has 3 outputs, and the data has 10 classes; ...
    """
    try:
        with evaluating(network, example):
            outputs = network(example)
    except Exception as error:  # the user's network may raise anything
        shape = tuple(example.shape)
        raise OptionError(f"{_FIELD}={spec!r} cannot take an input of shape {shape}: {reason_of(error)}") from error
    if not num_classes:
        return
    if not isinstance(outputs, Tensor):
        raise OptionError(
            f"{_FIELD}={spec!r} outputs a {type(outputs).__name__}; return one tensor of shape (N, classes)"
        )
    if outputs.ndim != 2:
        raise OptionError(
            f"{_FIELD}={spec!r} outputs a tensor of shape {tuple(outputs.shape)} for one input; return one of shape (N, classes)"
        )
    if outputs.shape[1] != num_classes:
        raise OptionError(
            f"{_FIELD}={spec!r} has {outputs.shape[1]:,} outputs, and the data has {num_classes:,} classes; give the function "
            "a parameter num_classes, which then gets the number of classes"
        )
