"""Write a data set that is held in memory as an ImageNet-style folder of PNG files."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

from nes_lab.datasets.check.check import list_dataset
from nes_lab.datasets.check.listing import SplitFiles
from nes_lab.errors import DataError, OptionError
from nes_lab.packages import needed_for
from nes_lab.runs.replace import replace_bytes

__all__ = ["write_image_folder"]


def write_image_folder(name: str, folder: str | Path, *, root: Path | None = None) -> Path:
    """Write a data set that is held in memory as an ImageNet-style folder: ``train/<class>/*.png`` and ``val/<class>/*.png``.

    The images keep their size. The data set ``image_folder`` or ``imagenet`` reads the folder, at any size. Other programs that
    read ImageNet's layout read it too. Writing a data set again replaces its files by equal ones.

    Args:
        name: A data set of images in memory: ``digits``, ``cifar10``, ``cifar100`` or ``fashion_mnist``.
        folder: The folder to write to. It is created if it is missing. Other files in it stay as they are.
        root: Folder of the data set's own files; None means its default folder. ``digits`` needs none.

    Returns:
        The path of the folder.

    Raises:
        OptionError: If ``name`` is not a data set of images in memory.
        DataError: If there is no data set of that name, its files are missing, or the folder cannot be written.

    Examples:
        >>> import nes_lab, tempfile
        >>> folder = nes_lab.write_image_folder("digits", tempfile.mkdtemp())
        >>> report = nes_lab.check_data(folder)
        >>> report.usable, report.classes[:3], [(split.name, split.total) for split in report.splits]
        (True, ('0', '1', '2'), [('train', 1437), ('val', 360)])
    """
    files, folder = list_dataset(name, root=root), Path(folder)
    if files.problems:
        raise DataError(files.problems[0])
    if any(not isinstance(split.examples, np.ndarray) for split in files.splits.values()):
        raise OptionError(
            f"name={name!r} is not held in memory but in files; give digits, cifar10, cifar100 or fashion_mnist"
        )
    try:
        for split, content in files.splits.items():
            _write_split(folder / split, content, files.classes)
    except OSError as error:
        raise DataError(f"folder={str(folder)!r} cannot be written: {error.strerror or error}") from error
    return folder


def _write_split(folder: Path, content: SplitFiles, classes: tuple[str, ...]) -> None:
    with needed_for("writing images"):
        from PIL import Image

    for name in classes:
        (folder / name).mkdir(parents=True, exist_ok=True)
    for place, label in enumerate(content.labels):
        pixels = np.round(np.asarray(content.examples[place], dtype=np.float64) * 255 / content.white).astype(np.uint8)
        image = Image.fromarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0))
        file = io.BytesIO()
        image.save(file, "PNG")
        replace_bytes(folder / classes[label] / f"{place:05d}.png", file.getvalue(), durable=False)
