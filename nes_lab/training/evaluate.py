"""Judging a network by images it has not learned from."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from nes_lab.datasets.spec import Split
from nes_lab.training import distributed
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
    together: bool = False,
    channels_last: bool = False,
) -> dict[str, float] | None:
    """Return mean cross entropy, top-1 and top-5 in percent; each module's training mode is put back afterwards.

    Args:
        model: A network on ``device``.
        split: What to judge by.
        batch_size: Images at a time; does not change the result beyond rounding.
        device: Where the images go.
        amp: As in training.
        should_stop: Asked before every batch.
        together: Share the batches among all processes, which must all call this; each gets the result of all.
        channels_last: Keep images with channels last.

    Returns:
        ``{"loss", "top1", "top5"}``, or None if stopped on the way.
    """
    device = torch.device(device)
    precision, meter, loss_of = Precision(device, amp), Meter(device), classification_loss()
    modes = [(module, module.training) for module in model.modules()]
    layout = torch.channels_last if channels_last else torch.preserve_format
    model.eval()
    try:
        with torch.no_grad():
            for batch in _batches(split, batch_size, together and distributed.world_size() > 1, should_stop):
                if batch is None:
                    return None
                images = batch[0].to(device, non_blocking=True)
                images = images.to(memory_format=layout) if images.ndim == 4 else images
                labels = batch[1].to(device, non_blocking=True)
                with precision.autocast():
                    logits = model(images)
                meter.update(loss_of(logits.float(), labels), logits, labels)
    finally:
        for module, mode in modes:
            module.training = mode
    return meter.means(together)


def _batches(
    split: Split, batch_size: int, together: bool, should_stop: Callable[[], bool]
) -> Iterator[tuple[Tensor, Tensor] | None]:
    """Yield batches, and None once it is time to stop."""
    if not together:
        for batch in split.eval_batches(batch_size):
            yield None if should_stop() else batch
        return
    rank, world = distributed.rank(), distributed.world_size()
    mine = iter(split.eval_batches(batch_size, shard=(rank, world)))
    for _ in range(math.ceil(math.ceil(len(split) / batch_size) / world)):  # as often as the process with most batches
        batch = distributed.next_together(mine)
        if any(distributed.agree(should_stop())):
            yield None
        elif batch is not None:
            yield batch
