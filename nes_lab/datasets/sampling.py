"""Choose the order of examples and seed their augmentation.

The order of examples and their random changes are computed from ``(seed, epoch, position)`` alone. So an interrupted run
gets the same images and crops after it resumes.
"""

from __future__ import annotations

import torch
from torch import Tensor

from nes_lab.errors import DataError, OptionError

__all__ = [
    "Shard",
    "batch_indices",
    "check_shard",
    "epoch_order",
    "hold_out",
    "keyed_generator",
    "limit_examples",
    "share_of",
    "stratified_subset",
    "stream_seed",
]

Shard = tuple[int, int]
"""A pair ``(rank, world)``: the number of this process, and the number of processes that share each batch."""

_MASK = (1 << 64) - 1
_HOLDOUT_SEED = 0x401D


def stream_seed(*key: int) -> int:
    """Hash integers into a 63-bit seed.

    Similar integers give unrelated seeds, so ``(seed=1, epoch=2)`` and ``(seed=2, epoch=1)`` share no random numbers.

    Args:
        key: Any integers, for example seed, epoch and position.

    Examples:
        >>> stream_seed(1, 2) == stream_seed(1, 2), stream_seed(1, 2) == stream_seed(2, 1)
        (True, False)
    """
    state = 0x9E3779B97F4A7C15
    for part in key:
        state = (state ^ (part & _MASK)) * 0xBF58476D1CE4E5B9 & _MASK
        state = (state ^ state >> 31) + 0x9E3779B97F4A7C15 & _MASK
        state = (state ^ state >> 30) * 0x94D049BB133111EB & _MASK
        state ^= state >> 29
    return state >> 1


def keyed_generator(*key: int) -> torch.Generator:
    """Return a CPU random generator whose seed is a hash of the integers ``key``.

    Examples:
        >>> a, b = keyed_generator(0, 1), keyed_generator(0, 1)
        >>> bool(torch.rand(1, generator=a) == torch.rand(1, generator=b))
        True
    """
    return torch.Generator().manual_seed(stream_seed(*key))


def epoch_order(size: int, seed: int, epoch: int) -> Tensor:
    """Return the random order in which an epoch visits ``size`` examples: a permutation of ``range(size)``.

    The order depends only on the three arguments.

    Examples:
        >>> sorted(epoch_order(4, seed=0, epoch=1).tolist())
        [0, 1, 2, 3]
    """
    return torch.randperm(size, generator=keyed_generator(seed, epoch, 0))


def batch_indices(order: Tensor, batch_size: int, drop_last: bool) -> list[Tensor]:
    """Cut the order in which images are visited into batches of indices.

    Args:
        order: Indices of images ``(N,)``, in the order in which they are visited.
        batch_size: Images per batch.
        drop_last: Leave out the last batch if it is shorter than the others. If there is only one batch, it is kept.

    Examples:
        >>> [len(b) for b in batch_indices(torch.arange(10), 4, drop_last=True)]
        [4, 4]
        >>> [len(b) for b in batch_indices(torch.arange(3), 4, drop_last=True)]
        [3]
    """
    batches = list(order.split(batch_size))
    # a short batch disturbs the statistics of batch norm
    if drop_last and len(batches) > 1 and len(batches[-1]) < batch_size:
        batches.pop()
    return batches


def check_shard(shard: Shard) -> Shard:
    """Check the number of a process and the number of processes, ``(rank, world)``, and return both.

    Raises:
        OptionError: If ``rank`` is negative, or not below ``world``.

    Examples:
        >>> check_shard((1, 2))
        (1, 2)
    """
    rank, world = shard
    if not 0 <= rank < world:
        raise OptionError(f"shard={shard!r} should be (rank, world) with 0 <= rank < world, such as (0, 1)")
    return shard


def share_of(batch: Tensor, shard: Shard) -> Tensor:
    """Return the part of a training batch that one process reads: ``batch[rank::world]``.

    Args:
        batch: Tensor with one entry per image along its first axis.
        shard: Number of the process, from 0, and number of processes: ``(rank, world)``.

    Raises:
        DataError: If the batch has fewer images than there are processes.

    Examples:
        >>> share_of(torch.arange(5), (1, 2)).tolist()
        [1, 3]
    """
    rank, world = check_shard(shard)
    if len(batch) < world:
        raise DataError(
            f"a batch of {len(batch)} images cannot be shared among {world} processes; use fewer processes, a larger "
            "data.batch_size or more training images"
        )
    return batch[rank::world]


