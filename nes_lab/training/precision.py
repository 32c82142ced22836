"""Mixed precision where the device has it, and a scaler where the precision needs one."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch

__all__ = ["Precision"]


class Precision:
    """What the forward pass runs in: bfloat16 on GPUs that have it, float16 with loss scaling on others, else float32.

    Args:
        device: Where the network is.
        amp: ``"auto"`` or ``"off"``; CPU and MPS stay in float32 either way.

    Examples:
        >>> Precision(torch.device("cpu"), "auto").name
        'float32'
    """

    def __init__(self, device: torch.device, amp: str) -> None:
        self.device = device
        self.dtype: torch.dtype | None = None
        if device.type == "cuda" and amp == "auto":
            self.dtype = torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
        self.scaler = torch.amp.GradScaler("cuda") if self.dtype is torch.float16 else None

    @property
    def name(self) -> str:
        """The forward pass's dtype, for records."""
        return str(self.dtype or torch.float32).removeprefix("torch.")

    def autocast(self) -> AbstractContextManager:
        """Return the context of a forward pass."""
        return nullcontext() if self.dtype is None else torch.autocast(self.device.type, dtype=self.dtype)

    def backward(self, loss: torch.Tensor) -> None:
        """Back-propagate, scaled if need be."""
        (loss if self.scaler is None else self.scaler.scale(loss)).backward()

    def state_dict(self) -> dict[str, float | int]:
        """Return the scaler's state; empty without one."""
        return {} if self.scaler is None else self.scaler.state_dict()

    def load_state_dict(self, state: dict[str, float | int]) -> None:
        """Continue from a saved state; one saved by a run without a scaler leaves the scaler fresh."""
        if self.scaler is not None and state:
            self.scaler.load_state_dict(state)
