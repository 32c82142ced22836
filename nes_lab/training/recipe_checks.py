"""Check whether the device, the data and the network allow a recipe (the settings of a training)."""

from __future__ import annotations

import torch
from torch import nn

from nes_lab.datasets.spec import DatasetSpec
from nes_lab.errors import OptionError
from nes_lab.training.networks import check_sync_batchnorm
from nes_lab.training.optim import build_optimizer, check_optimizer
from nes_lab.training.precision import Precision
from nes_lab.training.recipe import Recipe

__all__ = ["check_recipe", "check_training", "images_per_step"]


def check_recipe(recipe: Recipe, device: torch.device) -> None:
    """Raise an error if the device does not support an option of the training, or if the optimizer is unknown.

    The recipe in the example is allowed.

    Raises:
        OptionError: If an option is refused; the message names the option.

    Examples:
        >>> check_recipe(Recipe(epochs=1, batch_size=8, lr=0.1), torch.device("cpu"))
    """
    Precision(device, recipe.amp)
    check_sync_batchnorm(recipe.sync_batchnorm, device)
    check_optimizer(recipe.optimizer)


def check_training(recipe: Recipe, data: DatasetSpec, model: nn.Module, processes: int = 1) -> None:
    """Raise an error if the data or the network's parameters do not allow the recipe (the settings of the training).

    The recipe in the example is allowed.

    Raises:
        OptionError: If an option is refused; the message names the option.

    Examples:
        >>> from nes_lab.datasets.digits import load_digits
        >>> check_training(Recipe(epochs=1, batch_size=8, lr=0.1), load_digits(limit=64), nn.Linear(64, 10))
    """
    images_per_step(recipe, len(data.train), processes)
    build_optimizer(model, recipe)
    if recipe.cutmix > 0 and data.kind != "image":
        raise OptionError(f"cutmix={recipe.cutmix:g} cuts rectangles out of images; for sounds use mixup alone")


def images_per_step(recipe: Recipe, images: int, processes: int) -> int:
    """Return how many images one training step uses in all processes together: ``batch_size * accumulate * processes``.

    Args:
        recipe: Training recipe with the batch size and the number of batches per step.
        images: Number of training images.
        processes: Number of processes that train together.

    Raises:
        OptionError: If one step uses more images than there are. A step of one batch in one process is always allowed.

    Examples:
        >>> images_per_step(Recipe(epochs=1, batch_size=8, accumulate=2, lr=0.1), images=100, processes=2)
        32
    """
    size = recipe.batch_size * recipe.accumulate * processes
    if images < size and recipe.accumulate * processes > 1:
        raise OptionError(
            f"one step takes batch_size={recipe.batch_size} x accumulate={recipe.accumulate} x processes={processes} = "
            f"{size} images, but there are only {images} to train on; use a smaller value"
        )
    return size
