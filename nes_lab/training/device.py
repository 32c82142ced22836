"""Where to train: the device a name stands for, and how many CPU threads it takes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from nes_lab.errors import OptionError

__all__ = ["cpu_threads", "pick_device"]


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


@contextmanager
def cpu_threads(wanted: int | None) -> Iterator[None]:
    """Use this many CPU threads inside, and give the caller's number back; None changes nothing."""
    before = torch.get_num_threads()
    torch.set_num_threads(wanted or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
