"""Datasets by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from nes_lab.datasets.spec import DatasetSpec
from nes_lab.errors import one_of

__all__ = ["DataOptions", "dataset_names", "load_dataset"]


class DataOptions(Protocol):
    """The fields of a data section, e.g. ``nes_lab.config.DataConfig``, that decide what is loaded."""

    @property
    def name(self) -> str:
        """The registry's name."""
        ...

    @property
    def root(self) -> Path | None:
        """Folder that holds the data."""
        ...

    @property
    def download(self) -> bool:
        """Fetch it when absent."""
        ...

    @property
    def image_size(self) -> int | None:
        """Side of the images in pixels."""
        ...

    @property
    def workers(self) -> int:
        """Processes that load images."""
        ...

    @property
    def limit(self) -> int | None:
        """At most this many training images."""
        ...


def _digits(data: DataOptions, seed: int) -> DatasetSpec:
    from nes_lab.datasets.digits import load_digits

    return load_digits(image_size=data.image_size, limit=data.limit, seed=seed)


def _image_folder(data: DataOptions, seed: int) -> DatasetSpec:
    from nes_lab.datasets.image_folder import load_image_folder

    return load_image_folder(
        root=data.root, image_size=data.image_size, limit=data.limit, workers=data.workers, seed=seed
    )


def _cifar10(data: DataOptions, seed: int) -> DatasetSpec:
    from nes_lab.datasets.torchvision_sets import load_cifar10

    return load_cifar10(root=data.root, download=data.download, image_size=data.image_size, limit=data.limit, seed=seed)


def _fashion_mnist(data: DataOptions, seed: int) -> DatasetSpec:
    from nes_lab.datasets.torchvision_sets import load_fashion_mnist

    return load_fashion_mnist(
        root=data.root, download=data.download, image_size=data.image_size, limit=data.limit, seed=seed
    )


_LOADERS: dict[str, Callable[[DataOptions, int], DatasetSpec]] = {
    "digits": _digits,
    "image_folder": _image_folder,
    "cifar10": _cifar10,
    "fashion_mnist": _fashion_mnist,
}


def dataset_names() -> tuple[str, ...]:
    """Names that :func:`load_dataset` knows.

    Examples:
        >>> dataset_names()[0]
        'digits'
    """
    return tuple(_LOADERS)


def load_dataset(data: DataOptions, *, seed: int = 0) -> DatasetSpec:
    """Load a dataset, checked and ready to train on.

    Args:
        data: The data section of a config.
        seed: Decides splits and what a limit keeps.

    Raises:
        OptionError: If ``data.name`` is unknown; with the closest names.
        DataError: If the data is missing, incomplete or damaged; says what to do.
    """
    return _LOADERS[one_of("data.name", data.name, _LOADERS)](data, seed)
