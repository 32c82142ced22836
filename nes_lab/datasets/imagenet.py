"""Load the data sets ``imagenet`` (ImageNet-1k) and ``imagenette`` (ten of its classes that are easy to tell apart)."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Unpack

from nes_lab.datasets.check.listing import DatasetFiles, collect_error
from nes_lab.datasets.image_folder import list_image_folder
from nes_lab.datasets.knobs import FileOptions
from nes_lab.datasets.spec import DatasetSpec
from nes_lab.datasets.torchvision_sets import TORCHVISION_ERRORS
from nes_lab.datasets.tree_dataset import tree_dataset
from nes_lab.errors import DataError
from nes_lab.packages import needed_for
from nes_lab.records.dataset_facts import DATASET_FACTS, default_data_root
from nes_lab.text import list_some

__all__ = [
    "IMAGENETTE_CLASSES",
    "imagenet_notes",
    "imagenette_folder",
    "list_imagenet",
    "list_imagenette",
    "load_imagenet",
    "load_imagenette",
]

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
"""Names of Imagenette's classes by WordNet id (wnid)."""
_FOLDERS = {"160px": "imagenette2-160", "320px": "imagenette2-320", "full": "imagenette2"}


def imagenet_notes(classes: tuple[str, ...]) -> tuple[str, ...]:
    """Return a note if the classes are not those of ImageNet-1k: 1,000 WordNet ids (wnids) such as ``n01440764``.

    Examples:
        >>> imagenet_notes(("cat", "dog"))[0]
        'not ImageNet-1k: 2 classes instead of 1,000; 2 folder names are not wnids (cat, dog)'
    """
    complete = DATASET_FACTS["imagenet"].classes
    odd = [name for name in classes if not _WNID.fullmatch(name)]
    parts = [f"{len(classes):,} classes instead of {complete:,}"] if len(classes) != complete else []
    parts += [f"{len(odd)} folder names are not wnids ({', '.join(odd[:3])})"] if odd else []
    return (f"not ImageNet-1k: {'; '.join(parts)}",) if parts else ()


def list_imagenet(root: Path) -> DatasetFiles:
    """List the images in ImageNet's folders ``root/{train,val}/<wnid>/*``, and add a note if classes are missing or unknown."""
    files = list_image_folder(root, "imagenet")
    return replace(files, notes=(*imagenet_notes(files.classes), *files.notes))


def load_imagenet(*, root: Path | None, **options: Unpack[FileOptions]) -> DatasetSpec:
    """Load ImageNet-1k from ``root/{train,val}/<wnid>/*``. Each class has a WordNet id (wnid).

    The label of a class is the position of its wnid in the sorted list of wnids.

    Args:
        root: Folder that holds ``train`` and ``val``; None means ``$NES_LAB_HOME/imagenet`` or ``data/imagenet``.
        options: Side of the images (``image_size``), number of training images (``limit``), number of reading processes
            (``workers``), ``seed``, augmentation (``knobs``), share of unreadable images that is allowed (``skip_broken``),
            and order of the classes (``class_order``), as in :class:`~nes_lab.datasets.knobs.FileOptions`.

    Raises:
        DataError: If a folder or an image is missing or unreadable, if a class is empty, or if the splits have different
            classes. The message names the folder, image or class.
    """
    return tree_dataset(list_imagenet(root or default_data_root("imagenet")), **options)


def list_imagenette(root: Path) -> DatasetFiles:
    """List the images of Imagenette. ``root`` is the folder of the unpacked download, or its parent folder."""
    problems: list[str] = []
    folder = collect_error(problems, imagenette_folder, root)
    return _list_folder(folder) if folder else DatasetFiles("imagenette", root, problems=tuple(problems))


def _list_folder(folder: Path) -> DatasetFiles:
    files = list_image_folder(folder, "imagenette")
    if files.classes == tuple(IMAGENETTE_CLASSES):
        return files
    problem = (
        f"data.name='imagenette': the folder has the classes {list_some(files.classes)}; Imagenette's are "
        f"{', '.join(IMAGENETTE_CLASSES)}; give data.name='image_folder' for another set"
    )
    return replace(files, problems=(*files.problems, problem))


def load_imagenette(*, root: Path | None, download: bool = False, **options: Unpack[FileOptions]) -> DatasetSpec:
    """Load Imagenette: 9,469 training and 3,925 validation images of ten classes.

    Args:
        root: The folder of the unpacked download, or its parent folder; None means ``$NES_LAB_HOME/imagenette`` or
            ``data/imagenette``.
        download: Download the set if it is absent. Versions with 160 pixels, 320 pixels and full size exist. The smallest
            one that is large enough for ``image_size`` is chosen.
        options: Side of the images (``image_size``), number of training images (``limit``), number of reading processes
            (``workers``), ``seed``, augmentation (``knobs``), share of unreadable images that is allowed (``skip_broken``),
            and order of the classes (``class_order``), as in :class:`~nes_lab.datasets.knobs.FileOptions`.

    Raises:
        DataError: If a folder or an image is missing or unreadable, if a class is empty, or if the splits have different
            classes. The message names the folder, image or class.
    """
    size = options.get("image_size") or DATASET_FACTS["imagenette"].side
    folder = imagenette_folder(Path(root or default_data_root("imagenette")), download, size)
    data = tree_dataset(_list_folder(folder), **options)
    return replace(data, classes=tuple(IMAGENETTE_CLASSES[wnid] for wnid in data.classes))


def imagenette_folder(root: Path, download: bool = False, size: int = 224) -> Path:
    """Return the folder of the unpacked Imagenette; download the set if it is absent and ``download`` is true.

    Args:
        root: The folder of the unpacked download, or its parent folder.
        download: Download the set if it is absent.
        size: Side of the images that training needs, in pixels. The smallest version of Imagenette that is large enough is preferred.

    Raises:
        DataError: If the folder is absent and ``download`` is false, or the download fails.
    """
    if (root / "train").is_dir():
        return root
    preferred = "160px" if size <= 160 else "320px" if size <= 320 else "full"
    for version in (preferred, "full", "320px", "160px"):
        if (root / _FOLDERS[version]).is_dir():
            return root / _FOLDERS[version]
    if not download:
        raise DataError(
            f"data.name='imagenette': data.root={str(root)!r} holds neither train/ nor one of "
            f"{', '.join(_FOLDERS.values())}; set data.download to true to fetch it"
        )
    with needed_for("data.name='imagenette'"):
        from torchvision.datasets import Imagenette

    try:
        Imagenette(str(root), split="train", size=preferred, download=True)
    except TORCHVISION_ERRORS as error:
        raise DataError(
            f"data.name='imagenette': the download to {str(root)!r} failed ({error}); check the network, or copy the "
            "extracted folder there by hand"
        ) from error
    return root / _FOLDERS[preferred]
