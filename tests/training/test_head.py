"""The outputs of a network are compared with the classes of the data before the first update, on every way into a training."""

import warnings

import pytest
import torch
from torch import nn

import nes_lab
from nes_lab.datasets.as_dataset import as_dataset
from nes_lab.datasets.digits import load_digits
from nes_lab.errors import OptionError
from nes_lab.training.loop import Trainer
from nes_lab.training.recipe import Recipe

RECIPE = {"epochs": 1, "batch_size": 16, "lr": 0.1}


def net(outputs: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, outputs))


def pairs(classes: int = 10) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(32, 1, 8, 8), torch.arange(32) % classes


def named(classes: int = 10):
    return as_dataset((pairs(classes), pairs(classes)), classes=[f"class {i}" for i in range(classes)])


def ways(network, tmp_path):
    yield lambda: nes_lab.fine_tune(network, named(), recipe=RECIPE, progress=False)
    yield lambda: Trainer(network, load_digits(limit=32), Recipe(**RECIPE)).fit()
    yield lambda: nes_lab.train({"data": {"limit": 32}}, network=network, root=tmp_path, progress=False)
    yield lambda: nes_lab.train({"data": {"limit": 32}}, network=network, root=tmp_path, progress=False, check=False)
    yield lambda: nes_lab.train(network=network, data=named(), root=tmp_path, progress=False)


@pytest.mark.parametrize("outputs", [5, 1000])
@pytest.mark.parametrize("way", range(5))
def test_head_of_another_size_is_refused_before_the_weights_change(tmp_path, outputs, way):
    network = net(outputs)
    before = [parameter.clone() for parameter in network.parameters()]
    with pytest.raises(OptionError, match=rf"{outputs:,} outputs.* 10 classes|10 classes.* {outputs:,} outputs"):
        list(ways(network, tmp_path))[way]()
    assert all(map(torch.equal, before, network.parameters()))
    assert not list(tmp_path.glob("2*"))


def test_head_may_have_more_outputs_than_counted_classes_with_a_warning():
    """Nobody said how many classes there are, so a class without an example may be meant."""
    with pytest.warns(UserWarning, match="12 outputs, but the data has 10 classes among its targets"):
        report = nes_lab.fine_tune(net(12), (pairs(), pairs()), recipe=RECIPE, progress=False)
    assert any("12 outputs" in note for note in report.notes)


def test_a_run_may_have_more_outputs_than_counted_classes_also_with_mixed_labels(tmp_path):
    """The training data in memory may have no example of the last classes."""
    config = {"data": {"batch_size": 16}, "training": {"epochs": 1, "warmup_epochs": 0, "mixup": 0.2, "threads": 1}}
    with pytest.warns(UserWarning, match="10 outputs, but the data has 8 classes among its targets"):
        run = nes_lab.train(config, network=net(10), data=(pairs(8), pairs(8)), root=tmp_path, progress=False)
    assert run.state == "finished" and "10 outputs" in run.summary["note"]
    with pytest.raises(OptionError, match="has 5 outputs, and the data own has 8 classes"):
        nes_lab.train(config, network=net(5), data=(pairs(8), pairs(8)), root=tmp_path, progress=False)


def test_head_is_too_small_for_a_class_that_nobody_announced():
    """Loaders do not say how many classes they have; a GPU would end in a failed assertion."""
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(*pairs()), batch_size=16)
    with pytest.raises(OptionError, match="the targets reach up to class 9, but the network has 5 outputs"):
        nes_lab.fine_tune(net(5), loader, loader, RECIPE, progress=False)


def test_evaluate_compares_outputs_with_the_names_of_classes():
    with pytest.warns(UserWarning, match="1,000 outputs, but the data has 10 classes"):
        nes_lab.evaluate(net(1000), named())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        nes_lab.evaluate(net(1000), pairs())  # a part of the classes
    with pytest.raises(OptionError, match="5 outputs"):
        nes_lab.evaluate(net(5), named())


def test_a_loss_of_its_own_decides_what_the_outputs_mean():
    def loss(outputs, targets):
        return (outputs.mean(1) - targets).square().mean()

    nes_lab.fine_tune(net(3), named(), recipe=RECIPE | {"label_smoothing": 0.0}, loss=loss, progress=False)


def test_a_teacher_for_other_classes_is_refused():
    """One output would be spread over all classes in silence."""
    with pytest.raises(OptionError, match=r"teacher's outputs have shape \(16, 1\), the network's \(16, 10\)"):
        nes_lab.fine_tune(net(10), named(), recipe=RECIPE | {"kd_weight": 0.5}, teacher=net(1), progress=False)
