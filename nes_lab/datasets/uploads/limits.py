"""Limit the size, the number of files and the pixels of an upload.

Tests: tests/datasets/uploads/test_zip_listing.py.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["UploadLimits"]


@dataclass(frozen=True)
class UploadLimits:
    """The limits of an uploaded zip file. The defaults fit the 50 MB that the app accepts.

    Attributes:
        zip_bytes: Largest size of the zip file in bytes.
        files: Largest number of files in it.
        bytes: Largest size of all unpacked files together, in bytes.
        ratio: Largest quotient of the unpacked and the packed size. It applies to files of more than 10 MB unpacked.
        depth: Largest number of folders above a file.
        pixels: Largest number of pixels of one image.
        all_pixels: Largest number of pixels of all images together.
        shown: Largest number of single images that are uploaded at once to be explained.
        image_bytes: Largest size of such an image in bytes.

    Examples:
        >>> UploadLimits().files
        20000
    """

    zip_bytes: int = 50_000_000
    files: int = 20_000
    bytes: int = 500_000_000
    ratio: int = 100
    depth: int = 8
    pixels: int = 50_000_000
    all_pixels: int = 4_000_000_000
    shown: int = 12
    image_bytes: int = 10 * 2**20
