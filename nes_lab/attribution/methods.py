"""The methods of attribution by name, each a function from network and inputs to values.

To add a method, write a function like those below and put it into :data:`METHODS`.

Tests: tests/attribution/test_attribute.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import captum.attr
from torch import Tensor, nn

from nes_lab.attribution.gradcam import default_layer, gradcam
from nes_lab.errors import OptionError, closest

__all__ = ["COMPLETE", "METHODS", "Task", "layer_named"]

COMPLETE = ("integrated_gradients", "layer_conductance")
"""Methods whose values add up to the score of the input minus the score of the baseline."""

SHARE_OF_SIDE = 8
"""Occlusion covers a square of the input's side divided by this number, if no window is given."""


@dataclass
class Task:
    """Everything that a method needs: the network, the inputs and its options.

    Args:
        network: The network, in evaluation mode.
        inputs: ``(N, C, *S)``.
        baseline: What an input without content looks like; its shape is that of ``inputs``.
        target: Class whose score is explained, ``(N,)``.
        score: Function from the network's output to the score of the target of each input, ``(N,)``.
        layer: Name of a layer, for methods that look at one; None takes a fitting one.
        steps: Number of steps between baseline and input.
        window: Side of the square that occlusion covers, in positions; None takes an eighth of the input's side.
    """

    network: nn.Module
    inputs: Tensor
    baseline: Tensor
    target: Tensor
    score: Callable[[Tensor], Tensor]
    layer: str | None = None
    steps: int = 32
    window: int | None = None


def layer_named(network: nn.Module, name: str) -> nn.Module:
    """Return the layer of a network with this name.

    Raises:
        OptionError: If there is none; the message has the closest name.
    """
    modules = dict(network.named_modules())
    if not name or name not in modules:
        raise OptionError(f"layer={name!r} is not a layer of the {type(network).__name__}.{closest(name, modules)}")
    return modules[name]


def _integrated_gradients(task: Task) -> Tensor:
    method = captum.attr.IntegratedGradients(lambda x: task.score(task.network(x)))
    # all steps of one input at a time need as much memory as a batch of that many inputs
    return method.attribute(task.inputs, task.baseline, n_steps=task.steps, internal_batch_size=len(task.inputs))


def _gradcam(task: Task) -> Tensor:
    name = task.layer or default_layer(task.network, task.inputs, task.score)
    task.layer = name
    return gradcam(task.network, task.inputs, task.score, layer_named(task.network, name))


def _occlusion(task: Task) -> Tensor:
    spatial = task.inputs.shape[2:]
    sides = [min(side, task.window or max(1, side // SHARE_OF_SIDE)) for side in spatial]
    channels = task.inputs.shape[1]
    strides = (channels, *(max(1, side // 2) for side in sides))
    method = captum.attr.Occlusion(lambda x: task.score(task.network(x)))
    return method.attribute(task.inputs, (channels, *sides), strides=strides, baselines=task.baseline)


def _layer_conductance(task: Task) -> Tensor:
    if task.layer is None:
        raise OptionError("layer=None; layer_conductance needs the name of a layer")
    layer = layer_named(task.network, task.layer)
    method = captum.attr.LayerConductance(lambda x: task.score(task.network(x)), layer)
    # it takes differences between two steps, so two steps are in each batch
    values = method.attribute(task.inputs, task.baseline, n_steps=task.steps, internal_batch_size=2 * len(task.inputs))
    if isinstance(values, tuple):
        raise OptionError(f"layer={task.layer!r} returns {len(values)} tensors; name a layer that returns one")
    return values


METHODS: dict[str, Callable[[Task], Tensor]] = {
    "integrated_gradients": _integrated_gradients,
    "gradcam": _gradcam,
    "occlusion": _occlusion,
    "layer_conductance": _layer_conductance,
}
"""Name of each method -> function from a task to values."""
