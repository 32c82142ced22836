"""Losses to train with: cross entropy with hard or soft targets, and a share that comes from a teacher."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["classification_loss", "kd_loss"]


def classification_loss(label_smoothing: float = 0.0) -> nn.Module:
    """Return the cross entropy of logits and labels, in nats per image.

    Labels are class numbers ``(N,)``, or shares of all classes ``(N, classes)``, which are taken as they are when they
    were smoothed before.

    Args:
        label_smoothing: Share of the target spread evenly over all classes.

    Examples:
        >>> import torch
        >>> round(float(classification_loss()(torch.zeros(2, 4), torch.tensor([0, 3]))), 4)
        1.3863
    """
    return nn.CrossEntropyLoss(label_smoothing=label_smoothing)


def kd_loss(logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    """Return ``T^2 * KL(teacher || student)`` of both softened by ``T``, in nats per image.

    The square keeps the size of the gradients when the temperature changes.

    Examples:
        >>> import torch
        >>> float(kd_loss(torch.tensor([[1.0, 2.0]]), torch.tensor([[1.0, 2.0]]), 4.0))
        0.0

    Source: Hinton, Vinyals, Dean, 2015, arXiv:1503.02531.
    """
    student = F.log_softmax(logits.float() / temperature, dim=1)
    teacher = F.log_softmax(teacher_logits.float() / temperature, dim=1)
    return F.kl_div(student, teacher, reduction="batchmean", log_target=True) * temperature**2
