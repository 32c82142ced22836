"""Where to train: the device a name stands for, and how many CPU threads it takes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from nes_lab.errors import OptionError

__all__ = ["check_processes", "cpu_threads", "pick_device"]


def pick_device(name: str) -> torch.device:
    """Return the device of a name; ``auto`` is CUDA where there is one, else the CPU.

    Raises:
        OptionError: If torch does not see it here.

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
    """Refuse more processes than the device serves.

    Raises:
        OptionError: With how many it serves.

    Examples:
        >>> check_processes(torch.device("cpu"), 4)
    """
    if processes == 1 or device.type == "cpu":
        return
    most = torch.cuda.device_count() if device.type == "cuda" and device.index is None else 1
    if processes > most:
        raise OptionError(
            f"processes={processes} is more than device={str(device)!r} serves, one a GPU: {most}; use at most that, or "
            "device='cpu'"
        )


@contextmanager
def cpu_threads(wanted: int | None) -> Iterator[None]:
    """Use this many CPU threads inside, and give the caller's number back; None changes nothing."""
    before = torch.get_num_threads()
    torch.set_num_threads(wanted or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
