"""Define the options for augmenting, resizing and limiting examples. Refuse options that a data set does not use."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, get_args

from nes_lab.errors import OptionError, check_choice
from nes_lab.records.dataset_facts import DATASET_FACTS
from nes_lab.records.options import ClassOrder, Interpolation, Normalization
from nes_lab.records.preprocessing import Preprocessing

if TYPE_CHECKING:
    from nes_lab.config import DataConfig

__all__ = [
    "CROP",
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "STANDARD",
    "FileOptions",
    "ImageKnobs",
    "ImageOptions",
    "refuse_unused",
    "statistics",
]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
CROP = 224 / 256
"""Side of the part of a resized image that is cut out, as a share of its side, unless the backbone decides it."""
Channels = tuple[float, ...]
_WHY_UNUSED = {
    "class_order": "orders classes that folders, archives or tables name; this set has a fixed order",
    "samples": "is the length of audio clips",
    "val_fold": "is the validation fold of an audio set",
    "skip_broken": "leaves out image files; this set has none",
    "crop_scale": "is for images in folders and archives; images of this set are shifted or mirrored instead",
    "image_size": "is for images; audio has data.samples",
    "color_jitter": "is for images",
    "erase": "is for images",
    "interpolation": "is for images",
    "normalize": "is for images; every clip is scaled to mean 0 and deviation 1",
    "preprocess": "is for images",
    "root": "is the folder of a data set; the digits come with scikit-learn",
    "download": "has nothing to fetch here: put the files in data.root",
}


@dataclass(frozen=True)
class ImageKnobs:
    """Options that say how images are augmented, resized and normalized.

    Args:
        augment: ``standard``, ``none``, or the name of an augmentation policy of timm. A policy is applied in addition to
            ``standard``.
        color_jitter: Strength of random changes of brightness, contrast and (for RGB) saturation; 0 means no change.
        erase: Probability that a random rectangle is filled with noise.
        crop_scale: Smallest share of an image's area that a random crop shows.
        interpolation: How images are resized: ``bilinear`` or ``bicubic``.
        normalize: Mean and standard deviation used: ``own`` (the data set's), ``imagenet`` (ImageNet's) or ``half`` (0.5).
        backbone: How images were prepared for the weights of the backbone. It decides instead of ``interpolation`` and
            ``normalize``. None: these two decide.
    """

    augment: str = "standard"
    color_jitter: float = 0.0
    erase: float = 0.0
    crop_scale: float = 0.08
    interpolation: Interpolation = "bilinear"
    normalize: Normalization = "own"
    backbone: Preprocessing | None = None

    @classmethod
    def of(cls, data: DataConfig, backbone: Preprocessing | None = None) -> ImageKnobs:
        """Return the image options in the data section of a configuration.

        Args:
            data: The data section.
            backbone: How images were prepared for the weights of the backbone; used if ``data.preprocess`` asks for it.

        Raises:
            OptionError: If ``crop_scale`` is set although ``augment="none"`` turns random cropping off. Or if
                ``preprocess="backbone"`` and it is not known how images were prepared for the backbone.
        """
        if data.augment == "none" and data.crop_scale != cls.crop_scale:
            raise OptionError(
                f"data.crop_scale={data.crop_scale!r} has no effect with data.augment='none', which crops the center"
            )
        names = ("augment", "color_jitter", "erase", "crop_scale", "interpolation", "normalize")
        if data.preprocess == "backbone" and backbone is None:
            raise OptionError(
                "data.preprocess='backbone': it is not known how images were prepared for this backbone; it is for timm's networks, "
                "and for saved networks and runs that recorded it. Leave it out, and set data.interpolation and data.normalize"
            )
        given = backbone if data.preprocess == "backbone" else None
        return cls(**{name: getattr(data, name) for name in names}, backbone=given)

    @property
    def resize(self) -> str:
        """Return the interpolation with which images are resized."""
        return self.interpolation if self.backbone is None else self.backbone.interpolation

    def statistics(self, own: tuple[Channels, Channels]) -> tuple[Channels, Channels]:
        """Return the mean and standard deviation that images are normalized with.

        Args:
            own: The mean of each channel and the standard deviation of each channel, over the data set.

        Raises:
            OptionError: If they have another number of channels than the images.
        """
        if self.backbone is None:
            return statistics(self.normalize, own)
        if len(self.backbone.mean) != len(own[0]):
            raise OptionError(
                f"data.preprocess='backbone' has numbers for {len(self.backbone.mean)} channels and these images have "
                f"{len(own[0])}; leave it out"
            )
        return self.backbone.mean, self.backbone.std

    def applied(self, size: int, mean: Channels, std: Channels, cropped: bool) -> Preprocessing:
        """Return how images are prepared with these options.

        Args:
            size: Side of the network's input, in pixels.
            mean: Mean of each channel, used to normalize.
            std: Standard deviation of each channel.
            cropped: Whether a part is cut out of the middle of each image.
        """
        given = self.backbone
        crop, mode = (CROP, "center") if given is None else (given.crop or CROP, given.crop_mode)
        return Preprocessing(size, self.resize, crop if cropped else None, mean, std, mode if cropped else "center")


STANDARD = ImageKnobs()
"""The image options of a configuration that sets none of them."""


class ImageOptions(TypedDict, total=False):
    """Options of every data set of images, given as keywords; each may be left out.

    Attributes:
        image_size: Side of the images that the network gets, in pixels. None means 224 for images in files; images in
            memory keep their size.
        limit: Keep at most this many training images, each class in proportion to its size; None keeps all.
        holdout: Number of training images that are held out and used for validation instead of the validation split; None: it is used.
        seed: Seed for choosing the images that ``limit`` keeps, and for random splits.
        knobs: Options for augmentation, interpolation and normalization.
    """

    image_size: int | None
    limit: int | None
    holdout: int | None
    seed: int
    knobs: ImageKnobs


class FileOptions(ImageOptions, total=False):
    """Options of data sets whose images lie in files or archives, given as keywords; each may be left out.

    Attributes:
        workers: Number of worker processes that read images; with 0, the main process reads them.
        skip_broken: Share of all images that may be unreadable. Such images are left out; a larger share is an error.
        class_order: Order of the classes: ``own``, ``text``, ``natural``, or the path of a file with one class name per line.
    """

    workers: int
    skip_broken: float
    class_order: ClassOrder | Path


def refuse_unused(data: DataConfig) -> None:
    """Raise if a configuration sets an option that its data set does not use.

    Raises:
        OptionError: If there is such an option. The message says why it does not apply.
    """
    fields = type(data).model_fields
    for name in DATASET_FACTS[data.name].unused:
        value = getattr(data, name)
        if value != fields[name].default:
            raise OptionError(f"data.{name}={value!r} {_WHY_UNUSED[name]}; leave it out for data.name={data.name!r}")


def statistics(normalize: Normalization, own: tuple[Channels, Channels]) -> tuple[Channels, Channels]:
    """Return the mean and standard deviation that images are normalized with.

    Args:
        normalize: ``own`` for the statistics of the data set, ``imagenet`` for ImageNet's, ``half`` for 0.5 as both.
        own: The mean of each channel and the standard deviation of each channel, over the data set.

    Raises:
        OptionError: If ImageNet's statistics for three channels are requested for gray images.

    Examples:
        >>> statistics("half", ((0.3,), (0.2,)))
        ((0.5,), (0.5,))
    """
    check_choice("data.normalize", normalize, get_args(Normalization))
    channels = len(own[0])
    if normalize == "half":
        return (0.5,) * channels, (0.5,) * channels
    if normalize == "imagenet":
        if channels != len(IMAGENET_MEAN):
            raise OptionError(
                "data.normalize='imagenet' has numbers for three channels and these images have one; give own or half"
            )
        return IMAGENET_MEAN, IMAGENET_STD
    return own