def stratified_subset(labels: Tensor, size: int, seed: int) -> Tensor:
    """Choose ``size`` examples at random, each class in proportion to its size.

    The largest-remainder method rounds the numbers per class.

    Args:
        labels: Class of every example, ``(N,)``.
        size: Number of examples to choose, at most ``N``.
        seed: Seed for choosing examples within a class.

    Returns:
        The positions of the chosen examples, in increasing order.

    Examples:
        >>> chosen = stratified_subset(torch.tensor([0, 0, 0, 0, 1, 1, 1, 1]), 4, seed=0)
        >>> torch.tensor([0, 0, 0, 0, 1, 1, 1, 1])[chosen].tolist()
        [0, 0, 1, 1]
    """
    counts = torch.bincount(labels)
    exact = counts.double() * size / len(labels)
    take = exact.floor().long()
    missing = size - int(take.sum())
    remainders = (exact - take).argsort(descending=True, stable=True)
    take[remainders[:missing]] += 1
    chosen = []
    for label, of_class in enumerate(take.tolist()):
        positions = (labels == label).nonzero().flatten()
        order = torch.randperm(len(positions), generator=keyed_generator(seed, label, 1))
        chosen.append(positions[order[:of_class]])
    return torch.cat(chosen).sort().values


def limit_examples(
    labels: Tensor, limit: int | None, seed: int, classes: int, what: str = "training images"
) -> tuple[Tensor | slice, tuple[str, ...]]:
    """Choose at most ``limit`` examples, each class in proportion to its size.

    Args:
        labels: Class of every example, ``(N,)``.
        limit: Largest number of examples to keep; None keeps all.
        seed: Seed for choosing the examples.
        classes: Number of classes.
        what: Name of the examples in the note, such as ``"training images"``.

    Returns:
        The positions of the examples to keep, and a tuple of notes. The positions are ``slice(None)`` if all examples are
        kept. A note says how many examples are kept, and how many classes have no kept example. In the first example, this is
        class 1, which has no examples at all.

    Examples:
        >>> limit_examples(torch.tensor([0, 0, 2, 2]), 2, seed=0, classes=3)[1]
        ('limited to 2 training images, with none of 1 of the 3 classes',)
        >>> limit_examples(torch.tensor([0, 1]), 100, seed=0, classes=2)
        (slice(None, None, None), ())
    """
    if limit is None or limit >= len(labels):
        return slice(None), ()
    chosen = stratified_subset(labels, limit, seed)
    missing = classes - len(labels[chosen].unique())
    hint = f", with none of {missing:,} of the {classes:,} classes" if missing else ""
    return chosen, (f"limited to {limit} {what}{hint}",)


def hold_out(
    labels: Tensor, holdout: int | None, classes: int, what: str = "training images"
) -> tuple[Tensor | slice, Tensor | None, tuple[str, ...]]:
    """Choose training examples that are held out: not trained on, and used for validation instead of the validation split.

    Each class is held out in proportion to its size. The choice depends on the labels alone, so that runs with different
    seeds hold out the same examples.

    Args:
        labels: Class of every training example, ``(N,)``.
        holdout: Number of examples to hold out; None holds out none.
        classes: Number of classes.
        what: Name of the examples in messages, such as ``"training images"``.

    Returns:
        The positions of the examples to train on, the positions of those held out (None if there are none), and a tuple of notes.

    Raises:
        DataError: If fewer than one example per class would be left to train on, or none of a class is.

    Examples:
        >>> train, held, notes = hold_out(torch.tensor([0, 0, 0, 1, 1, 1]), 2, classes=2)
        >>> len(train), torch.tensor([0, 0, 0, 1, 1, 1])[held].tolist(), notes
        (4, [0, 1], ('validated on 2 held-out training images; the validation split is not used',))
        >>> hold_out(torch.tensor([0, 1]), None, classes=2)
        (slice(None, None, None), None, ())
    """
    if holdout is None:
        return slice(None), None, ()
    if holdout > len(labels) - classes:
        raise DataError(
            f"data.holdout={holdout} of {len(labels):,} {what} leaves too few to train on; it should be at most "
            f"{max(0, len(labels) - classes):,}, which leaves one of each of the {classes:,} classes"
        )
    held = stratified_subset(labels, holdout, _HOLDOUT_SEED)
    is_train = torch.ones(len(labels), dtype=torch.bool)
    is_train[held] = False
    if lost := sorted(set(labels.tolist()) - set(labels[is_train].tolist())):
        raise DataError(
            f"data.holdout={holdout} leaves no {what} of {len(lost):,} classes to train on, such as class {lost[0]}; hold out fewer"
        )
    note = f"validated on {holdout:,} held-out {what}; the validation split is not used"
    return is_train.nonzero().flatten(), held, (note,)
