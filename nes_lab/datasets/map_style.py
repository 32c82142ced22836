"""Serve a split from a map-style data set: an object with a length that returns an (input, target) pair for each position.

Torch's and torchvision's data sets, lists of pairs and :class:`~torch.utils.data.TensorDataset` are such objects.

Tests: tests/datasets/test_as_dataset.py
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset, Subset, TensorDataset, default_collate

from nes_lab.datasets.contents import hash_source
from nes_lab.datasets.loader_split import SeededSplit
from nes_lab.datasets.seeded import Key, seeded
from nes_lab.errors import DataError
from nes_lab.text import list_some

__all__ = ["MapSplit", "as_pair", "known_targets"]


class _Examples(Dataset):
    """Data set that reads (input, target) pairs from another data set, and seeds the random generators before each pair."""

    def __init__(self, source: Any, what: str) -> None:
        self.source, self.what = source, what

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, key: Key) -> tuple[Any, Any]:
        position, seed = key
        with seeded(seed):
            given, target = as_pair(self.source[position], f"example {position} of {self.what}")
        # default_collate would make float64 of Python's numbers, and a network computes in float32
        return given, torch.tensor(target) if isinstance(target, float) else target


@dataclass
class MapSplit(SeededSplit):
    """A training or validation split that reads its examples from a map-style data set.

    The global random generators are seeded for each example, so random augmentation depends only on the seed of the run, the
    epoch and the example. The number of reading processes does not change the batches.

    Args:
        source: The map-style data set. Its inputs and targets are tensors, arrays or numbers of equal shapes.
        workers: Number of processes that read examples; with 0, the main process does it.
        what: Name of the split in error messages.

    Examples:
        >>> split = MapSplit([(torch.zeros(3), 0), (torch.ones(3), 1)])
        >>> inputs, targets = next(split.eval_batches(2))
        >>> inputs.shape, targets
        (torch.Size([2, 3]), tensor([0, 1]))
    """

    source: Any
    workers: int = 0
    what: str = "the data"

    def __post_init__(self) -> None:
        targets = known_targets(self.source)
        self.labels = torch.empty(0, dtype=torch.long) if targets is None else targets

    def __len__(self) -> int:
        return len(self.source)

    def contents(self) -> str:
        """Return a hash of what identifies the examples; empty if nothing does."""
        return hash_source(self.source)

    def first(self) -> tuple[Tensor, Tensor]:
        """Return the first example as a batch ``(inputs, targets)`` of one."""
        return next(self.eval_batches(1))

    def examples(self, training: bool) -> Dataset:
        """Return the pairs as a torch data set that seeds each of them."""
        return _Examples(self.source, self.what)

    def collate(self) -> _Collate:
        """Return the function that makes a batch of pairs."""
        return _Collate(self.what)


@dataclass(frozen=True)
class _Collate:
    """Makes a batch of (input, target) pairs. If this is impossible, the error says whether inputs or targets are the cause."""

    what: str

    def __call__(self, pairs: list[tuple[Any, Any]]) -> list[Tensor]:
        return [
            self._joined(name, list(part))
            for name, part in zip(("input", "target"), zip(*pairs, strict=True), strict=True)
        ]

    def _joined(self, name: str, parts: list[Any]) -> Tensor:
        try:
            joined = default_collate(parts)
        except (TypeError, RuntimeError) as error:
            shapes = sorted({tuple(part.shape) for part in parts if hasattr(part, "shape")})
            if len(shapes) > 1:
                raise DataError(f"the {name}s of {self.what} have different shapes: {list_some(shapes)}") from error
            raise self._wrong_type(name, parts[0]) from error
        if not isinstance(joined, Tensor):
            raise self._wrong_type(name, parts[0])
        return joined

    def _wrong_type(self, name: str, part: Any) -> DataError:
        about = f"the {name}s of {self.what} are of type {type(part).__name__}"
        hint = ", for example with transform=torchvision.transforms.ToTensor() for images" if name == "input" else ""
        if isinstance(part, tuple | list | Mapping):
            hint = f"; several tensors per {name} are not possible here, so join them into one and split it in the network or loss"
        return DataError(f"{about}; return a tensor, an array or a number{hint}")


def as_pair(item: Any, what: str) -> tuple[Any, Any]:
    """Return the two parts of an (input, target) pair.

    Args:
        item: The pair: a tuple or list of length 2.
        what: Name of the pair in the error message.

    Raises:
        DataError: If ``item`` is something else; the message says what it is.

    Examples:
        >>> as_pair([3, 4], "example 0")
        (3, 4)
    """
    if isinstance(item, tuple | list) and len(item) == 2:
        return item[0], item[1]
    if isinstance(item, Mapping):
        about = f"a dict with {list_some(list(item))}"
    else:
        about = f"a {type(item).__name__}" + (f" of length {len(item)}" if isinstance(item, tuple | list) else "")
    raise DataError(f"{what} is {about}; it should be a pair (input, target)")


def known_targets(source: Any) -> Tensor | None:
    """Return the targets of all examples of a map-style data set, without reading the examples.

    They are looked up in ``TensorDataset.tensors``, ``Subset.indices``, or the attribute ``targets`` or ``labels``.

    Returns:
        A tensor with one entry per example along its first axis, or None if the targets are not known.

    Examples:
        >>> known_targets(TensorDataset(torch.zeros(2, 3), torch.tensor([1, 0])))
        tensor([1, 0])
    """
    if isinstance(source, TensorDataset):
        return source.tensors[-1]
    if isinstance(source, Subset):
        targets = known_targets(source.dataset)
        return None if targets is None else targets[list(source.indices)]
    for name in ("targets", "labels"):
        values = getattr(source, name, None)
        if values is None or callable(values):
            continue
        try:
            targets = torch.as_tensor(values)
        except (TypeError, ValueError, RuntimeError):
            continue
        if targets.ndim and len(targets) == len(source):
            return targets
    return None
