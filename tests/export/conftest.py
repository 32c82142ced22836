"""The folder of one saved model, written once and copied for each test that changes it."""

import shutil

import pytest
import torch

from nes_lab import save_pretrained
from tests.export.networks import Net, compressed
from tests.export.saving import NAMES, altered


@pytest.fixture(scope="session")
def saved_once(tmp_path_factory):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = compressed(Net(), NAMES, routing="random")
    folder = save_pretrained(model, tmp_path_factory.mktemp("saved") / "m")
    altered(
        folder,
        backbone={"name": "small_mobilenetv2", "num_classes": None, "in_channels": 3, "width": 1.0, "options": {}},
    )
    return folder


@pytest.fixture
def saved(saved_once, tmp_path):
    return shutil.copytree(saved_once, tmp_path / "m")
