"""The list of families is what looking for the smallest models gives."""

from __future__ import annotations

import json

import pytest

from nes_lab.backbones import families as home
from nes_lab.backbones.families import families, smallest_model
from nes_lab.errors import OptionError

timm = pytest.importorskip("timm")


def test_every_module_of_timm_is_there():
    made_with = json.loads(home._LIST.read_text())["timm"]
    if timm.__version__ != made_with:
        pytest.skip(f"the list was made with timm {made_with}; this is {timm.__version__}")
    assert sorted(families()) == sorted(timm.list_modules())


@pytest.mark.parametrize("name", ["starnet", "shvit"])
def test_looking_again_finds_the_same(name):
    found, known = smallest_model(name), families()[name]
    if timm.__version__ != json.loads(home._LIST.read_text())["timm"]:
        pytest.skip("another timm may have another smallest model")
    assert found == known and found.model in timm.list_models(module=name)


def test_an_unknown_family_names_the_closest():
    with pytest.raises(OptionError, match="Did you mean 'starnet'"):
        smallest_model("starnets")
