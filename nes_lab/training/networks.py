"""The networks of a training besides the one that learns: its average, and its form with synchronized batch norms."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist
from torch import nn

from nes_lab.errors import OptionError
from nes_lab.training import distributed
from nes_lab.training.recipe import Recipe

if TYPE_CHECKING:
    from timm.utils.model_ema import ModelEmaV3

__all__ = ["averaged", "check_norms", "share", "synchronized_norms"]


def averaged(model: nn.Module, recipe: Recipe) -> ModelEmaV3 | None:
    """Return the average of a network's weights to come, or None when the recipe has none.

    Examples:
        >>> averaged(nn.Linear(1, 1), Recipe(epochs=1, batch_size=1, lr=0.1)) is None
        True
    """
    if recipe.ema_decay is None:
        return None
    from timm.utils.model_ema import ModelEmaV3

    return ModelEmaV3(model, decay=recipe.ema_decay, use_warmup=recipe.ema_warmup)


def share(*networks: nn.Module | None, parameters: bool = False) -> None:
    """Give all processes the first one's buffers: batch norms' statistics differ by what each has seen last.

    Args:
        networks: Of the same shapes everywhere.
        parameters: The parameters too.
    """
    if distributed.world_size() == 1:
        return
    for network in filter(None, networks):
        for tensor in (*network.buffers(), *(network.parameters() if parameters else ())):
            whole = tensor.detach().contiguous()  # a copy where channels come last
            dist.broadcast(whole, src=0)
            with torch.no_grad():
                tensor.copy_(whole)


def check_norms(wanted: bool, device: torch.device) -> None:
    """Refuse to synchronize batch norms where torch cannot.

    Raises:
        OptionError: If the device is not a GPU.

    Examples:
        >>> check_norms(False, torch.device("cpu"))
    """
    if wanted and device.type != "cuda":
        raise OptionError(
            f"sync_batchnorm=True needs CUDA devices, and this training runs on {str(device)!r}; set it to false"
        )


@contextmanager
def synchronized_norms(model: nn.Module, wanted: bool) -> Iterator[None]:
    """Let batch norms take their statistics over all processes inside; the network's own modules come back afterwards.

    Raises:
        OptionError: If the whole network is one batch norm.
    """
    if not wanted or distributed.world_size() == 1:
        yield
        return
    from timm.layers import convert_sync_batchnorm

    places = [(parent, name, child) for parent in model.modules() for name, child in parent.named_children()]
    if convert_sync_batchnorm(model) is not model:
        raise OptionError("sync_batchnorm=True: the network is a single batch norm; put it inside a module")
    exchanged = [(parent, name, child) for parent, name, child in places if getattr(parent, name) is not child]
    try:
        yield
    finally:
        for parent, name, child in exchanged:
            setattr(parent, name, child)
