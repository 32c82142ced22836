"""Mean and covariance of the inputs of each layer, over calibration batches.

The squared error of a layer's output is a quadratic form of the error of its weight; the covariance of the inputs is its matrix.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from nes_lab.cost.probe import evaluating, run_example
from nes_lab.errors import OptionError
from nes_lab.fitting.calibration_batches import calibration_batches, number_of_batches
from nes_lab.progress_bar import OnProgress

__all__ = ["Moments", "input_moments"]

DAMPING = 0.01
"""Share of the mean variance that is added to every variance, so that directions which the batches hardly show keep a weight."""

WINDOWS_PER_ENTRY = 4
"""Windows used per batch and entry of a window, drawn at random where there are more: enough for a covariance."""

MIN_WINDOWS = 2048
"""Windows that are used per batch in any case, if there are so many."""


@dataclass
class Moments:
    """Sums over the windows of a layer's input: the vectors ``x`` of length ``prod(weight_shape[1:])`` that meet the weight.

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
        """Return the damped second moment of the windows, which is positive definite.

        Args:
            centered: Subtract the mean (covariance), for a layer whose bias or norm corrects a shift of the mean.
        """
        moment = self.square / max(self.count, 1)
        moment = moment - torch.outer(self.mean, self.mean) if centered else moment
        level = moment.diagonal().mean().clamp_min(1e-12)
        return moment + DAMPING * level * torch.eye(len(moment), dtype=moment.dtype, device=moment.device)


def input_moments(
    model: nn.Module, names: Collection[str], batches: Any, report: OnProgress, seed: int = 0
) -> tuple[dict[str, Moments], int]:
    """Return the moments of the inputs of dense layers, all measured in the same passes through the dense model.

    The groups of a grouped convolution share one moment, their average.

    Args:
        model: The dense model; it runs in evaluation mode and is not changed.
        names: Module names of convolutions and linear layers.
        batches: As :func:`~nes_lab.fitting.calibration_batches.calibration_batches` takes them.
        report: Called with a :class:`~nes_lab.progress_bar.ProgressEvent` per batch.
        seed: Seed of the sample of windows.

    Returns:
        Moments by name, without layers that are not called, and the number of batches.

    Raises:
        OptionError: If a batch is not an input of the model, or holds NaN.
    """
    draw = torch.Generator().manual_seed(seed)
    moments: dict[str, Moments] = {}
    handles = [
        model.get_submodule(name).register_forward_pre_hook(_recorder(name, moments, draw), with_kwargs=True)
        for name in names
    ]
    total, count = number_of_batches(batches), 0
    try:
        with evaluating(model):
            for count, x in enumerate(calibration_batches("calibration", batches), start=1):
                run_example(model, x)
                label = f"{len(moments)} layers"
                report({"done": count, "total": max(total, count), "phase": "calibration", "label": label})
    finally:
        for handle in handles:
            handle.remove()
    for name, sums in moments.items():
        if not bool(sums.square.isfinite().all()):
            raise OptionError(f"calibration: the input of layer {name!r} is not finite; look for NaN in the batches")
    return {name: sums for name, sums in moments.items() if sums.count}, count


def _recorder(name: str, moments: dict[str, Moments], draw: torch.Generator) -> Callable[..., None]:
    """Return a forward pre-hook that adds a layer's input to ``moments[name]``."""

    def record(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        x = args[0] if args else next(iter(kwargs.values()))
        windows = _windows(module, x.detach())
        limit = max(MIN_WINDOWS, WINDOWS_PER_ENTRY * windows.shape[1])
        if windows.shape[0] > limit:
            windows = windows[torch.randperm(windows.shape[0], generator=draw)[:limit].to(windows.device)]
        windows, size = windows.float(), windows.shape[1]
        if name not in moments:
            zeros = torch.zeros(size, size + 1, dtype=torch.float64, device=x.device)
            moments[name] = Moments(zeros[:, 0].clone(), zeros[:, 1:].clone())
        sums = moments[name]
        sums.total += windows.sum(0, dtype=torch.float64)
        sums.square += (windows.T @ windows).double()
        sums.count += windows.shape[0]

    return record


def _windows(module: nn.Module, x: Tensor) -> Tensor:
    """Return the vectors that each output channel's weight is multiplied with, ``(positions, prod(weight_shape[1:]))``."""
    if isinstance(module, nn.Linear):
        return x.reshape(-1, x.shape[-1])
    assert isinstance(module, nn.modules.conv._ConvNd)  # a plan names no other layers
    channels, taps = module.in_channels, module.weight[0, 0].numel()
    unfold = copy.copy(module)  # the layer's own forward, with a weight that copies each tap into a channel of its own
    unit = (
        torch.eye(taps, dtype=x.dtype, device=x.device)
        .view(taps, 1, *module.kernel_size)
        .repeat(channels, *[1] * (module.weight.ndim - 1))
    )
    unfold._parameters = {"weight": nn.Parameter(unit, requires_grad=False), "bias": None}
    unfold.groups, unfold.out_channels = channels, channels * taps
    unfolded = type(module).forward(unfold, x)
    unfolded = unfolded.unsqueeze(0) if unfolded.ndim == module.weight.ndim - 1 else unfolded
    size = channels // module.groups * taps
    return unfolded.flatten(2).unflatten(1, (module.groups, size)).movedim(2, -1).reshape(-1, size)
