"""Datasets by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from nes_lab.datasets.knobs import ImageKnobs, refuse_unused
from nes_lab.datasets.spec import DatasetSpec
from nes_lab.errors import check_choice

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

    @property
    def augment(self) -> str:
        """``standard``, ``none`` or a policy's name."""
        ...

    @property
    def color_jitter(self) -> float:
        """Strength of random brightness, contrast and saturation."""
        ...

    @property
    def erase(self) -> float:
        """Probability that a rectangle is erased."""
        ...

    @property
    def crop_scale(self) -> float:
        """Smallest share of the area that a crop shows."""
        ...

    @property
    def interpolation(self) -> str:
        """``bilinear`` or ``bicubic``."""
        ...

    @property
    def normalize(self) -> str:
        """``own``, ``imagenet`` or ``half``."""
        ...

    @property
    def skip_broken(self) -> float:
        """Share of unreadable images that may be left out."""
        ...

    @property
    def samples(self) -> int | None:
        """Length of audio clips."""
        ...

    @property
    def val_fold(self) -> int:
        """Fold of an audio set that validates."""
        ...


_AUDIO_ONLY = ("samples", "val_fold")


def _digits(data: DataOptions, seed: int) -> DatasetSpec:
    from nes_lab.datasets.digits import load_digits

    refuse_unused(data, *_AUDIO_ONLY, "skip_broken", "crop_scale", "root")
    return load_digits(image_size=data.image_size, limit=data.limit, seed=seed, knobs=ImageKnobs.of(data))


def _torchvision_set(data: DataOptions, seed: int) -> DatasetSpec:
    from nes_lab.datasets.torchvision_sets import load_torchvision_set

    refuse_unused(data, *_AUDIO_ONLY, "skip_broken", "crop_scale")
    return load_torchvision_set(
        data.name,
        root=data.root,
        download=data.download,
        image_size=data.image_size,
        limit=data.limit,
        seed=seed,
        knobs=ImageKnobs.of(data),
    )


def _of_files(data: DataOptions, seed: int) -> dict[str, Any]:
    refuse_unused(data, *_AUDIO_ONLY)
    return {
        "root": data.root,
        "image_size": data.image_size,
        "limit": data.limit,
        "workers": data.workers,
        "seed": seed,
        "knobs": ImageKnobs.of(data),
        "skip_broken": data.skip_broken,
    }


def _image_folder(data: DataOptions, seed: int) -> DatasetSpec:
    from nes_lab.datasets.image_folder import load_image_folder

    refuse_unused(data, "download")
    return load_image_folder(**_of_files(data, seed))


def _image_shards(data: DataOptions, seed: int) -> DatasetSpec:
    from nes_lab.datasets.shards import load_image_shards

    refuse_unused(data, "download")
    return load_image_shards(**_of_files(data, seed))


def _imagenet(data: DataOptions, seed: int) -> DatasetSpec:
    from nes_lab.datasets.imagenet import load_imagenet

    refuse_unused(data, "download")
    return load_imagenet(**_of_files(data, seed))


def _imagenette(data: DataOptions, seed: int) -> DatasetSpec:
    from nes_lab.datasets.imagenet import load_imagenette

    return load_imagenette(**_of_files(data, seed), download=data.download)


def _audio_folder(data: DataOptions, seed: int) -> DatasetSpec:
    from nes_lab.datasets.audio_folder import load_audio_folder

    refuse_unused(
        data,
        "image_size",
        "color_jitter",
        "erase",
        "crop_scale",
        "interpolation",
        "normalize",
        "skip_broken",
        "download",
    )
    return load_audio_folder(
        root=data.root, samples=data.samples, val_fold=data.val_fold, augment=data.augment, limit=data.limit, seed=seed
    )


_LOADERS: dict[str, Callable[[DataOptions, int], DatasetSpec]] = {
    "digits": _digits,
    "image_folder": _image_folder,
    "image_shards": _image_shards,
    "imagenet": _imagenet,
    "imagenette": _imagenette,
    "cifar10": _torchvision_set,
    "cifar100": _torchvision_set,
    "fashion_mnist": _torchvision_set,
    "audio_folder": _audio_folder,
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
    return _LOADERS[check_choice("data.name", data.name, _LOADERS)](data, seed)
