"""GradCAM: which positions of a layer's features speak for an answer. Also for transformers, whose features are tokens.

captum's GradCAM takes axis 1 for the channels. Here, the axes of the positions are found by their number: features of a convolution have
the channels first; tokens have them last; some transformers keep a grid with the channels last.

Source: Selvaraju et al., Grad-CAM, ICCV 2017, arXiv:1610.02391.
Tests: tests/attribution/test_gradcam.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import isqrt, prod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nes_lab.errors import OptionError

__all__ = ["default_layer", "gradcam", "positions_of"]

MOST_PREFIX_TOKENS = 5
"""Largest number of tokens without a position that a transformer may put before the others, such as a class token and four registers."""


def gradcam(network: nn.Module, inputs: Tensor, score: Callable[[Tensor], Tensor], layer: nn.Module) -> Tensor:
    """Return how much each position of a layer's features speaks for the answer, stretched to the size of the input.

    Args:
        network: The network, in evaluation mode.
        inputs: ``(N, C, *S)``.
        score: Function from the network's output to the score of the answer of each input, ``(N,)``.
        layer: A layer of the network with features for several positions.

    Returns:
        Values of at least 0, ``(N, 1, *S)``.

    Raises:
        OptionError: If the layer has no features for several positions.
    """
    features, gradient = _features_and_gradient(network, inputs, score, layer)
    spatial = tuple(inputs.shape[2:])
    placed, slope = positions_of(features, spatial), positions_of(gradient, spatial)
    if placed is None or slope is None:
        raise OptionError(
            f"layer {type(layer).__name__} has features of shape {tuple(features.shape)}, which are not on the positions of an "
            f"input of shape {tuple(inputs.shape)}; name a layer before they are pooled"
        )
    axes = tuple(range(2, slope.ndim))
    cam = F.relu((slope.mean(axes, keepdim=True) * placed).sum(1, keepdim=True))
    mode = {1: "linear", 2: "bilinear", 3: "trilinear"}[len(spatial)]
    return F.interpolate(cam, size=spatial, mode=mode, align_corners=False)


def positions_of(features: Tensor, spatial: Sequence[int]) -> Tensor | None:
    """Return a layer's features with the channels first and the positions last; None if they are not on positions of the input.

    Args:
        features: ``(N, C, *s)``, ``(N, *s, C)``, or tokens ``(N, T, C)`` of a network for images.
        spatial: Size of the input, ``*S``.

    Examples:
        >>> positions_of(torch.zeros(1, 64, 7, 7), (224, 224)).shape
        torch.Size([1, 64, 7, 7])
        >>> positions_of(torch.zeros(1, 197, 192), (224, 224)).shape  # a class token and 14 x 14 others
        torch.Size([1, 192, 14, 14])
    """
    if features.ndim == len(spatial) + 2:
        if _is_on_grid(features.shape[2:], spatial):
            return features
        if len(spatial) > 1 and _is_on_grid(features.shape[1:-1], spatial):
            return features.movedim(-1, 1)
    if features.ndim == 3 and len(spatial) == 2:
        tokens = features.shape[1]
        for prefix in range(MOST_PREFIX_TOKENS + 1):
            grid = _grid_of(tokens - prefix, spatial)
            if grid is not None:
                return features[:, prefix:].transpose(1, 2).unflatten(2, grid)
    return None


def default_layer(network: nn.Module, inputs: Tensor, score: Callable[[Tensor], Tensor]) -> str:
    """Return the name of the last layer whose features lie on positions of the input, and whose positions matter for the answer.

    Args:
        network: The network, in evaluation mode.
        inputs: ``(N, C, *S)``.
        score: Function from the network's output to the score of each input, ``(N,)``.

    Raises:
        OptionError: If the network has no such layer.
    """
    seen: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[[nn.Module, object, object], None]:
        def hook(module: nn.Module, given: object, output: object) -> None:
            if isinstance(output, Tensor) and output.requires_grad and positions_of(output, spatial) is not None:
                seen.pop(name, None)  # the order is that of the last calls
                seen[name] = output

        return hook

    spatial = tuple(inputs.shape[2:])
    named = [(name, module) for name, module in network.named_modules() if name and not _is_linear(module)]
    hooks = [module.register_forward_hook(keep(name)) for name, module in named]
    try:
        total = score(network(inputs.detach().requires_grad_())).sum()
    finally:
        for hook in hooks:
            hook.remove()
    gradients = torch.autograd.grad(total, list(seen.values()), allow_unused=True) if seen else ()
    for name, gradient in reversed(list(zip(seen, gradients, strict=True))):
        if gradient is not None and _several_matter(positions_of(gradient, spatial)):
            return name
    raise OptionError(
        f"{type(network).__name__} has no layer with features on several positions of the input; name one as layer="
    )


def _features_and_gradient(
    network: nn.Module, inputs: Tensor, score: Callable[[Tensor], Tensor], layer: nn.Module
) -> tuple[Tensor, Tensor]:
    kept: list[Tensor] = []

    def keep(module: nn.Module, given: object, output: object) -> None:
        if isinstance(output, Tensor):
            kept.append(output)

    hook = layer.register_forward_hook(keep)
    try:
        total = score(network(inputs.detach().requires_grad_())).sum()
    finally:
        hook.remove()
    if not kept:
        raise OptionError(
            f"layer {type(layer).__name__} was not called, or does not return a tensor; name another layer"
        )
    (gradient,) = torch.autograd.grad(total, kept[-1], allow_unused=True)
    if gradient is None:
        raise OptionError(f"the answer does not depend on layer {type(layer).__name__}; name another layer")
    return kept[-1].detach(), gradient


def _is_linear(module: nn.Module) -> bool:
    return isinstance(module, nn.Linear) or getattr(module, "kind", "") == "linear"


def _several_matter(gradient: Tensor | None) -> bool:
    if gradient is None or prod(gradient.shape[2:]) < 2:
        return False
    return int((gradient.abs().sum((0, 1)) > 0).sum()) > 1


def _is_on_grid(shape: Sequence[int], spatial: Sequence[int]) -> bool:
    """Return True if positions of this shape can cover an input of this size: not larger, and of about its proportions."""
    if any(small > large for small, large in zip(shape, spatial, strict=True)) or prod(shape) < 2:
        return False
    factors = [large / small for small, large in zip(shape, spatial, strict=True)]
    return max(factors) < 1.5 * min(factors)  # strides round sizes up or down, most at small sizes


def _grid_of(tokens: int, spatial: Sequence[int]) -> tuple[int, int] | None:
    if tokens < 2:
        return None
    height, width = spatial
    rows = isqrt(tokens * height // width)
    for count in (rows, rows + 1):
        if count and tokens % count == 0 and _is_on_grid((count, tokens // count), spatial):
            return count, tokens // count
    return None
