"""Build the moving average of a network's weights. Copy buffers and synchronize batch norms between training processes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist
from torch import nn

from nes_lab.errors import OptionError
from nes_lab.nn.copy_network import copy_network
from nes_lab.training import distributed
from nes_lab.training.recipe import Recipe

if TYPE_CHECKING:
    from timm.utils.model_ema import ModelEmaV3

__all__ = ["broadcast_buffers", "build_ema", "check_network", "check_sync_batchnorm", "synchronized_norms"]


def check_network(network: object, name: str = "network") -> None:
    """Raise an error if an argument is not a network.

    Args:
        network: The argument.
        name: Name of the argument.

    Raises:
        OptionError: If it is a class, a path or something else.

    Examples:
        >>> check_network(nn.Linear)
        Traceback (most recent call last):
        nes_lab.errors.OptionError: network is the class Linear; give a network that was made with it, such as Linear(...)
    """
    if isinstance(network, nn.Module):
        return
    if isinstance(network, type):
        made = f"give a network that was made with it, such as {network.__name__}(...)"
        raise OptionError(f"{name} is the class {network.__name__}; {made}")
    hint = "; nes_lab.from_pretrained(folder) loads a saved one" if isinstance(network, str | Path) else ""
    raise OptionError(f"{name} is a {type(network).__name__}; give a torch.nn.Module{hint}")


def build_ema(model: nn.Module, recipe: Recipe) -> ModelEmaV3 | None:
    """Return a copy of a network for the moving average of its weights, or None if the training recipe has no ``ema_decay``.

    Examples:
        >>> build_ema(nn.Linear(1, 1), Recipe(epochs=1, batch_size=1, lr=0.1)) is None
        True
    """
    if recipe.ema_decay is None:
        return None
    from timm.utils.model_ema import ModelEmaV3

    return ModelEmaV3(copy_network(model), decay=recipe.ema_decay, use_warmup=recipe.ema_warmup)


def broadcast_buffers(*networks: nn.Module, with_parameters: bool = False) -> None:
    """Copy the buffers of networks, such as batch norm statistics, from the first process of a training to all others.

    Args:
        networks: Networks that have the same shapes in every process.
        with_parameters: Copy the parameters too.
    """
    if distributed.world_size() == 1:
        return
    for network in networks:
        for tensor in (*network.buffers(), *(network.parameters() if with_parameters else ())):
            contiguous = tensor.detach().contiguous()  # a copy where channels come last
            dist.broadcast(contiguous, src=0)
            with torch.no_grad():
                tensor.copy_(contiguous)


def check_sync_batchnorm(sync_batchnorm: bool, device: torch.device) -> None:
    """Raise an error if synchronized batch norms are requested on a device that is not a CUDA GPU.

    Synchronized batch norms compute their statistics over all processes of a training. In the example they are not requested.

    Raises:
        OptionError: If synchronized batch norms are requested and the device is not a CUDA GPU.

    Examples:
        >>> check_sync_batchnorm(False, torch.device("cpu"))
    """
    if sync_batchnorm and device.type != "cuda":
        raise OptionError(
            f"sync_batchnorm=True needs CUDA devices, and this training runs on {str(device)!r}; set it to false"
        )


@contextmanager
def synchronized_norms(model: nn.Module, sync_batchnorm: bool) -> Iterator[None]:
    """Compute batch norm statistics over all processes inside the ``with`` block.

    At the end of the block, the network gets its own batch norms back.

    Args:
        model: The network; its batch norms are replaced inside the block.
        sync_batchnorm: True: replace the batch norms; False: nothing is changed.

    Raises:
        OptionError: If the network is nothing but a batch norm.
    """
    if not sync_batchnorm or distributed.world_size() == 1:
        yield
        return
    from timm.layers import convert_sync_batchnorm

    children = [(parent, name, child) for parent in model.modules() for name, child in parent.named_children()]
    if convert_sync_batchnorm(model) is not model:
        raise OptionError("sync_batchnorm=True: the network is a single batch norm; put it inside a module")
    replaced = [(parent, name, child) for parent, name, child in children if getattr(parent, name) is not child]
    try:
        yield
    finally:
        for parent, name, child in replaced:
            setattr(parent, name, child)
