"""List the ways in which layers share flat epitomes. A way of sharing says which epitome each layer reads.

To add a way of sharing, write a function that takes the layers that are replaced, in module order, and returns the name of an
epitome for each of them. Register it in :data:`SHARINGS`, and add its name and meaning to ``records/options.py``.

Tests: tests/planning/test_sharing.py, which tries every registered way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from nes_lab.planning.survey import SurveyedLayer
from nes_lab.records.options import Share

__all__ = ["SHARINGS", "each_layer", "shared_names", "stages", "whole_network"]


def each_layer(layers: Sequence[SurveyedLayer]) -> list[str]:
    """Give each layer an epitome of its own, with the name of the layer."""
    return [layer.name for layer in layers]


def stages(layers: Sequence[SurveyedLayer]) -> list[str]:
    """Give one epitome to all layers whose outputs have equally many positions (pixels, tokens, time steps), named ``stage_1``, ...

    A convolution with stride 2 belongs to the stage that it leads to. In a network that goes back to a larger resolution, such as a
    U-Net, both sides belong to one stage. A layer whose weight its parent uses without calling it belongs to the stage of the layer
    before it.
    """
    numbers: dict[int, str] = {}
    names: list[str] = []
    for layer in layers:
        positions = max((layer.op.positions(shape)[1] for shape in layer.calls), default=0)
        if positions or not names:
            names.append(numbers.setdefault(positions, f"stage_{len(numbers) + 1}"))
        else:
            names.append(names[-1])
    return names


def whole_network(layers: Sequence[SurveyedLayer]) -> list[str]:
    """Give one epitome, named ``network``, to all layers."""
    return ["network" for _ in layers]


SHARINGS: dict[Share, Callable[[Sequence[SurveyedLayer]], list[str]]] = {
    "layer": each_layer,
    "stage": stages,
    "network": whole_network,
}
"""Every way of sharing, by the value of the option ``share``."""


def shared_names(share: Share, layers: Sequence[SurveyedLayer]) -> list[str]:
    """Return the name of the epitome that each layer reads. Layers with weights of different dtypes never share one.

    Args:
        share: Way of sharing.
        layers: The layers that are replaced, in module order.
    """
    names = SHARINGS[share](layers)
    dtypes = [str(layer.module.weight.dtype).removeprefix("torch.") for layer in layers]  # type: ignore[union-attr]
    first: dict[str, str] = {}
    for name, dtype in zip(names, dtypes, strict=True):
        first.setdefault(name, dtype)
    return [name if first[name] == dtype else f"{name}_{dtype}" for name, dtype in zip(names, dtypes, strict=True)]
