"""Training of a network with shared epitomes: resumed bit for bit, averaged, and split over processes."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from torch.optim.swa_utils import AveragedModel

from tests.shared_epitomes import owners, shared_net
from tests.training.nets import tiny_data, trainer
from tests.training.resuming import check_resumed
from tests.training.two_ranks import Action, in_two_ranks


@pytest.mark.parametrize(("routing", "optimizer"), [("random", "sgd"), ("free", "adamw")])
def test_training_resumes_exactly(tmp_path: Path, routing: str, optimizer: str) -> None:
    changes = {"optimizer": optimizer, "ema_decay": 0.9, "clip_grad": 5.0, "lr": 0.01}
    check_resumed(tmp_path, [2, 4], lambda: shared_net(routing, "stage"), **changes)


def test_copies_and_averages_stay_tied() -> None:
    net = shared_net("free")
    averaged = AveragedModel(net, use_buffers=True)
    for each in (copy.deepcopy(net), averaged, copy.deepcopy(net).double(), copy.deepcopy(net).half()):
        assert owners(each) == 1
    with torch.no_grad():
        net[0].epitome.mul_(3)
    averaged.update_parameters(net)
    x = torch.randn(2, 1, 8, 8)
    torch.testing.assert_close(averaged.eval()(x), net.eval()(x))
    names = [name for name, _ in net.named_parameters() if name.endswith("epitome")]
    assert names == ["0.epitome"]


def test_training_moves_the_epitome_far() -> None:
    net = shared_net()
    before = net[0].epitome.detach().clone()
    tr = trainer(net, tiny_data(), epochs=3, lr=0.01)
    tr.fit()
    moved = (tr.model[0].epitome.detach() - before).norm() / before.norm()
    assert moved > 0.02
    assert owners(tr.model) == 1


def _weights(folder: Path, batch_size: int) -> list:
    net = shared_net("random")
    net[6].p, net[3] = 0.0, torch.nn.Identity()
    tr = trainer(net, tiny_data(), epochs=1, lr=0.01, batch_size=batch_size)
    tr.fit()
    assert owners(tr.model) == 1
    return tr.model[0].epitome.tolist()


@pytest.mark.slow
def test_two_processes_learn_one_epitome(tmp_path: Path) -> None:
    first, second = in_two_ranks({"train": Action(_weights, (12,))}, tmp_path)["train"]
    assert first == second
    torch.testing.assert_close(torch.tensor(first), torch.tensor(_weights(tmp_path, 24)), atol=1e-3, rtol=1e-2)
