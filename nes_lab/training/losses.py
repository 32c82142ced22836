"""Compute the losses of a training: cross entropy with labels, and distillation from a teacher network.

Tests: tests/training/test_objective.py
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["classification_loss", "kd_loss"]


def classification_loss(label_smoothing: float = 0.0) -> nn.Module:
    """Return a module that computes the mean cross entropy of logits and labels, in nats per image.

    Labels are class numbers ``(N,)``, or a probability for every class ``(N, classes)``.

    Args:
        label_smoothing: Fraction of each label's probability that is spread evenly over all classes. Use 0 for labels that are
            already smoothed.

    Examples:
        >>> import torch
        >>> round(float(classification_loss()(torch.zeros(2, 4), torch.tensor([0, 3]))), 4)
        1.3863
    """
    return nn.CrossEntropyLoss(label_smoothing=label_smoothing)


def kd_loss(logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    """Return the distillation loss, in nats per image. It is 0 if student and teacher predict the same probabilities.

    The logits of both networks are divided by the temperature ``T`` and turned into probabilities by softmax. The loss
    is the Kullback-Leibler divergence ``KL(teacher || student)`` of these probabilities, multiplied by ``T^2``. This
    factor keeps the size of the gradients almost the same for every ``T``.

    Args:
        logits: Outputs of the student, ``(N, classes)``.
        teacher_logits: Outputs of the teacher, ``(N, classes)``.
        temperature: The temperature ``T``, above 0.

    Examples:
        >>> import torch
        >>> float(kd_loss(torch.tensor([[1.0, 2.0]]), torch.tensor([[1.0, 2.0]]), 4.0))
        0.0

    Source: Hinton, Vinyals, Dean, 2015, arXiv:1503.02531.
    """
    student = F.log_softmax(logits.float() / temperature, dim=1)
    teacher = F.log_softmax(teacher_logits.float() / temperature, dim=1)
    return F.kl_div(student, teacher, reduction="batchmean", log_target=True) * temperature**2
