"""List the facts about every known data set, such as the number of classes.

To add a data set, add its name to ``DatasetName``, its facts to ``DATASET_FACTS``, and its loader to
``nes_lab/datasets/registry.py``.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

__all__ = ["DATASET_FACTS", "OWN_DATA_FACTS", "DatasetFacts", "DatasetName", "default_data_root", "markdown_table"]

DatasetName = Literal[
    "digits",
    "cifar10",
    "cifar100",
    "fashion_mnist",
    "imagenette",
    "imagenet",
    "image_folder",
    "image_shards",
    "audio_folder",
]


@dataclass(frozen=True)
class DatasetFacts:
    """Facts about a data set that are known before its files are read.

    For a data set of the user's own files, such as ``image_folder``, the values of ``classes`` and ``side`` are guesses.
    A compression plan uses the guesses until the files are read.

    Attributes:
        contents: Description of the examples in a few words.
        classes: Number of classes.
        channels: Channels of an example: 1 (gray, or one microphone) or 3 (RGB).
        side: Pixels per side of an image, or samples of an audio clip. The configuration can set another number.
        source: Where the data comes from: ``bundled`` with a package, a ``download``, or ``files`` that the user provides.
        how_to_get: How to get the data, in Markdown, for the documentation.
        layout: Paths of the data set's files inside the configured folder ``data.root``, for the documentation.
        unused: Fields of the configuration's ``data`` section that this data set does not use. Setting such a field is an
            error.
        folder: Glob pattern for the name of the folder that the unpacked download makes. A folder with this name is recognized
            as the data set. Empty if no such folder is made.
        examples: Number of training examples and of validation examples; None if the user provides the files.
        sample_rate: Samples per second of an audio clip; None for images.
    """

    contents: str
    classes: int
    channels: int
    side: int
    source: Literal["bundled", "download", "files"]
    how_to_get: str
    layout: str
    unused: tuple[str, ...]
    folder: str = ""
    examples: tuple[int, int] | None = None
    sample_rate: int | None = None

    @property
    def kind(self) -> Literal["image", "audio"]:
        """Kind of the data set's examples: ``image`` or ``audio``."""
        return "image" if self.sample_rate is None else "audio"

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one example: ``(channels, side, side)``, or ``(channels, side)`` for audio."""
        return (self.channels, self.side, self.side) if self.kind == "image" else (self.channels, self.side)


_AUDIO_FIELDS = ("samples", "val_fold")
_FILE_FIELDS = ("skip_broken", "crop_scale")
_FIXED_CLASSES = ("class_order",)
_IMAGE_FIELDS = ("image_size", "color_jitter", "erase", "interpolation", "normalize", "preprocess")
_TORCHVISION = "`--data.download` (torchvision)"

DATASET_FACTS: dict[str, DatasetFacts] = {
    "digits": DatasetFacts(
        contents="handwritten digits, gray",
        classes=10,
        channels=1,
        side=8,
        source="bundled",
        how_to_get="comes with scikit-learn",
        layout="",
        unused=(*_AUDIO_FIELDS, *_FILE_FIELDS, *_FIXED_CLASSES, "root"),
        examples=(1437, 360),
    ),
    "cifar10": DatasetFacts(
        contents="photographs of ten classes",
        classes=10,
        channels=3,
        side=32,
        source="download",
        how_to_get=_TORCHVISION,
        layout="cifar-10-batches-py/",
        unused=(*_AUDIO_FIELDS, *_FILE_FIELDS, *_FIXED_CLASSES),
        folder="cifar-10-batches-py",
        examples=(50_000, 10_000),
    ),
    "cifar100": DatasetFacts(
        contents="photographs of a hundred classes",
        classes=100,
        channels=3,
        side=32,
        source="download",
        how_to_get=_TORCHVISION,
        layout="cifar-100-python/",
        unused=(*_AUDIO_FIELDS, *_FILE_FIELDS, *_FIXED_CLASSES),
        folder="cifar-100-python",
        examples=(50_000, 10_000),
    ),
    "fashion_mnist": DatasetFacts(
        contents="clothes, gray",
        classes=10,
        channels=1,
        side=28,
        source="download",
        how_to_get=_TORCHVISION,
        layout="FashionMNIST/raw/",
        unused=(*_AUDIO_FIELDS, *_FILE_FIELDS, *_FIXED_CLASSES),
        folder="FashionMNIST",
        examples=(60_000, 10_000),
    ),
    "imagenette": DatasetFacts(
        contents="photographs of ten ImageNet classes",
        classes=10,
        channels=3,
        side=224,
        source="download",
        how_to_get="`--data.download` fetches the smallest size that is not below `data.image_size`",
        layout="imagenette2*/{train,val}/<wnid>/*",
        unused=_AUDIO_FIELDS,
        folder="imagenette2*",
        examples=(9_469, 3_925),
    ),
    "imagenet": DatasetFacts(
        contents="ImageNet-1k",
        classes=1000,
        channels=3,
        side=224,
        source="files",
        how_to_get="from image-net.org, under its terms; sort the validation images into wnid folders",
        layout="{train,val}/<wnid>/*",
        unused=(*_AUDIO_FIELDS, "download"),
        examples=(1_281_167, 50_000),
    ),
    "image_folder": DatasetFacts(
        contents="any images, one folder per class",
        classes=1000,
        channels=3,
        side=224,
        source="files",
        how_to_get="your own",
        layout="{train,val}/<class>/*",
        unused=(*_AUDIO_FIELDS, "download"),
    ),
    "image_shards": DatasetFacts(
        contents="any images, in tar archives (WebDataset)",
        classes=1000,
        channels=3,
        side=224,
        source="files",
        how_to_get="your own",
        layout="{train,val}/*.tar and optionally classes.txt",
        unused=(*_AUDIO_FIELDS, "download"),
    ),
    "audio_folder": DatasetFacts(
        contents="sounds in ESC-50's layout",
        classes=50,
        channels=1,
        side=220_500,
        source="files",
        how_to_get="ESC-50 from its authors, or your own",
        layout="audio/*.wav and meta/*.csv",
        unused=(*_IMAGE_FIELDS, *_FILE_FIELDS, "download"),
        sample_rate=44_100,
    ),
}

OWN_DATA_FACTS = DatasetFacts(
    contents="your own, from a function",
    classes=10,
    channels=3,
    side=32,
    source="files",
    how_to_get="your own",
    layout="",
    unused=(),
)
"""Assumed facts about a data set that a function of the user's own makes (``data.name`` is ``package.module:function``)."""


