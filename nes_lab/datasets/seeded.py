"""Give each example a seed of its own, so that its random augmentation does not depend on the examples before it.

Tests: tests/datasets/test_augment.py, tests/datasets/test_as_dataset.py
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from nes_lab.datasets.sampling import stream_seed

__all__ = ["Key", "SeededBatches", "seeded"]

Key = tuple[int, int]
"""Position of an example in its split, and the seed of its augmentation."""


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed the global generators of Python, NumPy and torch (CPU) inside the ``with`` block; restore them afterwards.

    Examples:
        >>> import random
        >>> with seeded(3): first = random.random()
        >>> with seeded(3): first == random.random()
        True
    """
    states = random.getstate(), np.random.get_state(), torch.default_generator.get_state()
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.default_generator.set_state(states[2])


class SeededBatches:
    """A batch sampler for torch's data loader, with batches that are set before each epoch.

    It yields each batch as a list of pairs: the position of an example, and the seed for this example. The seed is a hash of the
    integers in ``key``, such as the seed and the epoch of the run, and of the position.

    Attributes:
        batches: The batches of the epoch. Each is a tensor with the positions of its examples.
        key: Integers from which the seeds are computed.

    Examples:
        >>> sampler = SeededBatches()
        >>> sampler.batches, sampler.key = [torch.tensor([2, 0])], (7,)
        >>> [position for position, seed in next(iter(sampler))]
        [2, 0]
    """

    def __init__(self) -> None:
        self.batches: list[Tensor] = []  # replaced before each epoch, so worker processes can stay alive
        self.key: tuple[int, ...] = ()

    def __iter__(self) -> Iterator[list[Key]]:
        for batch in self.batches:
            yield [(position, stream_seed(*self.key, position)) for position in batch.tolist()]

    def __len__(self) -> int:
        return len(self.batches)
