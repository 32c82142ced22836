"""Measure the inputs of each layer in the compressed network, and the outputs of the same layer in the dense network.

A sequential fit goes through the network layer after layer. All layers before the present one are fitted already, and their errors
change its inputs. Let ``x`` be an input of the layer in the dense network, and ``z`` the input for the same image and position in the
compressed network. The fit then minimizes the mean of ``||W x - V z||^2`` over the sampled weight ``V``. This is, apart from a constant,
the weighted distance of ``V`` from the weight ``W E[x z^T] E[z z^T]^-1``, the regression of the outputs on the new inputs. So the usual fit
does this if it gets that weight and ``E[z z^T]``.

Tests: tests/fitting/test_sequential.py
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from nes_lab.cost.left_as_it_was import left_as_it_was
from nes_lab.cost.probe import evaluating, run_example
from nes_lab.errors import OptionError
from nes_lab.fitting.input_moments import WINDOWS_PER_ENTRY, Moments, input_windows
from nes_lab.progress_bar import OnProgress

__all__ = ["SequentialMoments", "dense_outputs", "sequential_moments"]

MIN_WINDOWS = 4096
"""Number of input windows of a batch up to which all of them are used. More are drawn than for a fit of all layers at once, because the
regression of the outputs on the inputs must not follow the sample."""


class _Reached(BaseException):
    """Ends a forward pass at the layer that is measured; not an Exception, so that no network catches it."""


@dataclass
class SequentialMoments(Moments):
    """Sums over the inputs of a layer in the compressed network, and over its outputs in the dense network.

    Args:
        cross: Sum of ``y z^T`` over the outputs ``y`` of the dense layer, without its bias, and the inputs ``z``.
        output_total: Sum of ``y``.
        output_square: Sum of the squares of ``y``; None for a grouped convolution, whose outputs are not recorded.
    """

    cross: Tensor | None = None
    output_total: Tensor | None = None
    output_square: Tensor | None = None

    def target(self, weight: Tensor, centered: bool) -> tuple[Tensor, Tensor]:
        """Return the weight that predicts the dense layer's outputs best, and the second moments of the inputs.

        In directions in which the inputs hardly vary, the weight stays close to ``weight``.

        Args:
            weight: The dense weight.
            centered: True: the means of inputs and outputs are subtracted first.
        """
        assert self.cross is not None  # sequential_moments measures it
        moment, damping = self.second(centered), self.damping(centered)
        cross = self.cross / max(self.count, 1)
        if centered:
            cross = cross - torch.outer(self.output_mean(weight), self.mean)
        right = cross + damping * weight.flatten(1)
        return torch.linalg.solve(moment, right, left=False).view_as(weight), moment

    def output_mean(self, weight: Tensor) -> Tensor:
        """Return the mean of the dense layer's output in the dense network, without its bias, ``(output channels,)``."""
        assert self.output_total is not None  # sequential_moments measures it
        return self.output_total / max(self.count, 1)

    def add_outputs(self, windows: Tensor, outputs: Tensor) -> None:
        """Add outputs of the dense layer to the sums, and the inputs in the compressed network for the same positions."""
        numbers = outputs.double()
        new = ((outputs.T @ windows).double(), numbers.sum(0), numbers.square().sum(0))
        old = (self.cross, self.output_total, self.output_square)
        self.cross, self.output_total, self.output_square = (
            b if a is None else a + b for a, b in zip(old, new, strict=True)
        )

    def variance_ratio(self, weight: Tensor, fitted: Tensor) -> Tensor:
        """Return the variance of each output channel in the compressed network, relative to that in the dense network.

        The ratio is 1 for a channel that does not vary in one of the networks, and for grouped convolutions.

        Args:
            weight: The dense weight.
            fitted: The fitted weight, ``(output channels, length of a window)``.
        """
        if self.output_square is None:
            return weight.new_ones(weight.shape[0])
        before = self.output_square / max(self.count, 1) - self.output_mean(weight).square()
        after = ((fitted @ self.undamped(centered=True)) * fitted).sum(1)
        varies = (before > 0) & (after > 0)
        return torch.where(varies, after / torch.where(varies, before, 1), 1)


def dense_outputs(
    model: nn.Module, names: Collection[str], inputs: Sequence[Any], report: OnProgress, seed: int = 0
) -> dict[str, dict[int, Tensor]]:
    """Record outputs of dense layers, at some positions, in one pass over the calibration inputs.

    Args:
        model: The dense model; it runs in evaluation mode and is not changed.
        names: Module names of convolutions and linear layers.
        inputs: Inputs of the model, one for each batch.
        report: Function called with a :class:`~nes_lab.progress_bar.ProgressEvent` after each batch.
        seed: Seed that draws the positions.

    Returns:
        Name of each layer that was called, in the order of the first calls -> number of the batch -> outputs of the layer's first call
        without bias, ``(positions, output channels)``. For a grouped convolution, the inputs.

    Raises:
        OptionError: If an output is not finite.
    """
    outputs: dict[str, dict[int, Tensor]] = {}
    with evaluating(model):
        for number, x in enumerate(inputs):
            handles = [_on_first_call(model, name, _output_recorder(outputs, name, number, seed)) for name in names]
            with left_as_it_was(x):
                run_example(model, x)
            for handle in handles:
                handle()
            report(
                {"done": number + 1, "total": len(inputs), "phase": "calibration", "label": f"{len(outputs)} layers"}
            )
    for name, recorded in outputs.items():
        if not all(bool(y.isfinite().all()) for y in recorded.values()):
            raise OptionError(f"calibration: the output of layer {name!r} is not finite; look for NaN in the batches")
    return outputs


