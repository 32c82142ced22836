"""Turn an image into the network's input: crop it, change its colors, apply an augmentation policy, normalize, erase a part.

An augmentation policy is a set of random changes that timm defines by a name, such as ``rand-m9``.

torchvision and timm draw from the global generators of Python, NumPy and torch. :func:`nes_lab.datasets.seeded.seeded` seeds these
generators for each image and restores them afterwards. So the augmentation of an image depends only on the seed of that
image.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nes_lab.datasets.knobs import CROP, ImageKnobs
from nes_lab.datasets.seeded import seeded
from nes_lab.errors import OptionError, check_choice
from nes_lab.packages import needed_for

with needed_for("augmenting images"):
    from PIL import Image, ImageOps

__all__ = ["EachImage", "check_augment", "eval_transform", "posterize", "train_transform"]

_BITS = 8
_POLICIES = {
    "rand": r"m\d{1,3}|n[1-9]|p(0|1|0?\.\d+|1\.0+)|mstd\d+(\.\d+)?|mmax[1-9]\d?|inc[01]|t(weights|3aw|3a)",
    "augmix": r"m\d{1,2}|w[1-9]|d[1-9]|b[01]|a\d+(\.\d+)?|mstd\d+(\.\d+)?",
    **dict.fromkeys(("original", "originalr", "v0", "v0r", "3a"), r"mstd\d+(\.\d+)?"),
}
_EXAMPLE = "rand-m9-mstd0.5-inc1, augmix-m5-w4 or original"


def check_augment(text: str) -> str | None:
    """Check and return the name of an augmentation policy of timm. For ``standard`` and ``none``, return None.

    timm ignores the parts of a policy's name that it does not know. Here such a part is an error.

    Raises:
        OptionError: If a part of the name is wrong. The message quotes this part and shows a correct name.

    Examples:
        >>> check_augment("standard"), check_augment("rand-m9-mstd0.5-inc1")
        (None, 'rand-m9-mstd0.5-inc1')
    """
    if text in ("standard", "none"):
        return None
    first, *parts = text.split("-")
    if first not in _POLICIES:
        check_choice("data.augment", first, ["standard", "none", *_POLICIES])
    seen: set[str] = set()
    for part in parts:
        key = re.split(r"[\d.]", part)[0] if not part.startswith("t") else "t"
        if key in seen or not re.fullmatch(_POLICIES[first], part):
            why = "is given twice" if key in seen else f"is not known to {first!r}"
            raise OptionError(f"data.augment={text!r}: {part!r} {why}; write it like {_EXAMPLE}")
        seen.add(key)
    return text


def _policy(text: str, size: int, mean: tuple[float, ...], interpolation: str) -> Callable[[Image.Image], Image.Image]:
    from timm.data import auto_augment as timm_policies
    from timm.data.transforms import str_to_pil_interp

    settings = {
        "translate_const": int(size * 0.45),
        "img_mean": tuple(min(255, round(255 * value)) for value in mean),
        "interpolation": str_to_pil_interp(interpolation),
    }
    if text.startswith("augmix"):
        settings["translate_pct"] = 0.3  # timm's value: AugMix shifts an image by up to this share of its size
        policy = timm_policies.augment_and_mix_transform(text, settings)
    elif text.startswith("rand"):
        policy = timm_policies.rand_augment_transform(text, settings)
    else:
        policy = timm_policies.auto_augment_transform(text, settings)
    steps = [step for of_one in policy.policy for step in of_one] if hasattr(policy, "policy") else list(policy.ops)
    for step in steps:
        if step.name.startswith("Posterize"):
            step.aug_fn = posterize
    return policy


def posterize(image: Image.Image, bits: int, **_: Any) -> Image.Image:
    """Keep only the highest ``bits`` bits of every pixel value. With 0 bits the image becomes black."""
    if bits >= _BITS:
        return image
    # Pillow 13 would raise for 0 bits
    return ImageOps.posterize(image, bits) if bits > 0 else Image.new(image.mode, image.size)


def _eraser(probability: float) -> Callable[[Tensor], Tensor]:
    from timm.data.random_erasing import RandomErasing

    return RandomErasing(probability, mode="pixel", device="cpu")


def _on_pictures(knobs: ImageKnobs, size: int, mean: tuple[float, ...]) -> list[Any]:
    """Return functions that change a PIL image at random: color jitter and an augmentation policy, if the options ask for them."""
    from torchvision.transforms import v2

    steps: list[Any] = [v2.ColorJitter(*[knobs.color_jitter] * 3)] if knobs.color_jitter else []
    policy = check_augment(knobs.augment)
    return steps + ([_policy(policy, size, mean, knobs.resize)] if policy else [])


def _to_tensor(mean: tuple[float, ...], std: tuple[float, ...]) -> list[Any]:
    from torchvision.transforms import v2

    return [v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(list(mean), list(std))]


def _center(size: int, knobs: ImageKnobs) -> list[Any]:
    """Return functions that resize a PIL image and cut out its middle, with timm's own code if the backbone is of timm."""
    from torchvision.transforms import InterpolationMode, v2

    if (given := knobs.backbone) is not None:
        from timm.data.transforms_factory import transforms_imagenet_eval

        steps = transforms_imagenet_eval(size, given.crop, given.crop_mode, None, given.interpolation, given.mean)
        return steps.transforms[:-2]  # the last two make a tensor and normalize it
    side = math.floor(size / CROP)
    return [v2.Resize(side, interpolation=InterpolationMode(knobs.interpolation)), v2.CenterCrop(size)]


