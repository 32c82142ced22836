"""What can be known to be wrong about a recipe before there are data and a network."""

from __future__ import annotations

import torch

from nes_lab.training.networks import check_norms
from nes_lab.training.optim import check_optimizer
from nes_lab.training.precision import Precision
from nes_lab.training.recipe import Recipe

__all__ = ["check_recipe"]


def check_recipe(recipe: Recipe, device: torch.device) -> None:
    """Refuse what the device does not have, and optimizers that do not exist.

    Raises:
        OptionError: Naming the option.

    Examples:
        >>> check_recipe(Recipe(epochs=1, batch_size=8, lr=0.1), torch.device("cpu"))
    """
    Precision(device, recipe.amp)
    check_norms(recipe.sync_batchnorm, device)
    check_optimizer(recipe.optimizer)
