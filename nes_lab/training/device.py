"""Find the torch device with a given name, and set how many CPU threads a training uses.

Tests: tests/experiment/test_run_experiment.py
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from nes_lab.errors import OptionError

__all__ = ["check_processes", "cpu_threads", "layout_of", "pick_device"]


def pick_device(name: str) -> torch.device:
    """Return the torch device with this name. The name ``auto`` means CUDA if there is a GPU, else the CPU.

    Raises:
        OptionError: If torch does not find the device on this machine.

    Examples:
        >>> pick_device("cpu")
        device(type='cpu')
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise OptionError(f"device={name!r} is not a device; use auto, cpu, mps, cuda or cuda:1") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise OptionError(f"device={name!r}: torch sees {torch.cuda.device_count()} CUDA devices; use auto or cpu")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise OptionError("device='mps' is not available here; use auto or cpu")
    return device


def check_processes(device: torch.device, processes: int) -> None:
    """Raise an error if a training has more processes than its device allows.

    Each GPU allows one process. The CPU allows any number, such as the four in the example.

    Raises:
        OptionError: If there are too many processes; the message says how many are possible.

    Examples:
        >>> check_processes(torch.device("cpu"), 4)
    """
    if processes == 1 or device.type == "cpu":
        return
    most = torch.cuda.device_count() if device.type == "cuda" and device.index is None else 1
    if processes > most:
        raise OptionError(
            f"processes={processes}: device={str(device)!r} can serve {most} (one process per GPU); use at most {most}, "
            "or device='cpu'"
        )


@contextmanager
def cpu_threads(number: int | None) -> Iterator[None]:
    """Set the number of CPU threads that torch uses inside the ``with`` block, and restore the previous number afterwards.

    Args:
        number: Number of CPU threads; None: the number is not changed.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(number or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def layout_of(inputs: Tensor, channels_last: bool) -> torch.memory_format:
    """Return the memory format in which a network gets a batch of inputs.

    Data sets may deliver images with their channels last. Without ``channels_last`` they are stored in torch's usual order: the
    layout of the input is passed from layer to layer, and epitome layers with learned starts take three times as long on a CPU if
    channels come last.

    Examples:
        >>> layout_of(torch.zeros(1, 3, 4, 4), channels_last=False)
        torch.contiguous_format
    """
    return torch.channels_last if channels_last and inputs.ndim == 4 else torch.contiguous_format
