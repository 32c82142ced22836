"""Data sets and loaders of a user become data sets for training, or an error says what is wrong with them.

Tests: nes_lab/datasets/as_dataset.py, nes_lab/datasets/map_style.py, nes_lab/datasets/loaders.py
"""

import random
import re

import pytest
import torch
from torch.utils.data import DataLoader, Subset, TensorDataset

from nes_lab.datasets.as_dataset import as_dataset, as_split
from nes_lab.datasets.loaders import NOT_RESUMABLE
from nes_lab.datasets.map_style import known_targets
from nes_lab.errors import DataError, OptionError

INPUTS, TARGETS = torch.arange(12.0).reshape(6, 1, 2), torch.tensor([0, 1, 2, 0, 1, 2])
PAIRS = (INPUTS, TARGETS)


class Shifted:
    """A map-style data set with random augmentation from all three global generators."""

    classes = ("cat", "dog")

    def __len__(self):
        return 6

    def __getitem__(self, position):
        return INPUTS[position] + random.random() + torch.rand(1), float(position)


def loader(pairs=PAIRS, batch_size=4, **options):
    return DataLoader(TensorDataset(*pairs), batch_size=batch_size, **options)


def test_as_dataset_of_map_style_data_gives_the_same_batches_again():
    data = as_dataset((Shifted(), Shifted()))
    first, again = (list(data.train.train_batches(2, seed=3, epoch=1)) for _ in range(2))
    later = list(data.train.train_batches(2, seed=3, epoch=1, start=2))
    assert all(torch.equal(a, b) for x, y in zip(first, again, strict=True) for a, b in zip(x, y, strict=True))
    assert len(later) == 1 and torch.equal(later[0][0], first[2][0])
    shifts = [
        {
            float(target): float((given - INPUTS[int(target)])[0, 0])
            for pair in batches
            for given, target in zip(*pair, strict=True)
        }
        for batches in (first, data.train.train_batches(2, seed=3, epoch=2))
    ]
    assert shifts[0].keys() == shifts[1].keys() and all(shifts[0][key] != shifts[1][key] for key in shifts[0])
    assert first[0][1].dtype == torch.float32  # targets that are Python's numbers, not float64
    halves = [next(data.train.train_batches(4, 3, 1, shard=(rank, 2)))[1] for rank in (0, 1)]
    whole = next(data.train.train_batches(4, 3, 1))[1]
    assert torch.equal(torch.stack(halves, 1).flatten(), whole)


def test_as_dataset_reads_map_style_data_in_processes_of_its_own():
    alone, helped = (as_dataset((Shifted(), Shifted()), workers=workers) for workers in (0, 1))
    batches = [next(data.train.train_batches(3, seed=0, epoch=0)) for data in (alone, helped)]
    assert torch.equal(batches[0][0], batches[1][0])


def test_as_dataset_says_shape_and_classes():
    data = as_dataset((Shifted(), PAIRS), name="mine")
    assert (data.name, data.classes, data.input_shape, data.kind) == ("mine", ("cat", "dog"), (1, 2), "other")
    assert data.resumable and data.notes == () and data.steps_per_epoch(4) == 1
    assert as_dataset((PAIRS, PAIRS)).classes == ("0", "1", "2")
    assert as_dataset((PAIRS, PAIRS), classes=7).num_classes == 7
    assert as_dataset((PAIRS, PAIRS), classes=["a", "b", "c"]).classes == ("a", "b", "c")
    assert as_dataset(((INPUTS, INPUTS), (INPUTS, INPUTS))).num_classes == 0
    words = as_dataset(((INPUTS.long(), TARGETS), PAIRS))
    assert words.example_input().dtype == torch.long
    assert as_dataset(data) is data


