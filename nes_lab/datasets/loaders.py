"""Serve a split from a data loader, such as torch's ``DataLoader``. The loader chooses the batches and their order.

A resumed training does not get the same batches as an uninterrupted one, because a loader cannot repeat the batches of a
certain epoch.

Tests: tests/datasets/test_as_dataset.py
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

from nes_lab.datasets.map_style import as_pair
from nes_lab.datasets.sampling import Shard
from nes_lab.datasets.seeded import seeded
from nes_lab.errors import DataError, OptionError

__all__ = ["NOT_RESUMABLE", "LoaderSplit"]

NOT_RESUMABLE = "not resumable bit for bit: the data comes from loaders"
"""The note of a data set whose batches come from loaders."""


class LoaderSplit:
    """A training or validation split whose batches come from a loader.

    For evaluation, the loader chooses the batch size. So the 64 in the example has no effect.

    Args:
        loader: An object that yields batches ``(inputs, targets)`` of tensors each time it is iterated over, and has a length:
            the number of batches.
        what: Name of the split in error messages.

    Attributes:
        batches: Number of batches of the loader.
        batch_size: Number of examples in the first batch.

    Raises:
        DataError: If the loader has no length, is empty, can be read only once, or yields something else.

    Examples:
        >>> from torch.utils.data import DataLoader, TensorDataset
        >>> split = LoaderSplit(DataLoader(TensorDataset(torch.zeros(5, 3), torch.arange(5)), batch_size=2))
        >>> split.batches, split.batch_size, [len(targets) for _, targets in split.eval_batches(64)]
        (3, 2, [2, 2, 1])
    """

    def __init__(self, loader: Iterable[Any], what: str = "the loader") -> None:
        self.loader, self.what = loader, what
        self.labels = torch.empty(0, dtype=torch.long)  # a loader does not tell its labels in advance
        self.batches = _number_of_batches(loader, what)
        self._first = self._peek()
        self.batch_size = len(self._first[1])

    def __len__(self) -> int:
        """Return the number of examples; if the loader does not tell it, an upper bound."""
        try:
            return min(len(self.loader.sampler), self.batches * self.batch_size)  # type: ignore[attr-defined]
        except (AttributeError, TypeError):
            return self.batches * self.batch_size

    def first(self) -> tuple[Tensor, Tensor]:
        """Return the first batch that was read."""
        return self._first

    def train_batches(
        self, batch_size: int, seed: int, epoch: int, start: int = 0, shard: Shard = (0, 1)
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield one batch ``(inputs, targets)`` for each training step of an epoch, from step number ``start`` on.

        Args:
            batch_size: Examples per step. Each step joins as many batches of the loader as fit into this number, but at least one.
            seed: Not used: the loader chooses the order.
            epoch: Not used, for the same reason.
            start: Number of the first step to yield. The loader's batches before it are read and dropped.
            shard: Must be ``(0, 1)``: a loader serves one process.

        Raises:
            OptionError: If several processes share the batches.
            DataError: If the loader yields fewer batches than its length, or something else than a pair of tensors.
        """
        _check_alone(shard)
        joined = max(1, batch_size // self.batch_size)
        source = self._pairs()
        for step in range(max(1, self.batches // joined)):
            parts = [pair for _, pair in zip(range(joined), source, strict=False)]
            if not parts:
                raise DataError(f"{self.what} has a length of {self.batches} batches, but ended after {step * joined}")
            if step >= start:
                yield _join(parts, self.what)

    def eval_batches(self, batch_size: int, shard: Shard = (0, 1)) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the batches ``(inputs, targets)`` of the loader as they are.

        Args:
            batch_size: Not used: the loader chooses it.
            shard: Must be ``(0, 1)``: a loader serves one process.
        """
        _check_alone(shard)
        return self._pairs()

    def _pairs(self) -> Iterator[tuple[Tensor, Tensor]]:
        for number, batch in enumerate(self.loader):
            inputs, targets = as_pair(batch, f"batch {number} of {self.what}")
            for name, part in (("inputs", inputs), ("targets", targets)):
                if not isinstance(part, Tensor) or part.ndim == 0:
                    raise DataError(
                        f"the {name} of batch {number} of {self.what} are a {type(part).__name__}; they should be a tensor "
                        "with the examples along its first axis"
                    )
            yield inputs, targets

    def _peek(self) -> tuple[Tensor, Tensor]:
        with seeded(0):  # the loader may draw from the global generators
            for pair in self._pairs():
                return pair
        raise DataError(f"{self.what} yields no batches")


def _number_of_batches(loader: Iterable[Any], what: str) -> int:
    if isinstance(loader, Iterator):
        raise DataError(f"{what} is an iterator, which can be read only once; give the loader itself")
    try:
        return len(loader)  # type: ignore[arg-type]
    except TypeError as error:
        raise DataError(f"{what} has no length; give a loader whose number of batches is known") from error


def _check_alone(shard: Shard) -> None:
    if shard != (0, 1):
        raise OptionError(
            f"loaders serve one process, and {shard[1]} processes train together; give map-style data sets instead"
        )


def _join(parts: list[tuple[Tensor, Tensor]], what: str) -> tuple[Tensor, Tensor]:
    if len(parts) == 1:
        return parts[0]
    try:
        return torch.cat([inputs for inputs, _ in parts]), torch.cat([targets for _, targets in parts])
    except RuntimeError as error:
        raise DataError(
            f"batches of {what} have different shapes and cannot be joined for accumulate: {error}"
        ) from error
