"""Mixed precision where the device has it, or where it is insisted on."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch

from nes_lab.errors import OptionError, check_choice
from nes_lab.training.recipe import AMP_MODES

__all__ = ["Precision"]

_ACCELERATE = {None: "no", torch.bfloat16: "bf16", torch.float16: "fp16"}


class Precision:
    """What the forward pass runs in: bfloat16 on GPUs that have it, float16 with loss scaling on others, else float32.

    Args:
        device: Where the network is.
        amp: ``"auto"`` or ``"off"`` (CPU and MPS stay in float32 either way); ``"bf16"`` and ``"fp16"`` insist.

    Raises:
        OptionError: If the device does not have what is insisted on.

    Examples:
        >>> Precision(torch.device("cpu"), "auto").name, Precision(torch.device("cpu"), "bf16").name
        ('float32', 'bfloat16')
    """

    def __init__(self, device: torch.device, amp: str) -> None:
        self.device, self.dtype = device, _dtype(device, check_choice("amp", amp, AMP_MODES))

    @property
    def name(self) -> str:
        """The forward pass's dtype, for records."""
        return str(self.dtype or torch.float32).removeprefix("torch.")

    @property
    def accelerate(self) -> str:
        """What Accelerate calls it."""
        return _ACCELERATE[self.dtype]

    def autocast(self) -> AbstractContextManager:
        """Return the context of a forward pass."""
        return nullcontext() if self.dtype is None else torch.autocast(self.device.type, dtype=self.dtype)


def _dtype(device: torch.device, amp: str) -> torch.dtype | None:
    has_bf16 = device.type == "cpu" or (device.type == "cuda" and torch.cuda.is_bf16_supported())
    if amp == "off" or (amp == "auto" and device.type != "cuda"):
        return None
    if amp == "auto":
        return torch.bfloat16 if has_bf16 else torch.float16
    if amp == "bf16" and not has_bf16:
        raise OptionError(f"amp='bf16' is more than the device {str(device)!r} has; use auto or off")
    if amp == "fp16" and device.type != "cuda":
        raise OptionError(f"amp='fp16' needs a CUDA device, not {str(device)!r}; use auto, bf16 or off")
    return torch.bfloat16 if amp == "bf16" else torch.float16
