"""The shapes and batch sizes of a full measurement, and of a tiny one that shows on a CPU that all parts work."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.speed_parts.layers import RESNET50, Shape
from benchmarks.speed_parts.settings import Settings

__all__ = ["SIZES", "Size"]


@dataclass(frozen=True)
class Size:
    """Holds how large the measurements are.

    Args:
        settings: Rounds and seed of each measurement.
        expansions: Shapes of weights that are sampled from epitomes.
        layers: Shapes of convolutions that are timed alone.
        batch: Batch size of single layers, and of networks.
        pixels: Height and width of the images of networks.
        blocks, width: Blocks of each stage of the ResNet, and channels of its first stage.
    """

    settings: Settings
    expansions: tuple[Shape, ...]
    layers: tuple[Shape, ...]
    batch: int
    pixels: int
    blocks: tuple[int, ...]
    width: int


SIZES = {
    "full": Size(
        settings=Settings(),
        expansions=(
            Shape("resnet50", 3, 512, 512, 7),
            Shape("large", 1, 2048, 2048, 7),
            Shape("large", 3, 1024, 1024, 7),
            Shape("large", 1, 4096, 4096, 7),
        ),
        layers=(RESNET50[1], RESNET50[4], RESNET50[6], RESNET50[7]),
        batch=256,
        pixels=224,
        blocks=(3, 4, 6, 3),
        width=64,
    ),
    "tiny": Size(
        settings=Settings(quick=True),
        expansions=(Shape("tiny", 3, 32, 32, 7),),
        layers=(Shape("tiny", 1, 32, 64, 7),),
        batch=2,
        pixels=16,
        blocks=(1, 1),
        width=16,
    ),
}
"""Name of each size -> its shapes."""