def sequential_moments(
    student: nn.Module, model: nn.Module, name: str, inputs: Sequence[Any], outputs: dict[int, Tensor], seed: int = 0
) -> SequentialMoments:
    """Measure the inputs of one layer of the compressed network. The network runs up to this layer only.

    Args:
        student: The compressed network, in which all layers before this one are fitted. It is not changed.
        model: The dense network.
        name: Module name of the layer.
        inputs: Inputs of the networks, one for each batch.
        outputs: What :func:`dense_outputs` recorded for this layer.
        seed: The seed with which it was recorded.

    Raises:
        OptionError: If the compressed network does not call the layer for as many positions as the dense network.
    """
    dense = model.get_submodule(name)
    size = cast(Tensor, dense.weight)[0].numel()
    zeros = torch.zeros(size, size, dtype=torch.float64, device=cast(Tensor, dense.weight).device)
    sums = SequentialMoments(zeros[0].clone(), zeros.clone())
    with evaluating(student):
        for number, y in outputs.items():
            remove = _on_first_call(student, name, _input_adder(sums, dense, name, number, y, seed))
            try:
                with left_as_it_was(inputs[number]):
                    run_example(student, inputs[number])
            except _Reached:
                continue
            finally:
                remove()
            raise OptionError(
                f"sequential=True: the compressed network does not call layer {name!r}; give sequential=False"
            )
    if _grouped(dense) and sums.cross is not None and sums.output_total is not None:
        weight = cast(Tensor, dense.weight).detach().double().flatten(1)
        sums.cross, sums.output_total, sums.output_square = weight @ sums.cross, weight @ sums.output_total, None
    return sums


def _output_recorder(
    outputs: dict[str, dict[int, Tensor]], name: str, number: int, seed: int
) -> Callable[[nn.Module, Tensor], None]:
    def record(module: nn.Module, x: Tensor) -> None:
        windows = input_windows(module, x)
        outputs.setdefault(name, {})[number] = _outputs(module, _sample(windows, number, seed))

    return record


def _input_adder(
    sums: SequentialMoments, dense: nn.Module, name: str, number: int, outputs: Tensor, seed: int
) -> Callable[[nn.Module, Tensor], None]:
    """Return a function that adds the inputs of a layer and the given outputs to sums, and then ends the forward pass."""

    def add(module: nn.Module, x: Tensor) -> None:
        windows = _sample(input_windows(dense, x), number, seed)
        if len(windows) != len(outputs):
            raise OptionError(
                f"sequential=True: layer {name!r} gets inputs of another shape in the compressed network; give sequential=False"
            )
        sums.add(windows)
        sums.add_outputs(windows, outputs)
        raise _Reached

    return add


def _on_first_call(network: nn.Module, name: str, act: Callable[[nn.Module, Tensor], None]) -> Callable[[], None]:
    """Call ``act(layer, input)`` before the first call of a layer; return a function that takes the hook away."""
    seen: list[bool] = []

    def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if not seen:
            seen.append(True)
            act(module, (args[0] if args else next(iter(kwargs.values()))).detach())

    return network.get_submodule(name).register_forward_pre_hook(hook, with_kwargs=True).remove


def _sample(windows: Tensor, number: int, seed: int) -> Tensor:
    """Return a sample of a layer's input windows, at positions that depend only on the number of windows and the arguments."""
    limit = max(MIN_WINDOWS, WINDOWS_PER_ENTRY * windows.shape[1])
    if windows.shape[0] <= limit:
        return windows.float()
    draw = torch.Generator().manual_seed(seed + 1000 * number)
    return windows[torch.randperm(windows.shape[0], generator=draw)[:limit].to(windows.device)].float()


def _grouped(module: nn.Module) -> bool:
    return getattr(module, "groups", 1) > 1


def _outputs(module: nn.Module, windows: Tensor) -> Tensor:
    """Return the outputs of a dense layer, without its bias, for windows of its inputs; for a grouped convolution, the windows.

    The output channels of a grouped convolution are multiplied with windows of different groups, whose statistics are averaged.
    """
    if _grouped(module):
        return windows
    return windows @ cast(Tensor, module.weight).detach().flatten(1).T.float()
