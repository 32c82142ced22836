"""Prepare the images and labels of a training step, and compute the loss from the network's logits."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from nes_lab.cost.probe import in_mode
from nes_lab.errors import OptionError
from nes_lab.training.device import layout_of
from nes_lab.training.head import Head
from nes_lab.training.losses import classification_loss, kd_loss
from nes_lab.training.metrics import mean_of
from nes_lab.training.precision import Precision
from nes_lab.training.recipe import Recipe
from nes_lab.training.task import CLASSIFICATION, Task

__all__ = ["Objective"]


class Objective:
    """Prepares the images and labels of a training step, and computes the loss of the step.

    Args:
        recipe: Training recipe with the settings of mixing, label smoothing and distillation.
        classes: Number of classes.
        precision: Gives the device for the images, and the dtype of the teacher's forward pass.
        teacher: Dense network whose outputs are imitated (distillation). It is used only if ``kd_weight`` is above 0.
            It is set to evaluation mode, and its weights do not change. None: no teacher.
        task: The loss and the metrics; by default cross entropy.
        may_have_more: Whether the data may have more classes than ``classes``, because they were counted from the targets.

    Raises:
        OptionError: If ``kd_weight`` is above 0 and there is no teacher, or if the recipe has an option for labels of classes
            and the loss is another than cross entropy.

    Examples:
        >>> objective = Objective(Recipe(epochs=1, batch_size=2, lr=0.1), 3, Precision(torch.device("cpu"), "off"))
        >>> images, labels = objective.inputs(torch.zeros(2, 1, 4, 4), torch.tensor([0, 1]))
        >>> round(float(objective.loss(torch.zeros(2, 3), images, labels)), 3)
        1.099
    """

    def __init__(
        self,
        recipe: Recipe,
        classes: int,
        precision: Precision,
        teacher: nn.Module | None = None,
        task: Task = CLASSIFICATION,
        may_have_more: bool = False,
    ) -> None:
        _check_label_options(recipe, classes, task)
        if recipe.kd_weight > 0 and teacher is None:
            raise OptionError(
                f"kd_weight={recipe.kd_weight:g} needs a teacher; give the dense network as teacher=, or set kd_weight=0"
            )
        self.recipe, self.precision, self.task, self.classes = recipe, precision, task, classes
        self.teacher = in_mode(teacher.to(precision.device)) if teacher is not None and recipe.kd_weight > 0 else None
        if self.teacher is not None and recipe.channels_last:
            self.teacher.to(memory_format=torch.channels_last)
        self.head, self._largest = Head(classes, may_have_more), -1
        self._mixing = None
        if recipe.mixup > 0 or recipe.cutmix > 0:
            from nes_lab.training.mixing import Mixing

            self._mixing = Mixing(recipe, classes)
        self._loss = task.loss_on(precision.device, recipe.label_smoothing)
        self._mixed_label_loss = classification_loss()  # mixed labels are already smoothed

    def inputs(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Move images and labels to the device, and mix them if the training recipe has Mixup or CutMix.

        Returns:
            The images and the labels. Labels that are not mixed are class numbers ``(N,)``. Mixed labels are a
            probability for every class, ``(N, classes)``.
        """
        device, self._largest = self.precision.device, self.head.see(labels)
        images = images.to(device, non_blocking=True)
        labels = labels.to(device, non_blocking=True)
        images = images.to(memory_format=layout_of(images, self.recipe.channels_last))
        if self._mixing is None:
            return images, labels
        if labels.ndim != 1 or labels.is_floating_point():
            shape = f"{tuple(labels.shape)}, {labels.dtype}"
            raise OptionError(f"mixup and cutmix mix class numbers (N,), and the targets are {shape}; set both to 0")
        return self._mixing(images, labels)

    def unmixed(self, labels: Tensor) -> Tensor:
        """Return the class numbers for metrics. A mixed label counts as its most probable class.

        Args:
            labels: The labels that :meth:`inputs` returned.
        """
        return labels if self._mixing is None else labels.argmax(1)

    def loss(self, logits: Any, images: Tensor, labels: Tensor) -> Any:
        """Return the loss of a batch.

        This is the mean over the batch. A loss function of the user's own may return a loss per example or a pair
        ``(sum, count)`` instead.

        Args:
            logits: Outputs of the network.
            images: The images that :meth:`inputs` returned. The teacher network, if there is one, gets the same images.
            labels: The labels that :meth:`inputs` returned.
        """
        if self.task.own_loss is None:
            self.head.check(logits, self._largest)
        if self._mixing is not None and (unseen := logits.shape[1] - labels.shape[1]) > 0:
            labels = functional.pad(labels, (0, unseen))  # classes without an example among the targets
        label_loss = (self._loss if self._mixing is None else self._mixed_label_loss)(logits, labels)
        if self.teacher is None:
            return label_loss
        with torch.no_grad(), self.precision.autocast():
            teacher_logits = self.teacher(images)
        if teacher_logits.shape != logits.shape:
            raise OptionError(
                f"the teacher's outputs have shape {tuple(teacher_logits.shape)}, the network's {tuple(logits.shape)}; give a "
                "teacher for the same classes"
            )
        distillation_loss = kd_loss(logits, teacher_logits, self.recipe.kd_temperature)
        weight = self.recipe.kd_weight
        return (1 - weight) * mean_of(self.task.loss_name, label_loss) + weight * distillation_loss


def _check_label_options(recipe: Recipe, classes: int, task: Task) -> None:
    """Refuse Mixup and CutMix if the loss is not cross entropy, or if the number of classes is not known."""
    mixes = [name for name in ("mixup", "cutmix") if getattr(recipe, name)]
    if mixes and task.own_loss is not None:
        name = mixes[0]
        raise OptionError(f"{name}={getattr(recipe, name):g} mixes classes for cross entropy; with loss= set it to 0")
    if mixes and classes < 1:
        raise OptionError(
            f"{mixes[0]}={getattr(recipe, mixes[0]):g} needs the number of classes; the data does not say it"
        )
