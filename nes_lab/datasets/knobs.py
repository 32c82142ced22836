"""The settings that say how images are served, and which of them a kind of data set understands. Torch-free."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from nes_lab.errors import OptionError, check_choice

__all__ = ["IMAGENET_MEAN", "IMAGENET_STD", "STANDARD", "ImageKnobs", "refuse_unused", "statistics"]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
Channels = tuple[float, ...]
_WHY = {
    "samples": "is the length of audio clips",
    "val_fold": "is the fold of an audio set that validates",
    "skip_broken": "leaves out image files; this set has none",
    "crop_scale": "is for images of folders and shards; this set is moved and mirrored instead",
    "image_size": "is for images; audio has data.samples",
    "color_jitter": "is for images",
    "erase": "is for images",
    "interpolation": "is for images",
    "normalize": "is for images; every clip is scaled to mean 0 and deviation 1",
    "root": "is where data lies; the digits come with scikit-learn",
    "download": "has nothing to fetch here: put the files in data.root",
}
_NEUTRAL = {
    "samples": None,
    "val_fold": 5,
    "skip_broken": 0.0,
    "crop_scale": 0.08,
    "image_size": None,
    "color_jitter": 0.0,
    "erase": 0.0,
    "interpolation": "bilinear",
    "normalize": "own",
    "root": None,
    "download": False,
}


@dataclass(frozen=True)
class ImageKnobs:
    """How images are augmented, resized and normalized.

    Args:
        augment: ``standard``, ``none`` or timm's name of a policy, which comes on top of standard.
        color_jitter: Strength of random brightness, contrast and (in color) saturation.
        erase: Probability that a random rectangle is filled with noise.
        crop_scale: Smallest share of the area that a random crop shows.
        interpolation: ``bilinear`` or ``bicubic``.
        normalize: ``own``, ``imagenet`` or ``half``.
    """

    augment: str = "standard"
    color_jitter: float = 0.0
    erase: float = 0.0
    crop_scale: float = 0.08
    interpolation: str = "bilinear"
    normalize: str = "own"

    @classmethod
    def of(cls, data: Any) -> ImageKnobs:
        """Take the fields of a data section.

        Raises:
            OptionError: If a crop is asked for and switched off at once.
        """
        if data.augment == "none" and data.crop_scale != cls.crop_scale:
            raise OptionError(
                f"data.crop_scale={data.crop_scale!r} has no effect with data.augment='none', which crops the center"
            )
        names = ("augment", "color_jitter", "erase", "crop_scale", "interpolation", "normalize")
        return cls(**{name: getattr(data, name) for name in names})


STANDARD = ImageKnobs()
"""What is done unless asked otherwise."""


def refuse_unused(data: Any, *names: str) -> None:
    """Raise if a field that means nothing for this data set was set.

    Args:
        data: A data section.
        names: Fields that must be as they are by default.

    Raises:
        OptionError: Naming the field, its value and why it does not apply.
    """
    for name in names:
        value = getattr(data, name)
        if value != _NEUTRAL[name]:
            raise OptionError(f"data.{name}={value!r} {_WHY[name]}; leave it out for data.name={data.name!r}")


def statistics(normalize: str, own: tuple[Channels, Channels]) -> tuple[Channels, Channels]:
    """Return the mean and deviation that images are normalized by.

    Args:
        normalize: ``own``, ``imagenet`` or ``half``.
        own: What the set has, one number a channel.

    Raises:
        OptionError: If ImageNet's three channels are asked for and the set is grey.

    Examples:
        >>> statistics("half", ((0.3,), (0.2,)))
        ((0.5,), (0.5,))
    """
    check_choice("data.normalize", normalize, ("own", "imagenet", "half"))
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
