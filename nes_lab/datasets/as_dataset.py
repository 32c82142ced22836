"""Turn the data that people have, such as torch's data sets and loaders, into a data set for training."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from nes_lab.datasets.loaders import NOT_RESUMABLE, LoaderSplit
from nes_lab.datasets.map_style import MapSplit
from nes_lab.datasets.spec import DatasetSpec, Split
from nes_lab.errors import DataError, OptionError

__all__ = ["as_dataset", "as_split"]

_FORMS = (
    "give (training data, validation data), each a map-style data set of (input, target) pairs, a pair of tensors "
    "(inputs, targets), or a DataLoader"
)


def as_dataset(
    data: Any, *, name: str = "own", classes: Sequence[str] | int | None = None, workers: int = 0
) -> DatasetSpec:
    """Make a data set for training from a pair of data sets or loaders.

    An interrupted training on map-style data sets resumes bit for bit, if the data sets draw random numbers only from the global
    generators of Python, NumPy and torch. An interrupted training on loaders does not.

    Args:
        data: A pair ``(training data, validation data)``. Each is a map-style data set, which returns an (input, target) pair
            for each position; a pair of tensors (inputs, targets); or a loader, which yields batches ``(inputs, targets)``. A
            :class:`~nes_lab.datasets.spec.DatasetSpec` is returned unchanged.
        name: Name of the data set in messages and records.
        classes: Class names, or their number. None: the attribute ``classes`` of the training data, or one more than the
            largest target if the targets are known integers, or none.
        workers: Number of processes that read examples of map-style data sets; with 0, the main process does it.

    Raises:
        DataError: If the data has another form, or is empty; the message says what it is.

    Examples:
        >>> pairs = [(torch.zeros(1, 8, 8), 0), (torch.ones(1, 8, 8), 1)]
        >>> data = as_dataset((pairs, pairs))
        >>> data.input_shape, len(data.train), data.resumable
        ((1, 8, 8), 2, True)
    """
    if isinstance(data, DatasetSpec):
        return data
    if not isinstance(data, tuple | list) or len(data) != 2:
        raise DataError(f"data={_about(data)}; {_FORMS}")
    if all(isinstance(part, Tensor) for part in data):
        raise DataError(f"data is one pair of tensors; {_FORMS}")
    sources = [_wrapped(part) for part in data]
    train, val = (as_split(part, what, workers) for part, what in zip(sources, _WHAT, strict=True))
    inputs, _ = train.first()  # type: ignore[attr-defined]  # as_split made it
    if isinstance(train, MapSplit) and isinstance(val, MapSplit):
        _check_alike(inputs, val.first()[0])
    from_loader = isinstance(train, LoaderSplit)
    resumable = not from_loader
    shape = tuple(inputs.shape[1:])
    found, unused, counted = _classes(classes, sources[0], train, val)
    return DatasetSpec(
        name=name,
        classes=found,
        image_size=shape[-1] if len(shape) == 3 else 0,
        in_channels=shape[0] if len(shape) > 1 else 1,
        train=train,
        val=val,
        mean=(),
        std=(),
        notes=(*unused, *(() if resumable else (NOT_RESUMABLE,))),
        shape=shape,
        dtype=inputs.dtype,
        batch_size=train.batch_size if from_loader else None,
        batches=train.batches if from_loader else None,
        resumable=resumable,
        counted_classes=counted,
    )


_WHAT = ("the training data", "the validation data")


def as_split(data: Any, what: str = "the data", workers: int = 0) -> Split:
    """Make a training or validation split from a map-style data set, a pair of tensors, or a loader.

    Args:
        data: The data set or loader. A split is returned unchanged. Of a
            :class:`~nes_lab.datasets.spec.DatasetSpec`, the validation split is returned.
        what: Name of the split in error messages.
        workers: Number of processes that read examples of a map-style data set.

    Raises:
        DataError: If the data has another form, or is empty; the message says what it is.

    Examples:
        >>> len(as_split((torch.zeros(6, 3), torch.zeros(6))))
        6
    """
    if isinstance(data, DatasetSpec):
        return data.val
    if hasattr(data, "eval_batches"):
        return data
    if _is_train_and_val(data):
        raise DataError(
            f"{what} is a pair of two data sets, such as (training data, validation data); give one of them"
        )
    data = _wrapped(data)
    if _is_loader(data):
        return LoaderSplit(data, what)
    if not hasattr(data, "__getitem__") or not hasattr(data, "__len__"):
        raise DataError(f"{what} is {_about(data)}; {_FORMS}")
    if len(data) == 0:
        raise DataError(f"{what} is empty")
    split = MapSplit(data, workers, what)
    split.first()  # a wrong form is reported now, not in the first epoch
    return split


def _is_train_and_val(data: Any) -> bool:
    """Return True for a pair of loaders, of data sets, or of pairs of tensors whose lengths agree."""
    if not isinstance(data, tuple) or len(data) != 2 or all(isinstance(part, Tensor) for part in data):
        return False
    return all(isinstance(part, DataLoader | Dataset) or _is_batch(part) for part in data)


def _is_batch(part: Any) -> bool:
    is_pair = isinstance(part, tuple) and len(part) == 2 and all(isinstance(each, Tensor) for each in part)
    return is_pair and part[0].ndim > 1 and part[1].ndim > 0 and len(part[0]) == len(part[1])


def _check_alike(train: Any, val: Any) -> None:
    """Raise an error if the validation inputs cannot be meant for the same network. Heights, widths and lengths may differ."""
    if not isinstance(train, Tensor) or not isinstance(val, Tensor):
        return
    has_channels = train.ndim >= 4 or (train.ndim == 2 and train.is_floating_point())
    if train.ndim != val.ndim or (has_channels and train.shape[1] != val.shape[1]):
        shapes = f"{tuple(val.shape[1:])}, but one of the training data has shape {tuple(train.shape[1:])}"
        raise DataError(f"an input of the validation data has shape {shapes}; give both in one shape")


def _is_loader(data: Any) -> bool:
    if isinstance(data, DataLoader | IterableDataset):
        return True
    return isinstance(data, Iterable) and not hasattr(data, "__getitem__") and not isinstance(data, str | bytes)


def _wrapped(data: Any) -> Any:
    """Return a pair of tensors as a map-style data set, and anything else unchanged."""
    is_pair = isinstance(data, tuple | list) and len(data) == 2 and all(isinstance(part, Tensor) for part in data)
    if not is_pair:
        return data
    inputs, targets = data
    if not inputs.ndim or not targets.ndim or len(inputs) != len(targets):
        raise DataError(
            f"a pair of tensors has shapes {tuple(inputs.shape)} and {tuple(targets.shape)}; give (inputs, targets) with the "
            "same number of examples along their first axes"
        )
    return TensorDataset(inputs, targets)


def _classes(
    classes: Sequence[str] | int | None, source: Any, *splits: Split
) -> tuple[tuple[str, ...], tuple[str, ...], bool]:
    """Return the class names, a sentence if the targets use few of them, and whether they were counted from the targets."""
    if isinstance(classes, int):
        if classes < 1:
            raise OptionError(f"classes={classes!r}; give the class names, or their number, which is at least 1")
        return tuple(map(str, range(classes))), (), False
    names = getattr(source, "classes", None) if classes is None else classes
    if isinstance(names, list | tuple) and all(isinstance(name, str) for name in names):
        return tuple(names), (), False
    if classes is not None:
        raise OptionError(f"classes={classes!r}; give the class names as a list of text, or their number")
    labels = [split.labels for split in splits]
    if any(not len(part) or part.ndim != 1 or part.is_floating_point() for part in labels):
        return (), (), False
    used, count = len(torch.cat(labels).unique()), int(torch.cat(labels).max()) + 1
    few = f"the targets use {used:,} of {count:,} classes, because the largest target is {count - 1:,}"
    return tuple(map(str, range(count))), (few,) if 2 * used < count else (), True


def _about(data: Any) -> str:
    if isinstance(data, tuple | list):
        return f"a {type(data).__name__} of length {len(data)}"
    return f"a {type(data).__name__}"
