"""The list of families is what looking for the smallest models gives."""

from __future__ import annotations

import json

import pytest

from nes_lab.backbones.families import FAMILIES_FILE, families, smallest_model
from nes_lab.errors import OptionError

timm = pytest.importorskip("timm")


def test_families_are_the_modules_of_timm():
    made_with = json.loads(FAMILIES_FILE.read_text())["timm"]
    if timm.__version__ != made_with:
        pytest.skip(f"the list was made with timm {made_with}; this is {timm.__version__}")
    assert sorted(families()) == sorted(timm.list_modules())


def test_smallest_model_gives_the_entry_of_the_list():
    name = "shvit"
    again, listed = smallest_model(name), families()[name]
    if timm.__version__ != json.loads(FAMILIES_FILE.read_text())["timm"]:
        pytest.skip("another timm may have another smallest model")
    assert again == listed and again.model in timm.list_models(module=name)


def test_smallest_model_names_the_closest_family():
    with pytest.raises(OptionError, match="Did you mean 'starnet'"):
        smallest_model("starnets")
