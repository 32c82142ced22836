"""Orders and seeds depend on (seed, epoch, position) and nothing else."""

from __future__ import annotations

import pytest
import torch

from nes_lab.datasets.sampling import (
    batch_indices,
    epoch_order,
    keyed_generator,
    limit_examples,
    share_of,
    stratified_subset,
    stream_seed,
)
from nes_lab.errors import DataError


def test_stream_seed_differs_for_neighboring_keys() -> None:
    seeds = {stream_seed(a, b, c) for a in range(20) for b in range(20) for c in range(20)}
    assert len(seeds) == 8000
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_stream_seed_accepts_negative_and_huge_keys() -> None:
    assert stream_seed(-1) != stream_seed(1)
    keyed_generator(2**70, -5)


def test_epoch_order_is_a_permutation_that_changes_with_seed_and_epoch() -> None:
    first = epoch_order(100, seed=3, epoch=0)
    assert first.sort().values.equal(torch.arange(100))
    assert first.equal(epoch_order(100, seed=3, epoch=0))
    assert not first.equal(epoch_order(100, seed=3, epoch=1))
    assert not first.equal(epoch_order(100, seed=4, epoch=0))


def test_epoch_order_leaves_the_global_generator_alone() -> None:
    before = torch.get_rng_state()
    epoch_order(10, 0, 0)
    stratified_subset(torch.tensor([0, 1, 0, 1]), 2, seed=0)
    assert torch.get_rng_state().equal(before)


def test_batch_indices_drop_a_short_last_batch_in_training_only() -> None:
    assert [len(b) for b in batch_indices(torch.arange(7), 3, drop_last=True)] == [3, 3]
    assert [len(b) for b in batch_indices(torch.arange(7), 3, drop_last=False)] == [3, 3, 1]


def test_stratified_subset_keeps_shares_within_one() -> None:
    labels = torch.tensor([0] * 50 + [1] * 30 + [2] * 20)
    chosen = stratified_subset(labels, 33, seed=1)
    counts = torch.bincount(labels[chosen])
    assert len(chosen.unique()) == 33
    for count, share in zip(counts.tolist(), (16.5, 9.9, 6.6), strict=True):
        assert abs(count - share) < 1


def test_limit_examples_says_what_it_leaves_out() -> None:
    labels = torch.arange(10).repeat(5)
    assert limit_examples(labels, 50, seed=0, classes=10) == (slice(None), ())
    kept, notes = limit_examples(labels, 4, seed=0, classes=10)
    assert len(labels[kept].unique()) == 4
    assert notes == ("limited to 4 training images, with none of 6 of the 10 classes",)


def test_share_of_refuses_a_batch_smaller_than_the_number_of_processes() -> None:
    with pytest.raises(DataError, match=r"batch of 2 images cannot be shared among 3 processes"):
        share_of(torch.arange(2), (0, 3))
