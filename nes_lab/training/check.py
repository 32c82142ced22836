"""What can be known to be wrong about a recipe before anything is trained."""

from __future__ import annotations

import torch
from torch import nn

from nes_lab.datasets.spec import DatasetSpec
from nes_lab.errors import OptionError
from nes_lab.training.networks import check_norms
from nes_lab.training.optim import build_optimizer, check_optimizer
from nes_lab.training.precision import Precision
from nes_lab.training.recipe import Recipe

__all__ = ["check_recipe", "check_training", "images_of_a_step"]


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


def check_training(recipe: Recipe, data: DatasetSpec, model: nn.Module, processes: int = 1) -> None:
    """Refuse a recipe that these data or an optimizer of this network's parameters do not allow.

    Raises:
        OptionError: Naming the option.

    Examples:
        >>> from nes_lab.datasets.digits import load_digits
        >>> check_training(Recipe(epochs=1, batch_size=8, lr=0.1), load_digits(limit=64), nn.Linear(64, 10))
    """
    images_of_a_step(recipe, len(data.train), processes)
    build_optimizer(model, recipe)
    if recipe.cutmix > 0 and data.kind != "image":
        raise OptionError(f"cutmix={recipe.cutmix:g} cuts images; sounds can take mixup only")


def images_of_a_step(recipe: Recipe, images: int, world: int) -> int:
    """Return how many images a step takes over all processes.

    Args:
        recipe: Says the batch and how many of them a step takes.
        images: How many there are to train on.
        world: How many processes there are.

    Raises:
        OptionError: If several processes or batches should share fewer images than that.

    Examples:
        >>> images_of_a_step(Recipe(epochs=1, batch_size=8, accumulate=2, lr=0.1), images=100, world=2)
        32
    """
    size = recipe.batch_size * recipe.accumulate * world
    if images < size and recipe.accumulate * world > 1:
        raise OptionError(
            f"a step takes batch_size={recipe.batch_size} x accumulate={recipe.accumulate} x processes={world} = {size} images, "
            f"and there are {images} to train on; use fewer"
        )
    return size
