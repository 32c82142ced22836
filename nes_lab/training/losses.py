"""Losses to train with."""

from __future__ import annotations

from torch import nn

__all__ = ["classification_loss"]


def classification_loss(label_smoothing: float = 0.0) -> nn.Module:
    """Return the cross entropy of logits and labels, in nats per image.

    Args:
        label_smoothing: Share of the target spread evenly over all classes.

    Examples:
        >>> import torch
        >>> round(float(classification_loss()(torch.zeros(2, 4), torch.tensor([0, 3]))), 4)
        1.3863
    """
    return nn.CrossEntropyLoss(label_smoothing=label_smoothing)
