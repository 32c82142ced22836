"""Recipes that the device, the data or the network does not allow."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nes_lab.errors import OptionError
from nes_lab.training.recipe_checks import check_training
from tests.training.nets import tiny_data, tiny_net, tiny_recipe, trainer


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"optimizer": "sgdd"}, "Did you mean 'sgd"),
        ({"optimizer": "adahessian"}, "second derivatives"),
        ({"optimizer_options": {"epps": 1}}, r"optimizer='sgd' with optimizer_options={'epps': 1} cannot be built"),
        ({"optimizer_options": {"eps": 1}}, "optimizer='sgd' has no option 'eps'"),
        ({"amp": "fp16"}, "amp='fp16' needs a CUDA device, not 'cpu'"),
        ({"accumulate": 5}, "batch_size=24 x accumulate=5 x processes=1 = 120 images, but there are only 96"),
    ],
)
def test_trainer_refuses_what_cannot_be_trained_here(change: dict, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        trainer(**change)


def test_check_sync_batchnorm_refuses_the_cpu() -> None:
    with pytest.raises(OptionError, match="sync_batchnorm=True needs CUDA devices"):
        trainer(sync_batchnorm=True)


def test_check_training_refuses_cutmix_of_sounds():
    data = replace(tiny_data(), image_size=0, length=64)
    with pytest.raises(OptionError, match="cutmix=1 cuts rectangles out of images; for sounds use mixup alone"):
        check_training(tiny_recipe(cutmix=1.0), data, tiny_net())
