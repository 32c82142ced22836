"""Look up data sets by name: load one for training, or list its files for a check.

To add a data set, write ``datasets/NAME.py`` with a function that loads it and one that lists its files, enter both
functions in ``DATASETS``, and add a row of facts to ``nes_lab/records/dataset_facts.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nes_lab.datasets.audio_folder import list_audio_folder, load_audio_folder
from nes_lab.datasets.check.listing import DatasetFiles
from nes_lab.datasets.digits import list_digits, load_digits
from nes_lab.datasets.image_folder import list_image_folder, load_image_folder
from nes_lab.datasets.image_shards import list_image_shards, load_image_shards
from nes_lab.datasets.imagenet import list_imagenet, list_imagenette, load_imagenet, load_imagenette
from nes_lab.datasets.imported import load_imported
from nes_lab.datasets.knobs import FileOptions, ImageKnobs, ImageOptions, refuse_unused
from nes_lab.datasets.spec import DatasetSpec
from nes_lab.datasets.torchvision_sets import list_torchvision_set, load_torchvision_set
from nes_lab.errors import check_choice
from nes_lab.import_spec import is_import_spec
from nes_lab.records.preprocessing import Preprocessing

if TYPE_CHECKING:
    from nes_lab.config import DataConfig

__all__ = ["DATASETS", "Dataset", "load_dataset"]


@dataclass(frozen=True)
class Dataset:
    """The two functions of a data set: one loads it for training, the other lists its files for a check.

    Attributes:
        load: Takes the data section of a configuration, a seed, and how images were prepared for the backbone (None: not known).
            Returns the loaded and checked data set.
        list_files: Takes the folder of the data set and the number of the validation fold. Returns the files without
            decoding them. Only audio data sets use the fold.
    """

    load: Callable[[DataConfig, int, Preprocessing | None], DatasetSpec]
    list_files: Callable[[Path, int], DatasetFiles]


def _image_options(data: DataConfig, seed: int, backbone: Preprocessing | None) -> ImageOptions:
    return {
        "image_size": data.image_size,
        "limit": data.limit,
        "holdout": data.holdout,
        "seed": seed,
        "knobs": ImageKnobs.of(data, backbone),
    }


def _file_options(data: DataConfig, seed: int, backbone: Preprocessing | None) -> FileOptions:
    return {
        **_image_options(data, seed, backbone),
        "workers": data.workers,
        "skip_broken": data.skip_broken,
        "class_order": data.class_order,
    }


def _torchvision_set(name: str) -> Dataset:
    return Dataset(
        lambda data, seed, backbone: load_torchvision_set(
            name, root=data.root, download=data.download, **_image_options(data, seed, backbone)
        ),
        lambda root, val_fold: list_torchvision_set(name, root),
    )


DATASETS: dict[str, Dataset] = {
    "digits": Dataset(
        lambda data, seed, backbone: load_digits(**_image_options(data, seed, backbone)),
        lambda root, val_fold: list_digits(),
    ),
    "cifar10": _torchvision_set("cifar10"),
    "cifar100": _torchvision_set("cifar100"),
    "fashion_mnist": _torchvision_set("fashion_mnist"),
    "imagenette": Dataset(
        lambda data, seed, backbone: load_imagenette(
            root=data.root, download=data.download, **_file_options(data, seed, backbone)
        ),
        lambda root, val_fold: list_imagenette(root),
    ),
    "imagenet": Dataset(
        lambda data, seed, backbone: load_imagenet(root=data.root, **_file_options(data, seed, backbone)),
        lambda root, val_fold: list_imagenet(root),
    ),
    "image_folder": Dataset(
        lambda data, seed, backbone: load_image_folder(root=data.root, **_file_options(data, seed, backbone)),
        lambda root, val_fold: list_image_folder(root),
    ),
    "image_shards": Dataset(
        lambda data, seed, backbone: load_image_shards(root=data.root, **_file_options(data, seed, backbone)),
        lambda root, val_fold: list_image_shards(root),
    ),
    "audio_folder": Dataset(
        lambda data, seed, backbone: load_audio_folder(
            root=data.root,
            samples=data.samples,
            val_fold=data.val_fold,
            augment=data.augment,
            limit=data.limit,
            holdout=data.holdout,
            class_order=data.class_order,
            seed=seed,
        ),
        list_audio_folder,
    ),
}


def load_dataset(
    data: DataConfig, *, seed: int = 0, one_split: bool = False, backbone: Preprocessing | None = None
) -> DatasetSpec:
    """Load and check the data set that a configuration names.

    Args:
        data: The data section of a configuration. Its ``name`` is that of a known data set, or a function of your own as
            ``"package.module:function"``.
        seed: Seed for random splits, and for choosing the examples that ``data.limit`` keeps.
        one_split: Accept an ``image_folder`` that holds only one of ``train`` and ``val``, to calibrate or evaluate on it.
        backbone: How images were prepared for the weights of the backbone, for ``data.preprocess="backbone"``. None: not known.

    Raises:
        OptionError: If ``data.name`` is unknown, or an option is set that this data set does not use.
        DataError: If the data is missing, incomplete or damaged; the message says what to do.
    """
    if is_import_spec(data.name):
        return load_imported(data, seed)
    dataset = DATASETS[check_choice("data.name", data.name, DATASETS)]
    refuse_unused(data)
    if one_split and data.name == "image_folder":
        return load_image_folder(root=data.root, one_split=True, **_file_options(data, seed, backbone))
    return dataset.load(data, seed, backbone)
