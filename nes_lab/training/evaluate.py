"""Evaluate a network on a split of a data set, such as the validation images."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from nes_lab.datasets.spec import Split
from nes_lab.records.options import AmpMode
from nes_lab.training import distributed
from nes_lab.training.losses import classification_loss
from nes_lab.training.precision import Precision
from nes_lab.training.running_metrics import RunningMetrics

__all__ = ["evaluate"]


def _never() -> bool:
    return False


def evaluate(
    model: nn.Module,
    split: Split,
    *,
    batch_size: int = 256,
    device: torch.device | str = "cpu",
    amp: AmpMode = "off",
    should_stop: Callable[[], bool] = _never,
    all_ranks: bool = False,
    channels_last: bool = False,
) -> dict[str, float] | None:
    """Return a network's mean cross entropy, and its top-1 and top-5 accuracy in percent, on the images of a split.

    The network runs in evaluation mode. Afterwards every module is set back to its previous mode.

    Args:
        model: A network on ``device``.
        split: The images and labels.
        batch_size: Number of images per forward pass. It changes the returned values only by rounding errors.
        device: Device of the network. The images are moved to this device.
        amp: Mixed precision: ``"auto"`` (on GPUs), ``"off"``, ``"bf16"`` or ``"fp16"``.
        should_stop: Function that is called before every batch. If it returns True, the evaluation stops.
        all_ranks: True: divide the batches among all processes of a training. Every process must then call this
            function, and each gets the values for all images.
        channels_last: Store the images in torch's channels-last memory format.

    Returns:
        A dict with ``loss``, ``top1`` and ``top5``, or None if the evaluation was stopped.
    """
    device = torch.device(device)
    precision, metrics, loss_of = Precision(device, amp), RunningMetrics(device), classification_loss()
    modes = [(module, module.training) for module in model.modules()]
    layout = torch.channels_last if channels_last else torch.preserve_format
    model.eval()
    try:
        with torch.no_grad():
            for batch in _batches(split, batch_size, all_ranks and distributed.world_size() > 1, should_stop):
                if batch is None:
                    return None
                images = batch[0].to(device, non_blocking=True)
                images = images.to(memory_format=layout) if images.ndim == 4 else images
                labels = batch[1].to(device, non_blocking=True)
                with precision.autocast():
                    logits = model(images)
                metrics.update(loss_of(logits.float(), labels), logits, labels)
    finally:
        for module, mode in modes:
            module.training = mode
    return metrics.means(all_ranks)


def _batches(
    split: Split, batch_size: int, all_ranks: bool, should_stop: Callable[[], bool]
) -> Iterator[tuple[Tensor, Tensor] | None]:
    """Yield the batches of a split. Yield None instead of a batch if the evaluation should stop."""
    if not all_ranks:
        for batch in split.eval_batches(batch_size):
            yield None if should_stop() else batch
        return
    rank, world = distributed.rank(), distributed.world_size()
    own_batches = iter(split.eval_batches(batch_size, shard=(rank, world)))
    for _ in range(math.ceil(math.ceil(len(split) / batch_size) / world)):  # all processes repeat equally often
        batch = distributed.next_on_all_ranks(own_batches)
        if any(distributed.max_over_ranks(should_stop())):
            yield None
        elif batch is not None:
            yield batch
