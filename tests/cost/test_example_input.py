"""Descriptions of inputs: an input made from one has its structure, shapes, types and ranges."""

from __future__ import annotations

import json
from collections import namedtuple

import pytest
import torch
from torch.utils._pytree import tree_flatten

import nes_lab
from nes_lab import Budget
from nes_lab.cost.example_input import describe_input, make_input
from nes_lab.errors import OptionError

EXAMPLES = [
    torch.zeros(2, 3, dtype=torch.bfloat16),
    torch.tensor([[3, 9], [4, 4]]),
    torch.tensor([True, True]),
    torch.zeros(0, 4, dtype=torch.int32),
    torch.zeros((), dtype=torch.complex64),
    (torch.zeros(1, 2), [torch.ones(3, dtype=torch.uint8), None], 2.5),
    {"tokens": torch.tensor([5, 5]), "options": {"deep": (True, "cls", 3)}},
    torch.zeros(1, 2, device="meta", dtype=torch.int64),
]


@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
def test_an_input_made_from_a_description_has_its_structure(example):
    description = describe_input(example)
    made = make_input(description)
    assert tree_flatten(made)[1] == tree_flatten(example)[1]
    for ours, theirs in zip(tree_flatten(made)[0], tree_flatten(example)[0], strict=True):
        if not isinstance(theirs, torch.Tensor):
            assert ours == theirs and type(ours) is type(theirs)
            continue
        assert ours.shape == theirs.shape and ours.dtype == theirs.dtype
        if theirs.numel() and not theirs.is_meta and not theirs.is_floating_point() and not theirs.is_complex():
            assert ours.min() >= theirs.min() and ours.max() <= theirs.max()
    again = make_input(description)
    assert all(
        torch.equal(a, b)
        for a, b in zip(tree_flatten(made)[0], tree_flatten(again)[0], strict=True)
        if torch.is_tensor(a)
    )


def test_it_travels_in_the_plan_as_json_and_leaves_random_numbers_alone():
    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.table, self.fc = torch.nn.Embedding(9, 32), torch.nn.Linear(32, 32)

        def forward(self, tokens, mask=None):
            return self.fc(self.table(tokens)) * mask[..., None]

    example = {"tokens": torch.tensor([[1, 8]]), "mask": torch.tensor([[True, False]])}
    plan = nes_lab.plan_for_budget(Net(), Budget(params="70%"), example)
    again = nes_lab.CompressionPlan.from_json(plan.to_json())
    assert again == plan and again.example_input == describe_input(example)
    state = torch.random.get_rng_state()
    made = make_input(again.example_input)
    assert torch.equal(state, torch.random.get_rng_state())
    assert made["tokens"].min() >= 1 and made["tokens"].max() <= 8 and made["mask"].dtype == torch.bool
    calls = plan.layers["fc"].calls
    assert calls is not None and [(call.input_shape, call.times) for call in calls] == [((1, 2, 32), 1)]


@pytest.mark.parametrize(
    ("example", "named"),
    [
        (namedtuple("Pair", "a b")(torch.zeros(1), 2), "Pair"),
        ((torch.zeros(1), object()), "object"),
        (torch.zeros(2, 2).to_sparse(), "sparse"),
        ({3: torch.zeros(1)}, "dict"),
        (float("nan"), "float"),
    ],
)
def test_what_is_not_described_is_named(example, named):
    description = describe_input(example)
    json.dumps(description.value, allow_nan=False)
    with pytest.raises(OptionError, match=named):
        make_input(description)
