"""The list of ready-made models: the backbone, input size and default budget of each.

To add a model, add a :class:`ModelCard` to ``CARDS``. This file does not import torch.
"""

from __future__ import annotations

from dataclasses import dataclass

from nes_lab.errors import OptionError, closest
from nes_lab.import_spec import is_import_spec

__all__ = ["CARDS", "ModelCard", "card", "model_names"]


@dataclass(frozen=True)
class ModelCard:
    """Backbone, input size and default budget of a ready-made model.

    Args:
        name: Name of the model, for :func:`nes_lab.create_model`.
        backbone: Name of the dense network.
        input_size: Side in pixels of the square image for which multiply-adds are counted.
        params: Limit on the number of params, such as ``"60%"`` of the dense network or ``"2M"``; None: no limit.
        madds: Limit on multiply-adds, such as ``"75%"`` of the dense network or ``"350M"``; None: no limit.
        settings_of: ``"paper"`` if the paper reports the budget, or ``"ours"`` if NES Lab's authors chose it.
        why: Where the budget comes from, in a sentence.
    """

    name: str
    backbone: str
    input_size: int
    params: str | None
    madds: str | None
    settings_of: str
    why: str

    @property
    def budget(self) -> dict[str, str | None]:
        """Return the default budget of the model, as keyword arguments of :class:`nes_lab.Budget`."""
        return {"params": self.params, "madds": self.madds}


_OWN_SIZE = 224
_PAPER_MOBILENET = "a quarter fewer multiply-adds, as the paper reports for MobileNetV2 on ImageNet (arXiv:1907.05642)"
_PAPER_EFFICIENTNET = (
    "at most 350 M multiply-adds, as the paper reports for EfficientNet (arXiv:1907.05642); depth of B1, at 224 px"
)
_OURS = "three quarters of the multiply-adds, as the paper reports for MobileNetV2; the paper does not compress this network"
_B0 = "three quarters of the multiply-adds; the paper's authors release this network with fixed tiling only (preset released_x2)"

CARDS: dict[str, ModelCard] = {
    c.name: c
    for c in (
        ModelCard("nes_mobilenetv2_100", "mobilenetv2_100", 224, None, "225.6M", "paper", _PAPER_MOBILENET),
        ModelCard("nes_efficientnet_b0", "efficientnet_b0", 224, None, "75%", "ours", _B0),
        ModelCard("nes_efficientnet_b1", "efficientnet_b1", 224, None, "350M", "paper", _PAPER_EFFICIENTNET),
        ModelCard("nes_resnet18", "resnet18", 224, None, "75%", "ours", _OURS),
        ModelCard("nes_resnet50", "resnet50", 224, None, "75%", "ours", _OURS),
        ModelCard("nes_convnext_atto", "convnext_atto", 224, None, "75%", "ours", _OURS),
        ModelCard("nes_vit_tiny_patch16_224", "vit_tiny_patch16_224", 224, None, "75%", "ours", _OURS),
    )
}
"""The ready-made models, by name."""


def model_names() -> list[str]:
    """Return the names of all ready-made models, for :func:`nes_lab.create_model`.

    Examples:
        >>> model_names()[0]
        'nes_mobilenetv2_100'
    """
    return list(CARDS)


def card(name: str) -> ModelCard:
    """Return the card of a ready-made model: its backbone, input size and default budget.

    The attribute ``settings_of`` of a card says who chose the budget: the paper (``"paper"``) or NES Lab (``"ours"``).

    A function of the user's own, named as ``package.module:function``, gets a card without a budget.

    Raises:
        OptionError: If no ready-made model has that name. The message lists all names and suggests the closest one.

    Examples:
        >>> card("nes_mobilenetv2_100").settings_of
        'paper'
    """
    if is_import_spec(name):
        return ModelCard(name, name, _OWN_SIZE, None, None, "ours", "the user gives the budget")
    if name not in CARDS:
        near = closest(name, CARDS)
        raise OptionError(
            f"model={name!r} is not known; choose one of {', '.join(CARDS)}.{near} For any other backbone use "
            "nes_lab.create_backbone, nes_lab.plan_for_budget and nes_lab.compress"
        )
    return CARDS[name]
