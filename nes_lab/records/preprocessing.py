"""Preprocessing: how images become the inputs of a network (interpolation, crop, mean and deviation), as plain data.

Tests: tests/backbones/test_preprocessing.py
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

__all__ = ["Preprocessing"]

_CLOSE = 0.01
"""Means and deviations that differ by less count as equal; those of two splits of one data set differ by about as much."""


@dataclass(frozen=True)
class Preprocessing:
    """Describes how images become the inputs of a network.

    Attributes:
        image_size: Height and width of an input, in pixels.
        interpolation: How images are resized: ``bilinear`` or ``bicubic``.
        crop: Side of the part that is cut out of the middle, as a share of the resized image's side. None: no part is cut out.
        mean: Mean of each channel, subtracted from pixels that are scaled to 0..1.
        std: Standard deviation of each channel, by which they are divided then.
        crop_mode: ``center``, or another mode of timm: ``squash`` or ``border``.
        source: Who says so, such as ``timm's configuration of vit_tiny_patch16_224``; may be empty.

    Examples:
        >>> print(Preprocessing(224, "bicubic", 0.9, (0.5,), (0.5,)))
        bicubic, crop 0.9, mean 0.5, std 0.5
    """

    image_size: int
    interpolation: str
    crop: float | None
    mean: tuple[float, ...]
    std: tuple[float, ...]
    crop_mode: str = "center"
    source: str = ""

    def __str__(self) -> str:
        return ", ".join(self._texts().values())

    def _texts(self) -> dict[str, str]:
        mode = "" if self.crop_mode == "center" else f" ({self.crop_mode})"
        crop = {} if self.crop is None else {"crop": f"crop {self.crop:.4g}{mode}"}
        numbers = {
            name: f"{name} {' '.join(f'{value:.4g}' for value in getattr(self, name))}" for name in ("mean", "std")
        }
        return {"interpolation": self.interpolation, **crop, **numbers}

    def differences(self, other: Preprocessing) -> tuple[str, str] | None:
        """Return what differs between two ways to prepare images, once for each; None if nothing does.

        The sizes are not compared; nor is a crop that one of the two lacks, nor means of different numbers of channels.

        Examples:
            >>> one = Preprocessing(224, "bicubic", 0.9, (0.5,), (0.5,))
            >>> one.differences(Preprocessing(224, "bilinear", None, (0.5,), (0.5,)))
            ('bicubic', 'bilinear')
        """
        ours, theirs = self._texts(), other._texts()
        shared = [name for name in ours if name in theirs and not self._is_close(other, name)]
        if not shared:
            return None
        return ", ".join(ours[name] for name in shared), ", ".join(theirs[name] for name in shared)

    def _is_close(self, other: Preprocessing, name: str) -> bool:
        if name == "crop":
            return (self.crop, self.crop_mode) == (other.crop, other.crop_mode)
        mine, others = getattr(self, name), getattr(other, name)
        if name == "interpolation":
            return mine == others
        pairs = zip(mine, others, strict=False)
        return len(mine) != len(others) or all(abs(one - two) < _CLOSE for one, two in pairs)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain data for JSON."""
        return asdict(self) | {"mean": list(self.mean), "std": list(self.std)}

    @classmethod
    def from_dict(cls, data: Any) -> Preprocessing:
        """Read the plain data that :meth:`to_dict` returns.

        Raises:
            ValueError: If a field is missing or unknown, or has a wrong type.
        """
        if not isinstance(data, Mapping) or set(data) != {field.name for field in fields(cls)}:
            raise ValueError(f"it should hold {', '.join(field.name for field in fields(cls))}")
        lists = [data["mean"], data["std"]]
        numbers = [*data["mean"], *data["std"]] if all(isinstance(each, list | tuple) for each in lists) else [""]
        numbers += [data["image_size"], 0 if data["crop"] is None else data["crop"]]
        if not all(isinstance(number, int | float) and not isinstance(number, bool) for number in numbers):
            raise ValueError("image_size, crop, mean and std should be numbers")
        if not all(isinstance(data[name], str) for name in ("interpolation", "crop_mode", "source")):
            raise ValueError("interpolation, crop_mode and source should be text")
        return cls(**{**data, "mean": tuple(data["mean"]), "std": tuple(data["std"])})
