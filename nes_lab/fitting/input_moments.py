"""Measure the mean and covariance of the inputs of each layer over calibration batches.

With them, the error of a layer's output can be computed from the error of the layer's weight. Let ``d`` be the error in
the weight of one output channel, and ``C`` the covariance of the layer's inputs. The mean squared error of the output
is then ``d^T C d``.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from nes_lab.cost.left_as_it_was import left_as_it_was
from nes_lab.cost.probe import evaluating, run_example
from nes_lab.errors import OptionError
from nes_lab.fitting.calibration_batches import calibration_batches, number_of_batches
from nes_lab.progress_bar import OnProgress

__all__ = ["WINDOWS_PER_ENTRY", "Moments", "input_moments", "input_windows"]

DAMPING = 0.01
"""The share of the mean variance of a layer's inputs that is added to each variance on the diagonal of the covariance.

Directions that hardly occur in the calibration batches then still count.
"""

WINDOWS_PER_ENTRY = 4
"""The number of input windows used per batch is this times the length of a window, which is enough for a covariance.

If a batch has more windows, this many are drawn at random, but never fewer than ``MIN_WINDOWS``.
"""

MIN_WINDOWS = 2048
"""Number of input windows of a batch up to which all of them are used."""


@dataclass
class Moments:
    """Sums from which the mean and the covariance of a layer's inputs are computed.

    A window is the piece of the input that is multiplied with the weight of an output channel at one position. It is a
    vector ``x`` of length ``prod(weight_shape[1:])``.

    Args:
        total: Sum of all windows ``x``.
        square: Sum of all outer products ``x x^T``.
        count: Number of windows.
    """

    total: Tensor
    square: Tensor
    count: int = 0

    @property
    def mean(self) -> Tensor:
        """Mean of the layer's inputs: a vector with one entry for each weight of an output channel."""
        return self.total / max(self.count, 1)

    def second(self, centered: bool) -> Tensor:
        """Return the covariance of the layer's inputs ``x``, or the mean of the outer products ``x x^T``.

        A small multiple of the identity matrix is added, so that the result is positive definite.

        Args:
            centered: True: subtract the mean of the inputs first, which gives the covariance. False: return the mean of the
                outer products.
        """
        moment = self.undamped(centered)
        return moment + self.damping(centered) * torch.eye(len(moment), dtype=moment.dtype, device=moment.device)

    def damping(self, centered: bool) -> Tensor:
        """Return the number that :meth:`second` adds to the diagonal."""
        return DAMPING * self.undamped(centered).diagonal().mean().clamp_min(1e-12)

    def undamped(self, centered: bool) -> Tensor:
        """Return the covariance or the mean of ``x x^T``, as :meth:`second` does, with nothing added to the diagonal."""
        moment = self.square / max(self.count, 1)
        return moment - torch.outer(self.mean, self.mean) if centered else moment

    def target(self, weight: Tensor, centered: bool) -> tuple[Tensor, Tensor]:
        """Return the weight that a fit should come close to, and the matrix :meth:`second` that weighs its error.

        Args:
            weight: The dense weight.
            centered: Argument of :meth:`second`.
        """
        return weight, self.second(centered)

    def output_mean(self, weight: Tensor) -> Tensor:
        """Return the mean of the layer's output, without its bias, ``(output channels,)``.

        Args:
            weight: The dense weight.
        """
        return weight.flatten(1) @ self.mean

    def add(self, windows: Tensor) -> None:
        """Add windows to the sums.

        Args:
            windows: Windows of the layer's input, ``(number of windows, length of a window)``, float32.
        """
        self.total += windows.sum(0, dtype=torch.float64)
        self.square += (windows.T @ windows).double()
        self.count += windows.shape[0]


def input_moments(
    model: nn.Module, names: Collection[str], batches: Any, report: OnProgress, seed: int = 0
) -> tuple[dict[str, Moments], int]:
    """Measure the mean and covariance of the inputs of dense layers, in one pass over calibration batches.

    For a grouped convolution, the mean and covariance are averaged over the groups.

    Args:
        model: The dense model; it runs in evaluation mode and is not changed.
        names: Module names of convolutions and linear layers.
        batches: A data loader or a list of batches: tensors, ``(inputs, labels)`` or dicts of arguments.
        report: Function called with a :class:`~nes_lab.progress_bar.ProgressEvent` after each batch.
        seed: Seed of the sampling. From a large input, only a random sample of positions is used.

    Returns:
        A dict from layer name to :class:`Moments`, and the number of batches. The dict leaves out layers that the model
        does not call.

    Raises:
        OptionError: If a batch is not an input of the model, or contains NaN.
    """
    draw = torch.Generator().manual_seed(seed)
    moments: dict[str, Moments] = {}
    total, count = number_of_batches(batches), 0
    with evaluating(model):  # it removes the hooks too
        for name in names:
            record = _recorder(name, moments, draw)
            model.get_submodule(name).register_forward_pre_hook(record, with_kwargs=True)
        for count, x in enumerate(calibration_batches("calibration", batches, model), start=1):
            with left_as_it_was(x):
                run_example(model, x)
            label = f"{len(moments)} layers"
            report({"done": count, "total": max(total, count), "phase": "calibration", "label": label})
    for name, sums in moments.items():
        if not bool(sums.square.isfinite().all()):
            raise OptionError(f"calibration: the input of layer {name!r} is not finite; look for NaN in the batches")
    return {name: sums for name, sums in moments.items() if sums.count}, count


def _recorder(name: str, moments: dict[str, Moments], draw: torch.Generator) -> Callable[..., None]:
    """Return a forward pre-hook that adds a layer's input to the sums for the mean and covariance in ``moments[name]``."""

    def record(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        x = args[0] if args else next(iter(kwargs.values()))
        windows = input_windows(module, x.detach())
        limit = max(MIN_WINDOWS, WINDOWS_PER_ENTRY * windows.shape[1])
        if windows.shape[0] > limit:
            windows = windows[torch.randperm(windows.shape[0], generator=draw)[:limit].to(windows.device)]
        windows, size = windows.float(), windows.shape[1]
        if name not in moments:
            zeros = torch.zeros(size, size + 1, dtype=torch.float64, device=x.device)
            moments[name] = Moments(zeros[:, 0].clone(), zeros[:, 1:].clone())
        moments[name].add(windows)

    return record


def input_windows(module: nn.Module, x: Tensor) -> Tensor:
    """Cut a layer's input into windows, one for each position and each group of channels.

    A window is the piece of the input that is multiplied with the weight of an output channel at one position.

    Returns:
        The windows, ``(number of windows, prod(weight_shape[1:]))``.
    """
    if isinstance(module, nn.Linear):
        return x.reshape(-1, x.shape[-1])
    assert isinstance(module, nn.modules.conv._ConvNd)  # a plan names no other layers
    channels, taps = module.in_channels, module.weight[0, 0].numel()
    unfold = copy.copy(module)  # run the layer's own forward with a weight that copies each tap into a separate channel
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
