"""Measure how much of a network's answer flows through each layer with a weight: a number that the planner can weigh layers by.

Tests: tests/attribution/test_layer_importance.py.
"""

from __future__ import annotations

import captum.attr
import torch
from torch import Tensor, nn

from nes_lab.attribution.attribute import score_of
from nes_lab.cost.left_as_it_was import left_as_it_was
from nes_lab.errors import OptionError, check_int
from nes_lab.nn.layer import EpitomeLayer
from nes_lab.progress_bar import OnProgress, progress_reporter

__all__ = ["layer_importance"]

_KINDS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, EpitomeLayer)


def layer_importance(
    network: nn.Module,
    inputs: Tensor,
    *,
    target: Tensor | None = None,
    steps: int = 8,
    progress: bool = False,
    on_progress: OnProgress | None = None,
) -> dict[str, float]:
    """Return how much of the change of the score flows through each layer: the mean absolute conductance, with mean 1 over the layers.

    The conductance of a layer's outputs adds up to the score of the input minus the score of the baseline (zeros). Where much of it
    flows both ways and cancels, a layer has a large absolute sum: small errors there have large effects. Give the result to
    :meth:`nes_lab.SensitivityReport.weighed` and plan with ``strategy="sensitivity"``.

    Args:
        network: A dense or compressed network for one input tensor, with outputs ``(N, classes)``.
        inputs: Some inputs, ``(N, C, *S)``.
        target: Class of each input, ``(N,)``; None takes the network's answers.
        steps: Steps between baseline and input.
        progress: Show a bar on standard error.
        on_progress: Called with a :class:`~nes_lab.progress_bar.ProgressEvent` after each layer; None for no calls.

    Raises:
        OptionError: If the network has no layer with a weight, or an argument is wrong.

    Examples:
        >>> import torch
        >>> from nes_lab.attribution import layer_importance
        >>> network = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
        >>> importance = layer_importance(network, torch.randn(16, 4))
        >>> list(importance), round(sum(importance.values()), 6)
        (['0', '2'], 2.0)

    Source: Dhamdhere et al., How important is a neuron?, ICLR 2019, arXiv:1805.12233.
    """
    check_int("steps", steps, least=1)
    layers = {name: module for name, module in network.named_modules() if isinstance(module, _KINDS)}
    if not layers:
        raise OptionError(f"{type(network).__name__} has no Linear or convolution layer")
    sums: dict[str, float] = {}
    with (
        left_as_it_was(network, inputs),
        torch.enable_grad(),
        progress_reporter(progress, on_progress, "layers") as report,
    ):
        network.eval()
        with torch.no_grad():
            output = network(inputs)
        score = score_of(output.argmax(1) if target is None else target)
        for done, (name, module) in enumerate(layers.items()):
            report({"done": done, "total": len(layers), "phase": "importance", "label": name})
            sums[name] = _absolute_conductance(network, inputs, score, module, steps)
        report({"done": len(layers), "total": len(layers), "phase": "importance", "label": ""})
    mean = sum(sums.values()) / len(sums)
    return {name: value / mean if mean else 1.0 for name, value in sums.items()}


def _absolute_conductance(network: nn.Module, inputs: Tensor, score, layer: nn.Module, steps: int) -> float:  # noqa: ANN001
    method = captum.attr.LayerConductance(lambda x: score(network(x)), layer)
    values = method.attribute(
        inputs.detach(), torch.zeros_like(inputs), n_steps=steps, internal_batch_size=2 * len(inputs)
    )
    parts = values if isinstance(values, tuple) else (values,)
    return float(sum(part.detach().abs().sum() for part in parts)) / len(inputs)
