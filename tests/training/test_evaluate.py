"""Loss and accuracy on a split."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from nes_lab.errors import DataError, OptionError
from nes_lab.training.evaluate import evaluate, evaluate_split
from tests.training.nets import tiny_data, tiny_net


def test_evaluate_restores_modes_and_does_not_depend_on_the_batch_size() -> None:
    net, data = tiny_net(), tiny_data()
    net.train()
    net[1].eval()
    whole, parts = evaluate_split(net, data.val, batch_size=360), evaluate_split(net, data.val, batch_size=50)
    assert [net[0].training, net[1].training] == [True, False]
    assert whole["top1"] == parts["top1"]
    assert whole["loss"] == pytest.approx(parts["loss"], rel=1e-6)  # float32 means of other batches


def test_evaluate_takes_data_sets_and_loaders_alike() -> None:
    net, data = tiny_net(), tiny_data()
    images, labels = next(data.val.eval_batches(360))
    pairs, seen = TensorDataset(images, labels), []
    loader = DataLoader(pairs, batch_size=50)
    expected = evaluate(net, data)
    for form in (data.val, pairs, (images, labels), loader, list(zip(images, labels, strict=True))):
        assert evaluate(net, form, on_progress=seen.append) == pytest.approx(expected, rel=1e-6)  # other batches
    assert seen[-1] == {"phase": "examples", "done": 360, "total": 360, "label": ""}
    with pytest.raises(DataError, match="the data is a int"):
        evaluate(net, 3)


def test_evaluate_says_what_to_give_instead_of_a_class_a_path_or_two_data_sets() -> None:
    data, own = tiny_data(), (torch.zeros(4, 3), torch.zeros(4, dtype=torch.long))
    with pytest.raises(OptionError, match=r"network is the class Linear; give .* Linear\(...\)"):
        evaluate(nn.Linear, own)
    with pytest.raises(OptionError, match=r"network is a str; .* nes_lab.from_pretrained"):
        evaluate("folder", data)
    with pytest.raises(DataError, match="give one of them"):
        evaluate(nn.Linear(3, 2), (own, own))