def test_as_dataset_of_loaders_keeps_their_batches_and_says_that_they_do_not_resume():
    data = as_dataset((loader(batch_size=2), loader()))
    assert not data.resumable and data.notes == (NOT_RESUMABLE,)
    assert (data.batch_size, data.steps_per_epoch(2), data.steps_per_epoch(4), len(data.train)) == (2, 3, 1, 6)
    (step,) = data.train.train_batches(4, seed=0, epoch=0)  # two batches joined; the third is left over
    assert torch.equal(step[1], TARGETS[:4])
    later = list(data.train.train_batches(2, seed=0, epoch=0, start=2))
    assert len(later) == 1 and torch.equal(later[0][1], TARGETS[4:])
    assert [len(targets) for _, targets in data.val.eval_batches(64)] == [4, 2]


def test_as_dataset_does_not_touch_the_global_generators():
    before = torch.get_rng_state()
    as_dataset((loader(shuffle=True), Shifted()))
    assert torch.equal(torch.get_rng_state(), before)


class Endless(torch.utils.data.IterableDataset):
    def __iter__(self):
        yield INPUTS[0], 0


class Short:
    def __len__(self):
        return 3

    def __iter__(self):
        yield INPUTS, TARGETS


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (loader(), "data=a DataLoader; give (training data, validation data)"),
        ((PAIRS, PAIRS, PAIRS), "data=a tuple of length 3"),
        (PAIRS, "data is one pair of tensors; give (training data, validation data)"),
        (((INPUTS, TARGETS[:3]), PAIRS), "shapes (6, 1, 2) and (3,)"),
        (([], PAIRS), "the training data is empty"),
        ((PAIRS, 7), "the validation data is a int"),
        (([{"x": 1, "y": 2}], PAIRS), "example 0 of the training data is a dict with x, y"),
        (([("text", 1)], PAIRS), "inputs of the training data are of type str"),
        (([(object(), 1)], PAIRS), "the inputs of the training data are of type object; return a tensor"),
        (([((torch.zeros(2), torch.zeros(2)), 1)], PAIRS), "several tensors per input are not possible here"),
        ((PAIRS, iter([PAIRS])), "the validation data is an iterator, which can be read only once"),
        ((DataLoader(Endless()), PAIRS), "the training data has no length"),
        ((loader(collate_fn=lambda pairs: {"x": pairs}), PAIRS), "batch 0 of the training data is a dict with x"),
        ((loader(collate_fn=lambda pairs: (INPUTS, 3)), PAIRS), "the targets of batch 0 of the training data are a int"),
    ],
)  # fmt: skip
def test_as_dataset_says_what_is_wrong(data, message):
    with pytest.raises(DataError, match=re.escape(message)):
        as_dataset(data)


def test_as_dataset_refuses_wrong_classes():
    for classes in (0, "ab", [1, 2]):
        with pytest.raises(OptionError, match="classes="):
            as_dataset((PAIRS, PAIRS), classes=classes)


def test_as_split_names_examples_of_other_shapes_even_from_another_process():
    rows = [(torch.zeros(2), 0), (torch.zeros(3), 0)]
    for workers in (0, 1):
        with pytest.raises(DataError, match=re.escape("the inputs of rows have different shapes: (2,), (3,)")):
            list(as_split(rows, "rows", workers).eval_batches(2))


def test_as_split_of_a_loader_refuses_several_processes_and_too_few_batches():
    split = as_split(Short(), "short")
    with pytest.raises(OptionError, match="loaders serve one process, and 2 processes train together"):
        next(split.train_batches(6, 0, 0, shard=(0, 2)))
    with pytest.raises(DataError, match="short has a length of 3 batches, but ended after 1"):
        list(split.train_batches(6, 0, 0))
    mixed = as_split([(torch.zeros(1, 2), TARGETS[:1])], "x")
    assert as_split(mixed) is mixed


def test_known_targets_are_found_without_reading():
    data = TensorDataset(*PAIRS)
    data.targets = "ignored: the tensors come first"
    assert torch.equal(known_targets(Subset(data, [4, 2])), torch.tensor([1, 2]))
    source = Shifted()
    assert known_targets(source) is None
    source.labels = [5, 4, 3, 2, 1, 0]
    assert known_targets(source).tolist() == [5, 4, 3, 2, 1, 0]
    source.targets = ["a"] * 6
    assert known_targets(source).tolist() == [5, 4, 3, 2, 1, 0]  # text cannot be a tensor
