"""Mix the images and labels of a batch by Mixup or CutMix from timm. The batch may have any size."""

from __future__ import annotations

import torch
from torch import Tensor

from nes_lab.errors import OptionError
from nes_lab.training.recipe import Recipe

__all__ = ["Mixing"]


class Mixing:
    """Mixes each image of a batch with another image of the batch, and mixes their labels in the same proportion.

    If the number of images is odd, the last image is not mixed. The random numbers come from numpy's global generator.
    Checkpoints save the state of this generator.

    Args:
        recipe: Training recipe with the settings ``mixup``, ``cutmix`` and ``label_smoothing``.
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
        self._cutmix = recipe.cutmix

    def __call__(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mixed images, and the mixed labels as a probability for every class, ``(N, classes)``.

        Raises:
            OptionError: If CutMix is on and the inputs are not images.
        """
        if self._cutmix > 0 and images.ndim != 4:
            raise OptionError(
                f"cutmix={self._cutmix:g} cuts rectangles out of images; for inputs of shape "
                f"{tuple(images.shape[1:])} use mixup alone"
            )
        even = len(labels) - len(labels) % 2
        unmixed = self._label(labels[even:], self._classes, smoothing=self._smoothing)
        if not even:
            return images, unmixed
        mixed, shares = self._mix(images[:even].clone(), labels[:even])
        return torch.cat((mixed, images[even:])), torch.cat((shares, unmixed))
