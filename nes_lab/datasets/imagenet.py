"""ImageNet-1k as a tree of images, and Imagenette, the ten easy classes of it."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from nes_lab.datasets.image_folder import load_image_folder
from nes_lab.datasets.knobs import STANDARD, ImageKnobs
from nes_lab.datasets.spec import DatasetSpec
from nes_lab.datasets.torchvision_sets import READ_ERRORS, default_root
from nes_lab.errors import DataError

__all__ = ["IMAGENETTE_CLASSES", "imagenet_notes", "imagenette_folder", "load_imagenet", "load_imagenette"]

_CLASSES = 1000
_WNID = re.compile(r"n\d{8}")
IMAGENETTE_CLASSES = {
    "n01440764": "tench",
    "n02102040": "English springer",
    "n02979186": "cassette player",
    "n03000684": "chain saw",
    "n03028079": "church",
    "n03394916": "French horn",
    "n03417042": "garbage truck",
    "n03425413": "gas pump",
    "n03445777": "golf ball",
    "n03888257": "parachute",
}
_FOLDERS = {"160px": "imagenette2-160", "320px": "imagenette2-320", "full": "imagenette2"}


def imagenet_notes(classes: tuple[str, ...]) -> tuple[str, ...]:
    """Say what keeps a set from being ImageNet-1k, whose class indices are its 1,000 wnids in sorted order.

    Examples:
        >>> imagenet_notes(("cat", "dog"))[0]
        'not ImageNet-1k: 2 classes instead of 1,000; 2 folder names are no wnids (cat, dog)'
    """
    odd = [name for name in classes if not _WNID.fullmatch(name)]
    parts = [f"{len(classes):,} classes instead of {_CLASSES:,}"] if len(classes) != _CLASSES else []
    parts += [f"{len(odd)} folder names are no wnids ({', '.join(odd[:3])})"] if odd else []
    return (f"not ImageNet-1k: {'; '.join(parts)}",) if parts else ()


def load_imagenet(
    *,
    root: Path | None,
    image_size: int | None = None,
    limit: int | None = None,
    workers: int = 0,
    seed: int = 0,
    knobs: ImageKnobs = STANDARD,
    skip_broken: float = 0.0,
) -> DatasetSpec:
    """Load ``root/{train,val}/<wnid>/*``; the position of a wnid in sorted order is its class index.

    It is :func:`~nes_lab.datasets.image_folder.load_image_folder`, with a note where the tree is not the whole set.

    Args:
        root: The folder that holds ``train`` and ``val``; None means ``$NES_LAB_HOME/imagenet`` or ``data/imagenet``.
        image_size: Pixels the network sees; None means 224.
        limit: At most this many training images, every class in proportion.
        workers: Processes that read images.
        seed: Decides which images a limit keeps.
        knobs: Augmentation, interpolation and normalization.
        skip_broken: Largest share of unreadable images that is left out instead of refused.

    Raises:
        DataError: Naming what is missing, empty, different or unreadable.
    """
    spec = load_image_folder(
        root=root or default_root("imagenet"),
        image_size=image_size,
        limit=limit,
        workers=workers,
        seed=seed,
        knobs=knobs,
        skip_broken=skip_broken,
        name="imagenet",
    )
    return replace(spec, notes=(*imagenet_notes(spec.classes), *spec.notes))


def load_imagenette(
    *,
    root: Path | None,
    download: bool = False,
    image_size: int | None = None,
    limit: int | None = None,
    workers: int = 0,
    seed: int = 0,
    knobs: ImageKnobs = STANDARD,
    skip_broken: float = 0.0,
) -> DatasetSpec:
    """Load Imagenette: 9,469 training and 3,925 validation images of ten classes.

    Args:
        root: The extracted folder, or the one that holds it (or shall hold it); None means the default place.
        download: Fetch it when absent, in the smallest of its three sizes that is not below ``image_size``.
        image_size: Pixels the network sees; None means 224.
        limit: At most this many training images, every class in proportion.
        workers: Processes that read images.
        seed: Decides which images a limit keeps.
        knobs: Augmentation, interpolation and normalization.
        skip_broken: Largest share of unreadable images that is left out instead of refused.

    Raises:
        DataError: Naming what is missing, empty, different or unreadable.
    """
    spec = load_image_folder(
        root=imagenette_folder(Path(root or default_root("imagenette")), download, image_size or 224),
        image_size=image_size,
        limit=limit,
        workers=workers,
        seed=seed,
        knobs=knobs,
        skip_broken=skip_broken,
        name="imagenette",
    )
    if spec.classes != tuple(IMAGENETTE_CLASSES):
        raise DataError(
            f"data.name='imagenette': the folder has the classes {', '.join(spec.classes[:5])}...; Imagenette's are "
            f"{', '.join(IMAGENETTE_CLASSES)}; give data.name='image_folder' for another set"
        )
    return replace(spec, classes=tuple(IMAGENETTE_CLASSES.values()))


def imagenette_folder(root: Path, download: bool = False, size: int = 224) -> Path:
    """Find the extracted folder, or fetch it.

    Args:
        root: The folder itself, or the one that holds it.
        download: Whether it may be fetched.
        size: Of the images that are wanted; the size that fits is preferred.

    Raises:
        DataError: If it is absent and not to be fetched, or the download fails.
    """
    if (root / "train").is_dir():
        return root
    wanted = "160px" if size <= 160 else "320px" if size <= 320 else "full"
    for kind in (wanted, "full", "320px", "160px"):
        if (root / _FOLDERS[kind]).is_dir():
            return root / _FOLDERS[kind]
    if not download:
        raise DataError(
            f"data.name='imagenette': data.root={str(root)!r} holds neither train/ nor one of "
            f"{', '.join(_FOLDERS.values())}; set data.download to true to fetch it"
        )
    from torchvision.datasets import Imagenette

    try:
        Imagenette(str(root), split="train", size=wanted, download=True)
    except READ_ERRORS as error:
        raise DataError(
            f"data.name='imagenette': the download to {str(root)!r} failed ({error}); check the network, or copy the "
            "extracted folder there by hand"
        ) from error
    return root / _FOLDERS[wanted]
