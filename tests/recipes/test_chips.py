"""The experiments to begin with are valid, and only what the paper states is called its own."""

import pytest

from nes_lab.config import load_config
from nes_lab.figures.reported import IMAGENET
from nes_lab.recipes.chips import CHIPS
from nes_lab.records.budget import parse_quantity


@pytest.mark.parametrize("chip", CHIPS, ids=lambda chip: chip.name)
def test_a_chip_is_a_valid_experiment(chip):
    assert load_config(chip.make()).compression is not None


def test_budgets_called_the_papers_are_published():
    budgets = {
        parse_quantity(load_config(chip.make()).compression.madds, "madds")
        for chip in CHIPS
        if chip.name.startswith("Paper")
    }
    published = {point.madds for point in IMAGENET if "NES" in point.name} | {350e6}  # EfficientNet: below 350 M
    assert budgets and budgets <= published
