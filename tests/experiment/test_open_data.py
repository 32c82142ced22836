"""A data set by its name, as a run loads it."""

from __future__ import annotations

import pytest

from nes_lab.backbones.preprocessing import set_preprocessing
from nes_lab.backbones.registry import create_backbone
from nes_lab.config import load_config
from nes_lab.datasets.write_image_folder import write_image_folder
from nes_lab.errors import OptionError
from nes_lab.experiment.load_data import load_data
from nes_lab.experiment.open_data import open_data
from nes_lab.records.preprocessing import Preprocessing


def test_opened_data_is_that_of_a_run():
    options = {"image_size": 12, "limit": 40, "normalize": "half"}
    opened, of_run = (
        open_data("digits", seed=3, **options),
        load_data(load_config({"seed": 3, "data": {"name": "digits", **options}})),
    )
    assert opened.identity == of_run.identity and opened.mean == (0.5,)
    assert open_data("digits", seed=4, **options).identity != opened.identity


def test_opened_data_is_prepared_for_a_network(tmp_path):
    folder = write_image_folder("digits", tmp_path)
    options = {"root": folder, "image_size": 16, "preprocess": "backbone"}
    with pytest.raises(OptionError, match=r"data\.preprocess='backbone'"):
        open_data("imagenet", **options)
    network = create_backbone("small_mobilenetv2")
    set_preprocessing(network, Preprocessing(16, "bicubic", 1.0, (0.1, 0.2, 0.3), (0.5, 0.5, 0.5)))
    data = open_data("imagenet", **options, network=network)
    assert data.mean == (0.1, 0.2, 0.3) and next(data.val.eval_batches(4))[0].shape == (4, 3, 16, 16)


@pytest.mark.parametrize(("options", "message"), [({"sise": 3}, r"data\.sise"), ({"root": "x"}, r"data\.root")])
def test_wrong_options_are_named(options, message):
    with pytest.raises(OptionError, match=message):
        open_data("digits", **options)