def train_transform(
    size: int, knobs: ImageKnobs, mean: tuple[float, ...], std: tuple[float, ...]
) -> Callable[[Image.Image], Tensor]:
    """Return the function that augments a PIL image at random and turns it into a training input.

    The image is cropped and mirrored at random. With ``augment="none"`` its center is cropped instead. Then colors
    change, and the augmentation policy is applied. The result is a normalized tensor, in which a rectangle may be erased.
    """
    from torchvision.transforms import InterpolationMode, v2

    mode = InterpolationMode(knobs.resize)
    steps: list[Any] = (
        _center(size, knobs)
        if knobs.augment == "none"
        else [
            v2.RandomResizedCrop(size, scale=(knobs.crop_scale, 1.0), interpolation=mode),
            v2.RandomHorizontalFlip(),
        ]
    )
    steps += [*_on_pictures(knobs, size, mean), *_to_tensor(mean, std)]
    return v2.Compose([*steps, _eraser(knobs.erase)] if knobs.erase else steps)


def eval_transform(
    size: int, knobs: ImageKnobs, mean: tuple[float, ...], std: tuple[float, ...]
) -> Callable[[Image.Image], Tensor]:
    """Return the function that turns a PIL image into an evaluation input, without randomness.

    ``size`` is the side of the network's input in pixels. The image is first resized: its shorter side becomes 256/224
    times ``size``. Then the center is cropped and the pixels are normalized. If ``knobs`` hold how images were prepared for the
    backbone, they are resized and cropped as there.
    """
    from torchvision.transforms import v2

    return v2.Compose([*_center(size, knobs), *_to_tensor(mean, std)])


@dataclass(frozen=True)
class EachImage:
    """Random changes to single images in memory: color jitter and an augmentation policy, then normalization and erasing.

    Args:
        knobs: Options that say which changes are turned on, and how strong they are.
        size: Side of the images, in pixels.
        mean: Mean of each channel, used to normalize. It also fills corners that are empty after a rotation.
        white: Pixel value that means white in the images.
    """

    knobs: ImageKnobs
    size: int
    mean: tuple[float, ...]
    white: float

    @property
    def on(self) -> bool:
        """Return whether any random change to images is turned on: color jitter, an augmentation policy or erasing."""
        return bool(self.knobs.color_jitter or self.knobs.erase or check_augment(self.knobs.augment))

    def __call__(self, images: Tensor, seeds: list[int], normalize: Callable[[Tensor], Tensor]) -> Tensor:
        """Augment and normalize a batch of images, each with its own seed.

        Shape:
            - images ``(N, C, H, W)`` with values from 0 to the pixel value that means white
            - the result has the same shape; it is normalized and float32
        """
        steps = _on_pictures(self.knobs, self.size, self.mean)
        erase = _eraser(self.knobs.erase) if self.knobs.erase else None
        changed = []
        for image, seed in zip(images, seeds, strict=True):
            with seeded(seed):
                picture = self._change(image, steps) if steps else image
                normal = normalize(picture)
                changed.append(erase(normal) if erase else normal)
        return torch.stack(changed)

    def _change(self, image: Tensor, steps: list[Any]) -> Tensor:
        pixels = image.float().mul(255 / self.white).round().to(torch.uint8)
        array = pixels.permute(1, 2, 0).numpy()
        picture = Image.fromarray(array[:, :, 0] if array.shape[2] == 1 else array)
        for step in steps:
            picture = step(picture)
        changed = torch.from_numpy(np.array(picture)).reshape(*array.shape).permute(2, 0, 1)
        return changed.float().mul(self.white / 255)
