"""What is learned from a batch: images laid out and mixed, and the loss, of which a teacher may have a share."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nes_lab.errors import OptionError
from nes_lab.training.losses import classification_loss, kd_loss
from nes_lab.training.precision import Precision
from nes_lab.training.recipe import Recipe

__all__ = ["Lesson"]


class Lesson:
    """Turns a batch into what the network sees, and its answer into a loss.

    Args:
        recipe: Mixing, smoothing and the teacher's share.
        classes: Number of classes.
        precision: Where the images go, and what the teacher runs in.
        teacher: The dense network to learn from; only asked when ``kd_weight`` is above 0, in evaluation mode, and never
            changed.

    Raises:
        OptionError: If there should be a teacher and is none.

    Examples:
        >>> lesson = Lesson(Recipe(epochs=1, batch_size=2, lr=0.1), 3, Precision(torch.device("cpu"), "off"))
        >>> images, labels = lesson.inputs(torch.zeros(2, 1, 4, 4), torch.tensor([0, 1]))
        >>> round(float(lesson.loss(torch.zeros(2, 3), images, labels)), 3)
        1.099
    """

    def __init__(self, recipe: Recipe, classes: int, precision: Precision, teacher: nn.Module | None = None) -> None:
        if recipe.kd_weight > 0 and teacher is None:
            raise OptionError(
                f"kd_weight={recipe.kd_weight:g} needs a teacher; give the dense network as teacher=, or set kd_weight=0"
            )
        self.recipe, self.precision = recipe, precision
        self.teacher = teacher.to(precision.device).eval() if teacher is not None and recipe.kd_weight > 0 else None
        if self.teacher is not None and recipe.channels_last:
            self.teacher.to(memory_format=torch.channels_last)
        self._mixing = None
        if recipe.mixup > 0 or recipe.cutmix > 0:
            from nes_lab.training.mixing import Mixing

            self._mixing = Mixing(recipe, classes)
        self._task = classification_loss(recipe.label_smoothing)
        self._mixed_task = classification_loss()  # mixed labels are smoothed already

    def inputs(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return images and labels on the device, mixed if asked; mixed labels are shares of all classes."""
        device = self.precision.device
        images = images.to(device, non_blocking=True)
        labels = labels.to(device, non_blocking=True)
        if images.ndim == 4 and self.recipe.channels_last:
            images = images.to(memory_format=torch.channels_last)
        return (images, labels) if self._mixing is None else self._mixing(images, labels)

    def loss(self, logits: Tensor, images: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of an answer, in nats per image."""
        weight = self.recipe.kd_weight
        task = (self._mixed_task if labels.ndim > 1 else self._task)(logits, labels)
        if self.teacher is None:
            return task
        with torch.no_grad(), self.precision.autocast():
            wisdom = self.teacher(images)
        taught = kd_loss(logits, wisdom, self.recipe.kd_temperature)
        return (1 - weight) * task + weight * taught
