"""Zip files in memory: good ones and hostile ones."""

from __future__ import annotations

import io
import zipfile

from PIL import Image


def picture(shade: int = 0, size: int = 8, kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (size, size), (shade % 256, 90, 30)).save(file, kind)
    return file.getvalue()


def make_zip(files: dict[str, bytes], **options) -> io.BytesIO:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", **options) as opened:
        for name, content in files.items():
            opened.writestr(name, content)
    return file


def two_classes(count: int = 5, prefix: str = "") -> dict[str, bytes]:
    return {f"{prefix}{name}/{i}.png": picture(40 * i) for name in ("cat", "dog") for i in range(count)}
