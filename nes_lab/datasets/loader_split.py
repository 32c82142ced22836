"""Serve a split with torch's data loader: batches that depend on the seed, the epoch and the positions, not on the workers.

Tests: tests/datasets/test_file_split.py, tests/datasets/test_as_dataset.py
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from nes_lab.datasets.sampling import Shard, batch_indices, check_shard, epoch_order, share_of
from nes_lab.datasets.seeded import SeededBatches
from nes_lab.errors import DataError

__all__ = ["SeededSplit"]


class SeededSplit:
    """Base class of a split that torch's data loader reads, with a seed for each example.

    A subclass has the attribute ``workers``, a length, and :meth:`examples`.
    """

    workers: int

    def __len__(self) -> int:
        raise NotImplementedError

    def examples(self, training: bool) -> Dataset:
        """Return a torch data set whose examples are read by position and seed (:data:`~nes_lab.datasets.seeded.Key`)."""
        raise NotImplementedError

    def collate(self) -> Callable[[list[Any]], Any] | None:
        """Return the function that makes a batch of examples; None: torch's own."""
        return None

    def served(self, batches: Iterable[Any]) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the batches that the loader gives, as ``(inputs, targets)``."""
        yield from batches

    def train_batches(
        self, batch_size: int, seed: int, epoch: int, start: int = 0, shard: Shard = (0, 1)
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the training batches ``(inputs, targets)`` of one epoch, shuffled and augmented, from batch number ``start`` on.

        ``shard=(rank, world)`` divides each batch among ``world`` processes. Process number ``rank`` gets
        ``batch[rank::world]``.
        """
        batches = batch_indices(epoch_order(len(self), seed, epoch), batch_size, drop_last=True)[start:]
        return self._read([share_of(batch, shard) for batch in batches], (seed, epoch, 1), training=True)

    def eval_batches(self, batch_size: int, shard: Shard = (0, 1)) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield all examples in batches ``(inputs, targets)``: each example once, in order.

        ``shard=(rank, world)`` divides the batches among ``world`` processes. Process number ``rank`` gets the batches
        number ``rank``, ``rank + world`` and so on.
        """
        rank, world = check_shard(shard)
        batches = batch_indices(torch.arange(len(self)), batch_size, drop_last=False)
        return self._read(batches[rank::world], (), training=False)

    def _read(self, batches: list[Tensor], key: tuple[int, ...], training: bool) -> Iterator[tuple[Tensor, Tensor]]:
        loader = self._loader(training)
        sampler = loader.batch_sampler
        assert isinstance(sampler, SeededBatches)  # _loader uses this class only
        sampler.batches, sampler.key = batches, key
        try:
            yield from self.served(loader)
        except DataError as error:  # a worker puts its traceback before the message, so the last line is the message
            last = str(error).strip().splitlines()[-1]
            raise DataError(last.removeprefix("nes_lab.errors.DataError: ")) from error

    def _loader(self, training: bool) -> DataLoader:
        loaders: dict[bool, DataLoader] = self.__dict__.setdefault("_loaders", {})
        if training not in loaders:
            loaders[training] = DataLoader(
                self.examples(training),
                batch_sampler=SeededBatches(),  # type: ignore[arg-type]  # any iterable of lists works
                num_workers=self.workers,
                persistent_workers=self.workers > 0 and training,
                pin_memory=torch.cuda.is_available(),
                generator=torch.Generator(),  # without this generator, every pass would draw from the global one
                collate_fn=self.collate(),
            )
        return loaders[training]
