"""Judging a network by images it has not learned from."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from nes_lab.datasets.spec import Split
from nes_lab.training.losses import classification_loss
from nes_lab.training.metrics import Meter
from nes_lab.training.precision import Precision

__all__ = ["evaluate"]


def _never() -> bool:
    return False


def evaluate(
    model: nn.Module,
    split: Split,
    *,
    batch_size: int = 256,
    device: torch.device | str = "cpu",
    amp: str = "off",
    should_stop: Callable[[], bool] = _never,
) -> dict[str, float] | None:
    """Return mean cross entropy, top-1 and top-5 in percent; each module's training mode is put back afterwards.

    Args:
        model: A network on ``device``.
        split: What to judge by.
        batch_size: Images at a time; does not change the result beyond rounding.
        device: Where the images go.
        amp: As in training.
        should_stop: Asked before every batch.

    Returns:
        ``{"loss", "top1", "top5"}``, or None if stopped on the way.
    """
    device = torch.device(device)
    precision, meter, loss_of = Precision(device, amp), Meter(device), classification_loss()
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.no_grad():
            for images, labels in split.eval_batches(batch_size):
                if should_stop():
                    return None
                images, labels = images.to(device, non_blocking=True), labels.to(device, non_blocking=True)
                with precision.autocast():
                    logits = model(images)
                meter.update(loss_of(logits.float(), labels), logits, labels)
    finally:
        for module, mode in modes:
            module.training = mode
    return meter.means()
