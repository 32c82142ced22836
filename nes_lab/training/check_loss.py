"""Try a loss on two examples before a run is created, so that a loss that does not suit network and data leaves no run behind.

Tests: tests/experiment/test_start_from.py.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from nes_lab.cost.left_as_it_was import left_as_it_was
from nes_lab.cost.probe import in_mode
from nes_lab.datasets.spec import DatasetSpec
from nes_lab.errors import OptionError
from nes_lab.nn.copy_network import copy_network
from nes_lab.training.task import Loss, Task

__all__ = ["check_loss"]


def check_loss(network: nn.Module, data: DatasetSpec, loss: Loss, device: torch.device) -> None:
    """Call a loss with the outputs of a network for two validation examples and with their targets.

    Args:
        network: The network; it does not change.
        data: The data.
        loss: Function of (outputs, targets).
        device: The device of the training.

    Raises:
        OptionError: If the loss fails. The message names the loss and the shapes.
    """
    trial = in_mode(copy_network(network).to(device))
    inputs, targets = next(iter(data.val.eval_batches(2)))
    with left_as_it_was(), torch.no_grad():
        outputs, targets = trial(inputs.to(device)), targets.to(device)
        task = Task.of(loss)
        try:
            task.loss_on(device)(outputs, targets)
        except (RuntimeError, ValueError, TypeError, IndexError) as error:
            about = f"outputs {_about(outputs)} and targets {_about(targets)}"
            raise OptionError(f"{task.loss_name} does not take {about}: {str(error).splitlines()[0]}") from error


def _about(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"of shape {tuple(value.shape)}, {str(value.dtype).removeprefix('torch.')}"
    return f"of type {type(value).__name__}"