def default_data_root(name: str) -> Path:
    """Return the folder of a data set that is used if the configuration does not set ``data.root``.

    It is ``$NES_LAB_HOME/<name>``, or ``data/<name>`` if the environment variable ``NES_LAB_HOME`` is not set.
    """
    return Path(os.environ.get("NES_LAB_HOME") or "data") / name


def markdown_table() -> str:
    """Return the Markdown table in docs/data.md that lists all data sets, one per row.

    Examples:
        >>> markdown_table().splitlines()[2]
        '| `digits` | handwritten digits, gray | 1,437 + 360 | 1×8×8 | 10 | | comes with scikit-learn |'
    """
    head = ("name", "contents", "train + val", "input", "classes", "files below `data.root`", "how to get it")
    rows = [head, ("---",) * len(head), *(_markdown_row(name, facts) for name, facts in DATASET_FACTS.items())]
    return "\n".join("|" + "|".join(f" {cell} " if cell else " " for cell in row) + "|" for row in rows)


def _markdown_row(name: str, facts: DatasetFacts) -> tuple[str, ...]:
    own = facts.examples is None
    sizes = [str(facts.channels), "longest clip"] if own and facts.kind == "audio" else map(str, facts.input_shape)
    shape = "×".join(sizes)
    return (
        f"`{name}`",
        facts.contents,
        "" if facts.examples is None else " + ".join(f"{count:,}" for count in facts.examples),
        f"{shape} unless set" if own else shape,
        "any" if own else f"{facts.classes:,}",
        f"`{facts.layout}`" if facts.layout else "",
        facts.how_to_get,
    )
