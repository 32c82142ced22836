"""Choose the dtype of a training's forward pass.

Mixed precision is used if the device and the settings of the training allow it.

Tests: tests/training/test_recipe_checks.py
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch

from nes_lab.errors import OptionError, check_choice
from nes_lab.records.options import AmpMode
from nes_lab.training.recipe import AMP_MODES

__all__ = ["Precision"]

_ACCELERATE = {None: "no", torch.bfloat16: "bf16", torch.float16: "fp16"}


class Precision:
    """The dtype of a network's forward pass on a device.

    Args:
        device: Device of the network.
        amp: ``"auto"``: bfloat16 on GPUs that have it, float16 with loss scaling on other GPUs, float32 on CPU and MPS.
            ``"off"``: float32. ``"bf16"``, ``"fp16"``: this dtype, or an error if the device does not have it.

    Raises:
        OptionError: If the device does not have the dtype that ``amp`` requires.

    Examples:
        >>> Precision(torch.device("cpu"), "auto").name, Precision(torch.device("cpu"), "bf16").name
        ('float32', 'bfloat16')
    """

    def __init__(self, device: torch.device, amp: AmpMode) -> None:
        self.device, self.dtype = device, _dtype(device, check_choice("amp", amp, AMP_MODES))

    @property
    def name(self) -> str:
        """Name of the forward pass's dtype, such as ``"bfloat16"``."""
        return str(self.dtype or torch.float32).removeprefix("torch.")

    @property
    def accelerate(self) -> str:
        """Name that Accelerate uses for the forward pass's dtype: ``"no"`` (float32), ``"bf16"`` or ``"fp16"``."""
        return _ACCELERATE[self.dtype]

    def autocast(self) -> AbstractContextManager:
        """Return a context manager inside which forward passes use the dtype of this object."""
        return nullcontext() if self.dtype is None else torch.autocast(self.device.type, dtype=self.dtype)


def _dtype(device: torch.device, amp: AmpMode) -> torch.dtype | None:
    has_bf16 = device.type == "cpu" or (device.type == "cuda" and torch.cuda.is_bf16_supported())
    if amp == "off" or (amp == "auto" and device.type != "cuda"):
        return None
    if amp == "auto":
        return torch.bfloat16 if has_bf16 else torch.float16
    if amp == "bf16" and not has_bf16:
        raise OptionError(f"amp='bf16': the device {str(device)!r} has no bfloat16; use auto or off")
    if amp == "fp16" and device.type != "cuda":
        raise OptionError(f"amp='fp16' needs a CUDA device, not {str(device)!r}; use auto, bf16 or off")
    return torch.bfloat16 if amp == "bf16" else torch.float16
