"""Compare the attributions of two networks on the same inputs, such as a dense network and its compressed form.

Tests: tests/attribution/test_agreement.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor, nn

from nes_lab.attribution.attribute import Attribution, Method, attribute
from nes_lab.attribution.curves import ScoreCurves, score_curves
from nes_lab.errors import OptionError
from nes_lab.packages import need
from nes_lab.text import format_share

__all__ = ["Agreement", "compare_attributions"]


@dataclass(frozen=True)
class Agreement:
    """Agreement of two networks: do they depend on the same parts of the same inputs?

    Args:
        first: Attribution of the first network.
        second: Attribution of the second network, for the same classes.
        rank_correlation: Spearman's rank correlation of both maps over the positions, for each input, ``(N,)``; from -1 to 1. NaN where a
            map is the same everywhere.
        overlap: Share of the most important positions of the first map that are among those of the second, ``(N,)``; from 0 to 1.
        top_share: Share of the positions that count as the most important.
        first_curves: Probabilities of the first network while positions are deleted and inserted in the order of its map.
        second_curves: The same for the second network and its own map.

    Examples:
        >>> import torch
        >>> from nes_lab.attribution import compare_attributions
        >>> network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 4))
        >>> print(compare_attributions(network, network, torch.randn(2, 1, 8, 8)))
        integrated_gradients on 2 inputs: rank correlation 1.00, 100 % of the most important 10 % of positions in common
    """

    first: Attribution
    second: Attribution
    rank_correlation: np.ndarray
    overlap: np.ndarray
    top_share: float
    first_curves: ScoreCurves
    second_curves: ScoreCurves

    @property
    def same_answer(self) -> float:
        """Return the share of inputs for which both networks answer the same class."""
        return float(np.mean(self.first.answers == self.second.answers))

    @property
    def mean_rank_correlation(self) -> float:
        """Return the mean of the rank correlations of all inputs for which it is defined; NaN if there is none."""
        defined = self.rank_correlation[np.isfinite(self.rank_correlation)]
        return float(defined.mean()) if len(defined) else float("nan")

    @property
    def mean_overlap(self) -> float:
        """Return the mean share of the most important positions that both maps have in common."""
        return float(np.mean(self.overlap))

    def rows(self) -> list[dict[str, Any]]:
        """Return one dict per input with the numbers of both networks, for tables."""
        return [
            {
                "input": place,
                "target": int(self.first.target[place]),
                "rank_correlation": float(self.rank_correlation[place]),
                "overlap": float(self.overlap[place]),
                "deletion_first": float(self.first_curves.deletion_area[place]),
                "deletion_second": float(self.second_curves.deletion_area[place]),
                "insertion_first": float(self.first_curves.insertion_area[place]),
                "insertion_second": float(self.second_curves.insertion_area[place]),
            }
            for place in range(len(self.overlap))
        ]

    def __str__(self) -> str:
        return (
            f"{self.first.method} on {len(self.overlap)} inputs: rank correlation {self.mean_rank_correlation:.2f}, "
            f"{format_share(self.mean_overlap, digits=0)} of the most important {format_share(self.top_share, digits=0)} "
            "of positions in common"
        )


def compare_attributions(
    first: nn.Module,
    second: nn.Module,
    inputs: Tensor,
    method: Method = "integrated_gradients",
    *,
    top_share: float = 0.1,
    **options: Any,
) -> Agreement:
    """Attribute the answers of two networks to their inputs, and say how far they agree.

    Both explain the same classes: those of ``target=``, or the answers of the first network.

    Args:
        first: A network, such as the dense one.
        second: Another network for the same inputs and classes, such as the compressed one.
        inputs: ``(N, C, *S)``.
        method: A method with values per position: ``"integrated_gradients"``, ``"gradcam"`` or ``"occlusion"``.
        top_share: Share of the positions that count as the most important, above 0 and at most 1.
        options: Further arguments of :func:`attribute`, the same for both networks.

    Raises:
        OptionError: If an argument is wrong; the message names it.

    Examples:
        >>> import torch, nes_lab
        >>> from nes_lab.attribution import compare_attributions
        >>> dense, images = nes_lab.create_backbone("small_mobilenetv2").eval(), torch.randn(2, 3, 16, 16)
        >>> small = nes_lab.compress(dense, madds="75%", example_input=images[:1])
        >>> compare_attributions(dense, small, images).rank_correlation.shape
        (2,)
    """
    if method == "layer_conductance":
        raise OptionError("method='layer_conductance' has values per feature; take a method with values per position")
    if not 0 < top_share <= 1:
        raise OptionError(f"top_share={top_share} should be above 0 and at most 1")
    mine = attribute(first, inputs, method, **options)
    other = attribute(second, inputs, method, **options | {"target": mine.target.tolist()})
    empty = options.get("baseline", 0.0)
    curves = [score_curves(net, inputs, found, baseline=empty) for net, found in ((first, mine), (second, other))]
    flat = [found.maps.reshape(len(inputs), -1) for found in (mine, other)]
    correlation = np.array([_spearman(a, b) for a, b in zip(*flat, strict=True)])
    overlap = np.array([_overlap(a, b, top_share) for a, b in zip(*flat, strict=True)])
    return Agreement(mine, other, correlation, overlap, top_share, *curves)


def _spearman(first: np.ndarray, second: np.ndarray) -> float:
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return float("nan")
    return float(need("scipy.stats", "comparing attributions").spearmanr(first, second).statistic)


def _overlap(first: np.ndarray, second: np.ndarray, share: float) -> float:
    count = max(1, round(share * first.size))
    best = [set(np.argsort(-values, kind="stable")[:count].tolist()) for values in (first, second)]
    return len(best[0] & best[1]) / count
