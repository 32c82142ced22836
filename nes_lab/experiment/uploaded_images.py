"""Decode the images that a user uploads to be explained, and prepare them as the data of a run is prepared. They are not trusted.

Tests: tests/worker/test_explanations.py.
"""

from __future__ import annotations

import base64
import binascii
import io
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nes_lab.datasets.images import IMAGE_ERRORS, as_rgb, open_image
from nes_lab.datasets.in_memory import resized
from nes_lab.datasets.spec import DatasetSpec
from nes_lab.datasets.uploads.limits import UploadLimits
from nes_lab.errors import DataError
from nes_lab.packages import needed_for
from nes_lab.text import format_bytes

with needed_for("reading images"):
    from PIL import Image

__all__ = ["Uploaded", "decode_uploads"]

_SHOWN_NAME = 80


@dataclass(frozen=True)
class Uploaded:
    """Holds an uploaded image that is decoded.

    Args:
        name: Name of the file, a label only.
        image: The image as RGB.
    """

    name: str
    image: Image.Image

    def prepared(self, data: DatasetSpec) -> Tensor:
        """Return the image as an input of networks that were trained on a data set, ``(C, H, W)``.

        It is resized, cut and normalized as the validation images of the data set are. For gray data, it becomes gray.
        """
        transform = getattr(data.val, "plain_transform", None)
        if transform is not None:
            return transform(self.image)
        image = self.image.convert("L") if data.in_channels == 1 else self.image
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        pixels = np.array(image.crop((left, top, left + side, top + side)), dtype=np.uint8)
        batch = torch.from_numpy(pixels.reshape(side, side, -1)).permute(2, 0, 1)[None]
        mean, std = (torch.tensor(part).reshape(-1, 1, 1) for part in (data.mean, data.std))
        return (resized(batch, data.image_size)[0].float() / 255 - mean) / std


def decode_uploads(files: Sequence[Mapping[str, Any]], limits: UploadLimits | None = None) -> list[Uploaded]:
    """Decode uploaded image files. Formats, sizes and numbers of pixels are limited; the pixels are counted before they are decoded.

    Args:
        files: Dicts with ``name`` and ``data``, the file in base64.
        limits: Limits of uploads; None: the defaults.

    Raises:
        DataError: If there are too many files, or one is too large, damaged, or not an image. The message names the file.
    """
    limits = limits or UploadLimits()
    if len(files) > limits.shown:
        raise DataError(f"{len(files)} images were uploaded; {limits.shown} are allowed at a time.")
    return [_decoded(str(file["name"])[:_SHOWN_NAME], str(file["data"]), limits) for file in files]


def _decoded(name: str, data: str, limits: UploadLimits) -> Uploaded:
    if len(data) > limits.image_bytes * 4 // 3 + 4:  # of base64
        raise DataError(f"The image {name!r} has more than {format_bytes(limits.image_bytes)}. Make it smaller.")
    try:
        with (
            warnings.catch_warnings(action="ignore"),
            open_image(io.BytesIO(base64.b64decode(data, validate=True))) as image,
        ):
            width, height = image.size
            if width * height > limits.pixels:
                raise DataError(
                    f"The image {name!r} has {width:,}×{height:,} pixels; {limits.pixels:,} pixels are allowed. Make it smaller."
                )
            return Uploaded(name, as_rgb(image))
    except (*IMAGE_ERRORS, binascii.Error) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(
            f"The file {name!r} cannot be read as an image. Upload a JPEG, PNG, WebP, BMP, TIFF or GIF file that is not damaged."
        ) from error
