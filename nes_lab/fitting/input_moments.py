"""What layers are multiplied with: mean and covariance of their inputs over calibration batches."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from nes_lab.cost.count import evaluating, run_example
from nes_lab.errors import OptionError
from nes_lab.fitting.calibration_batches import batches_of
from nes_lab.progress_bar import OnProgress

__all__ = ["Moments", "input_moments"]

_DAMPING = 0.01
"""Share of the mean variance added to every variance: directions the batches hardly show must not be given away."""

_ROWS = 4
"""Positions a batch gives per number of an input window, drawn at random where there are more: enough for a covariance."""


@dataclass
class Moments:
    """Sums over input windows ``x`` of ``prod(weight_shape[1:])`` numbers each.

    Args:
        total: Sum of ``x``.
        square: Sum of ``x x^T``.
        count: Number of windows.
    """

    total: Tensor
    square: Tensor
    count: int = 0

    @property
    def mean(self) -> Tensor:
        """Mean window."""
        return self.total / max(self.count, 1)

    def second(self, centered: bool) -> Tensor:
        """Covariance, or the second moment where the mean cannot be mended; damped, so that it is positive definite."""
        found = self.square / max(self.count, 1)
        found = found - torch.outer(self.mean, self.mean) if centered else found
        level = found.diagonal().mean().clamp_min(1e-12)
        return found + _DAMPING * level * torch.eye(len(found), dtype=found.dtype, device=found.device)


def input_moments(
    model: nn.Module, names: Collection[str], batches: Any, show: OnProgress, seed: int = 0
) -> tuple[dict[str, Moments], int]:
    """Moments of the inputs of dense layers, all from the same passes through the dense network.

    Layers that are not called have none. Groups of a convolution share one moment, their average.

    Args:
        model: The dense network; it runs in evaluation and is left as it was.
        names: Of convolutions and linear layers.
        batches: As :func:`~nes_lab.fitting.calibration_batches.batches_of` takes them.
        show: Takes the news.
        seed: Of the positions drawn.

    Returns:
        Moments by name, and the number of batches.

    Raises:
        OptionError: If a batch is no input of the model, or holds NaN.
    """
    draw = torch.Generator().manual_seed(seed)
    found: dict[str, Moments] = {}
    handles = [
        model.get_submodule(name).register_forward_pre_hook(_watch(name, found, draw), with_kwargs=True)
        for name in names
    ]
    total = len(batches) if hasattr(batches, "__len__") and not isinstance(batches, Tensor) else 0
    count = 0
    try:
        with evaluating(model):
            for count, x in enumerate(batches_of("calibration", batches), start=1):
                run_example(model, x)
                show(
                    {"done": count, "total": max(total, count), "phase": "calibration", "label": f"{len(found)} layers"}
                )
    finally:
        for handle in handles:
            handle.remove()
    for name, sums in found.items():
        if not bool(sums.square.isfinite().all()):
            raise OptionError(f"calibration: what layer {name!r} is given is not finite; look for NaN in the batches")
    return {name: m for name, m in found.items() if m.count}, count


def _watch(name: str, found: dict[str, Moments], draw: torch.Generator) -> Callable[..., None]:
    def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        x = args[0] if args else next(iter(kwargs.values()))
        windows = _windows(module, x.detach())
        most = max(2048, _ROWS * windows.shape[1])
        if windows.shape[0] > most:
            windows = windows[torch.randperm(windows.shape[0], generator=draw)[:most].to(windows.device)]
        windows, size = windows.float(), windows.shape[1]
        if name not in found:
            zeros = torch.zeros(size, size + 1, dtype=torch.float64, device=x.device)
            found[name] = Moments(zeros[:, 0].clone(), zeros[:, 1:].clone())
        sums = found[name]
        sums.total += windows.sum(0, dtype=torch.float64)
        sums.square += (windows.T @ windows).double()
        sums.count += windows.shape[0]

    return hook


def _windows(module: nn.Module, x: Tensor) -> Tensor:
    """What a row of the weight is multiplied with, one row a position: ``(positions, prod(weight_shape[1:]))``."""
    if isinstance(module, nn.Linear):
        return x.reshape(-1, x.shape[-1])
    assert isinstance(module, nn.modules.conv._ConvNd)  # a plan names no other layers
    channels, taps = module.in_channels, module.weight[0, 0].numel()
    unfold = copy.copy(module)  # its own forward, with a weight that copies each tap into a channel of its own
    unit = (
        torch.eye(taps, dtype=x.dtype, device=x.device)
        .view(taps, 1, *module.kernel_size)
        .repeat(channels, *[1] * (module.weight.ndim - 1))
    )
    unfold._parameters = {"weight": nn.Parameter(unit, requires_grad=False), "bias": None}
    unfold.groups, unfold.out_channels = channels, channels * taps
    spread = type(module).forward(unfold, x)
    spread = spread.unsqueeze(0) if spread.ndim == module.weight.ndim - 1 else spread
    size = channels // module.groups * taps
    return spread.flatten(2).unflatten(1, (module.groups, size)).movedim(2, -1).reshape(-1, size)
