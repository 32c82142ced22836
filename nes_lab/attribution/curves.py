"""Delete or insert the most important positions of an input first, and watch the score: is the attribution faithful to the network?

Source: Petsiuk et al., RISE, BMVC 2018, arXiv:1806.07421.
Tests: tests/attribution/test_agreement.py.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from nes_lab.attribution.attribute import Attribution, baseline_like, score_of
from nes_lab.cost.left_as_it_was import left_as_it_was
from nes_lab.errors import OptionError, check_int

__all__ = ["ScoreCurves", "score_curves"]


@dataclass(frozen=True)
class ScoreCurves:
    """Probability of the explained class while positions of the inputs are deleted or inserted, the most important first.

    Args:
        shares: Share of the positions that are deleted or inserted, from 0 to 1, ``(K,)``.
        deletion: Probability after deleting that share, ``(N, K)``. The faster it falls, the better the attribution.
        insertion: Probability after inserting that share into the baseline, ``(N, K)``. The faster it rises, the better.

    Examples:
        >>> import torch
        >>> from nes_lab.attribution import attribute, score_curves
        >>> network, images = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 4)), torch.randn(2, 1, 8, 8)
        >>> curves = score_curves(network, images, attribute(network, images))
        >>> bool(abs(curves.deletion[:, 0] - curves.insertion[:, -1]).max() < 1e-6)  # both are the complete images
        True
    """

    shares: np.ndarray
    deletion: np.ndarray
    insertion: np.ndarray

    @property
    def deletion_area(self) -> np.ndarray:
        """Return the area under the curve of deletion for each input, ``(N,)``, from 0 to 1. Small is good."""
        return np.trapezoid(self.deletion, self.shares, axis=1)

    @property
    def insertion_area(self) -> np.ndarray:
        """Return the area under the curve of insertion for each input, ``(N,)``, from 0 to 1. Large is good."""
        return np.trapezoid(self.insertion, self.shares, axis=1)


def score_curves(
    network: nn.Module, inputs: Tensor, found: Attribution, *, points: int = 11, baseline: float | Tensor = 0.0
) -> ScoreCurves:
    """Delete and insert positions of inputs in the order of an attribution, and return the probabilities of the explained class.

    Args:
        network: The network that the attribution belongs to, or another one.
        inputs: The inputs that were explained, ``(N, C, *S)``.
        found: What :func:`attribute` returned for them, by a method with values per position.
        points: Number of points of each curve, from no position to all.
        baseline: Values of deleted positions: a number, or a tensor of the shape of one or all inputs.

    Raises:
        OptionError: If the attribution or the baseline does not fit the inputs.

    Examples:
        >>> import torch
        >>> from nes_lab.attribution import attribute, score_curves
        >>> network, images = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 4)), torch.randn(2, 1, 8, 8)
        >>> score_curves(network, images, attribute(network, images)).deletion.shape
        (2, 11)
    """
    check_int("points", points, least=2)
    if found.maps.shape != (len(inputs), *inputs.shape[2:]):
        raise OptionError(
            f"the attribution has values on {found.maps.shape[1:]} for {len(found.maps)} inputs; the inputs have shape "
            f"{tuple(inputs.shape)}. Give inputs and attribution of the same call, by a method with values per position"
        )
    flat = torch.from_numpy(found.maps).to(inputs.device).flatten(1)
    rank = flat.argsort(dim=1, descending=True, stable=True).argsort(dim=1).view(len(inputs), 1, *inputs.shape[2:])
    empty = baseline_like(baseline, inputs)
    shares = np.linspace(0, 1, points)
    score = score_of(torch.from_numpy(found.target).to(inputs.device))
    deletion, insertion = [], []
    with left_as_it_was(network, inputs), torch.no_grad():
        network.eval()
        for share in shares:
            first = rank < round(share * flat.shape[1])
            deletion.append(score(network(torch.where(first, empty, inputs)).softmax(1)))
            insertion.append(score(network(torch.where(first, inputs, empty)).softmax(1)))
    stacked = [torch.stack(curve, 1).float().cpu().numpy() for curve in (deletion, insertion)]
    return ScoreCurves(shares, *stacked)
