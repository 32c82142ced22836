"""Mixup and CutMix through timm, for batches of any size."""

from __future__ import annotations

import torch
from torch import Tensor

from nes_lab.errors import OptionError
from nes_lab.training.recipe import Recipe

__all__ = ["Mixing"]


class Mixing:
    """Mixes each image of a batch with another, and their labels alike.

    Chances come from numpy's global generator, which is the trainer's own while it runs and is saved with it. The last
    image of an odd batch stays as it is.

    Args:
        recipe: Says how much of what; its label smoothing goes into the mixed labels.
        classes: Number of classes.

    Examples:
        >>> mixing = Mixing(Recipe(epochs=1, batch_size=3, lr=0.1, mixup=0.2), classes=5)
        >>> images, labels = mixing(torch.rand(3, 1, 4, 4), torch.tensor([0, 1, 2]))
        >>> labels.shape, labels[2].argmax().item()
        (torch.Size([3, 5]), 2)

    Source: timm's Mixup; Zhang et al., arXiv:1710.09412; Yun et al., arXiv:1905.04899.
    """

    def __init__(self, recipe: Recipe, classes: int) -> None:
        from timm.data.mixup import Mixup, mixup_target

        self._mix = Mixup(
            mixup_alpha=recipe.mixup,
            cutmix_alpha=recipe.cutmix,
            label_smoothing=recipe.label_smoothing,
            num_classes=classes,
        )
        self._label, self._classes, self._smoothing = mixup_target, classes, recipe.label_smoothing
        self._cuts = recipe.cutmix > 0

    def __call__(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return mixed images and, for each, its shares of all classes.

        Raises:
            OptionError: If CutMix is asked to cut a rectangle out of what is not an image.
        """
        if self._cuts and images.ndim != 4:
            raise OptionError(f"cutmix cuts images; inputs of shape {tuple(images.shape[1:])} can take mixup only")
        even = len(labels) - len(labels) % 2
        pure = self._label(labels[even:], self._classes, smoothing=self._smoothing)
        if not even:
            return images, pure
        mixed, shares = self._mix(images[:even].clone(), labels[:even])
        return torch.cat((mixed, images[even:])), torch.cat((shares, pure))
