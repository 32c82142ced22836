"""Attribute a network's answers to parts of its inputs: one call for all methods.

Tests: tests/attribution/test_attribute.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from nes_lab.attribution.methods import COMPLETE, METHODS, Task
from nes_lab.cost.left_as_it_was import left_as_it_was
from nes_lab.errors import OptionError, check_choice, check_int

__all__ = ["Attribution", "Method", "attribute", "baseline_like", "score_of"]

Method = Literal["integrated_gradients", "gradcam", "occlusion", "layer_conductance"]


@dataclass(frozen=True)
class Attribution:
    """Values that say which parts of some inputs a network's answers depend on.

    Args:
        method: Name of the method.
        values: How much each part speaks for the answer. ``(N, C, *S)`` for ``integrated_gradients`` and ``occlusion``, ``(N, 1, *S)``
            for ``gradcam``, and the shape of the layer's output for ``layer_conductance``.
        target: Class whose score is explained, ``(N,)``.
        scores: Score of that class (logit) for each input, ``(N,)``.
        baseline_scores: The same for the baseline, ``(N,)``.
        answers: Class that the network answers for each input, ``(N,)``.
        layer: Name of the layer that the method looked at; empty if it looked at none.

    Examples:
        >>> import torch
        >>> from nes_lab.attribution import attribute
        >>> network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 4))
        >>> found = attribute(network, torch.randn(2, 1, 8, 8), target=3)
        >>> found.method, found.maps.shape, found.target.tolist()
        ('integrated_gradients', (2, 8, 8), [3, 3])
    """

    method: str
    values: np.ndarray
    target: np.ndarray
    scores: np.ndarray
    baseline_scores: np.ndarray
    answers: np.ndarray
    layer: str = ""

    @property
    def maps(self) -> np.ndarray:
        """Return the values summed over the channels: one value per position, ``(N, *S)``."""
        return self.values.sum(1)

    @property
    def missing(self) -> np.ndarray | None:
        """Return how far the values are from adding up to the change of the score, ``(N,)``; None for methods that do not promise it.

        The change is the score of the input minus the score of the baseline. With more steps, the numbers get closer to 0. For
        ``layer_conductance`` this holds for layers that all of the answer flows through, not for those inside a residual block.
        """
        if self.method not in COMPLETE:
            return None
        return self.scores - self.baseline_scores - self.values.reshape(len(self.values), -1).sum(1)


def attribute(
    network: nn.Module,
    inputs: Tensor,
    method: Method = "integrated_gradients",
    *,
    target: int | Sequence[int] | Tensor | None = None,
    baseline: float | Tensor = 0.0,
    layer: str | None = None,
    steps: int = 32,
    window: int | None = None,
) -> Attribution:
    """Say which parts of the inputs a network's answers depend on, by a method of captum.

    The network runs in evaluation mode. It is left as it was.

    Args:
        network: A dense, compressed or fitted network for one input tensor. Its output is ``(N, classes)``.
        inputs: Images ``(N, C, H, W)``, signals ``(N, C, L)`` or others, as the network takes them.
        method: ``"integrated_gradients"``: gradients along the way from the baseline to the input. ``"gradcam"``: positions of a
            layer's features. ``"occlusion"``: the change of the score when a part is covered. ``"layer_conductance"``: how much of the
            score flows through each number of a layer's output.
        target: Class to explain, one for all inputs or one per input. None takes the class that the network answers.
        baseline: Input without content: a number, or a tensor of the shape of one or all inputs. After normalization, 0 is the mean.
        layer: Name of a layer for ``gradcam`` and ``layer_conductance``. ``gradcam`` finds a fitting one itself.
        steps: Steps between baseline and input, for integrated gradients and conductance. More steps are more exact.
        window: Side of the part that occlusion covers, in positions. None takes an eighth of the input's side.

    Returns:
        Values as numpy arrays, with the scores that they explain.

    Raises:
        OptionError: If an argument is wrong; the message names it.
        MissingPackageError: If captum is not installed.

    Examples:
        >>> import torch, nes_lab
        >>> from nes_lab.attribution import attribute
        >>> network = nes_lab.EpitomeLinear(8, 3, epitome_shape=(3, 4), patch_channels=(3, 2))
        >>> found = attribute(network, torch.randn(2, 8), target=1)
        >>> found.values.shape, bool(abs(found.missing).max() < 1e-5)
        ((2, 8), True)

    Source: Sundararajan et al., Axiomatic attribution, ICML 2017, arXiv:1703.01365 (integrated gradients); Dhamdhere et al., How
    important is a neuron?, ICLR 2019, arXiv:1805.12233 (conductance); Kokhlikyan et al., Captum, 2020, arXiv:2009.07896.
    """
    check_choice("method", method, METHODS)
    check_int("steps", steps, least=1)
    if window is not None:
        check_int("window", window, least=1)
    if not isinstance(inputs, Tensor) or not inputs.is_floating_point() or inputs.ndim < 2 or not len(inputs):
        raise OptionError(
            f"inputs={_short(inputs)}; give a float tensor with a batch axis, such as images (N, C, H, W)"
        )
    if method in ("gradcam", "occlusion") and inputs.ndim < 3:
        raise OptionError(f"inputs have shape {tuple(inputs.shape)}; {method} needs positions, such as (N, C, H, W)")
    with left_as_it_was(network, inputs), torch.enable_grad():
        network.eval()
        start = baseline_like(baseline, inputs)
        output = _output(network, inputs)
        chosen = _targets(output, len(inputs), target)
        score = score_of(chosen)
        task = Task(network, inputs.detach(), start, chosen, score, layer, steps, window)
        values = METHODS[method](task)
        with torch.no_grad():
            empty = score(network(start))
    arrays = [tensor.detach().float().cpu().numpy() for tensor in (values, score(output), empty)]
    used = task.layer if method in ("gradcam", "layer_conductance") and task.layer else ""
    classes = [tensor.cpu().numpy() for tensor in (chosen, output.argmax(1))]
    return Attribution(method, arrays[0], classes[0], arrays[1], arrays[2], classes[1], used)


def score_of(target: Tensor) -> Callable[[Tensor], Tensor]:
    """Return the function that takes a network's output ``(N, classes)`` to the score of the target of each input, ``(N,)``.

    A method may run the network on several copies of the inputs at once; the targets are then repeated.
    """

    def score(output: Tensor) -> Tensor:
        repeated = target.repeat(-(-len(output) // len(target)))[: len(output)]
        return output.gather(1, repeated[:, None]).squeeze(1)

    return score


def _output(network: nn.Module, inputs: Tensor) -> Tensor:
    with torch.no_grad():
        output = network(inputs)
    if not isinstance(output, Tensor) or output.ndim != 2:
        shape = f"shape {tuple(output.shape)}" if isinstance(output, Tensor) else f"type {type(output).__name__}"
        raise OptionError(
            f"network {type(network).__name__} returns an output of {shape}; give one that returns (N, classes)"
        )
    return output


def _targets(output: Tensor, count: int, target: int | Sequence[int] | Tensor | None) -> Tensor:
    if target is None:
        return output.argmax(1)
    classes = torch.as_tensor(target, device=output.device)
    if classes.is_floating_point() or classes.numel() not in (1, count):
        raise OptionError(f"target={_short(target)}; give a class, or a class for each of the {count} inputs")
    if bool(((classes < 0) | (classes >= output.shape[1])).any()):
        raise OptionError(f"target={_short(target)}; the network has classes 0 to {output.shape[1] - 1}")
    return classes.long().flatten().expand(count)


def baseline_like(baseline: float | Tensor, inputs: Tensor) -> Tensor:
    """Return a baseline, a number or a tensor, as a tensor of the shape of the inputs.

    Raises:
        OptionError: If a tensor does not fit the inputs.
    """
    given = torch.as_tensor(baseline, dtype=inputs.dtype, device=inputs.device)
    try:
        return given.expand_as(inputs).clone()
    except RuntimeError as error:
        raise OptionError(
            f"baseline has shape {tuple(given.shape)}; give a number or a tensor that fits inputs of shape {tuple(inputs.shape)}"
        ) from error


def _short(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)} and {value.dtype}"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
