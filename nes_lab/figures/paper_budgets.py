"""List the published budgets of networks that NES was tried on.

Tests: tests/figures/test_budget_plane.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["PaperBudget", "paper_budgets"]


@dataclass(frozen=True)
class PaperBudget:
    """A published budget of a network.

    Args:
        label: A few words that name it in a figure.
        madds: Multiply-adds of one image of 224 x 224 pixels.
        params: Number of params; None: not published.
        source: Where it is published.
    """

    label: str
    madds: float
    params: float | None
    source: str


_ABSTRACT = "Zhou et al., ICLR 2020 (abstract)"
_BUDGETS = {
    "mobilenetv2_100": (PaperBudget("paper, about 225 M", 225e6, None, _ABSTRACT),),
    "efficientnet_b0": (
        PaperBudget("paper, under 350 M", 350e6, None, _ABSTRACT),
        PaperBudget("authors' log, 226.6 M", 226.6e6, 3.92e6, "authors' log (MicroNet)"),
    ),
}


def paper_budgets(
    backbone: str, input_shape: Sequence[int], classes: int, width: float = 1.0
) -> tuple[PaperBudget, ...]:
    """Return the published budgets of a backbone. They hold for images of 224 x 224 pixels and the 1,000 classes of ImageNet.

    Args:
        backbone: Name of the backbone in timm.
        input_shape: Channels, height and width of an input.
        classes: Number of classes.
        width: Width of the network, as a factor.

    Examples:
        >>> [budget.madds for budget in paper_budgets("mobilenetv2_100", (3, 224, 224), 1000)]
        [225000000.0]
        >>> paper_budgets("mobilenetv2_100", (3, 32, 32), 10)
        ()
    """
    fits = tuple(input_shape) == (3, 224, 224) and classes == 1000 and width == 1.0
    return _BUDGETS.get(backbone, ()) if fits else ()
