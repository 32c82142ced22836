"""Load a data set by calling a function of the user's own, named as ``package.module:function``."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from nes_lab.datasets.as_dataset import as_dataset
from nes_lab.datasets.spec import DatasetSpec
from nes_lab.errors import DataError, NesLabError, OptionError
from nes_lab.import_spec import import_function, reason_of

if TYPE_CHECKING:
    from nes_lab.config import DataConfig

__all__ = ["load_imported"]

_ALWAYS_USED = ("name", "batch_size", "workers")
"""Fields of the data section that have an effect although the function does not get them."""


def load_imported(data: DataConfig, seed: int) -> DatasetSpec:
    """Import the function that a configuration names as ``data.name``, call it, and return its data as a data set.

    The function returns what :func:`~nes_lab.datasets.as_dataset.as_dataset` takes: a pair of training data and validation data.
    Each of the two is a map-style data set, a pair of tensors, or a loader. The function gets those fields of the data section
    for which it has a parameter, such as ``root``, ``limit`` and ``image_size``. It gets the seed if it has a parameter ``seed``.

    Args:
        data: The data section of a configuration; ``data.name`` is the function, as ``"package.module:function"``.
        seed: Seed of the experiment.

    Raises:
        OptionError: If the function cannot be imported or raises an error, or if a field is set for which it has no parameter.
        DataError: If the function returns something else than data.

    Examples:
        >>> from nes_lab.config import load_config
        >>> load_imported(load_config({"data": {"name": "collections:OrderedDict"}}).data, seed=0)
        Traceback (most recent call last):
        nes_lab.errors.DataError: data.name='collections:OrderedDict' returned no data: data=a OrderedDict; give ...
    """
    make = import_function(data.name, "data.name")
    arguments = _arguments(make, data, seed)
    try:
        made = make(**arguments)
    except NesLabError:
        raise
    except Exception as error:  # the user's function may raise anything
        raise OptionError(f"data.name={data.name!r} raised {reason_of(error)}") from error
    try:
        return as_dataset(made, name=data.name, workers=data.workers)
    except DataError as error:
        raise DataError(f"data.name={data.name!r} returned no data: {error}") from error
    except NesLabError:
        raise
    except Exception as error:  # the first example is read here, by code of the user's
        raise DataError(f"data.name={data.name!r}: reading its data raised {reason_of(error)}") from error


def _arguments(make: Callable[..., Any], data: DataConfig, seed: int) -> dict[str, Any]:
    """Return the arguments for a function of the user's own that makes a data set.

    These are the fields of the configuration's data section and the seed. A value is left out if the function has no
    parameter for it.
    """
    given = {name: getattr(data, name) for name in type(data).model_fields if name != "name"} | {"seed": seed}
    try:
        signature = inspect.signature(make)
    except (TypeError, ValueError):  # code that is not Python has no signature
        return {}
    for name, field in type(data).model_fields.items():
        if name not in signature.parameters and name not in _ALWAYS_USED and getattr(data, name) != field.default:
            raise OptionError(
                f"data.{name}={getattr(data, name)!r} has no effect: {data.name!r} takes {signature}; give the function a "
                f"parameter {name}, or leave the field out"
            )
    arguments = {name: value for name, value in given.items() if name in signature.parameters}
    try:
        signature.bind(**arguments)
    except TypeError as error:
        raise OptionError(
            f"data.name={data.name!r} takes {signature}: {error}; its parameters may be fields of the data section "
            f"({', '.join(given)}) and such with a default"
        ) from error
    return arguments
