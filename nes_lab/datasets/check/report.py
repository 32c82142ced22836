"""What a check of a data set found: plain numbers and sentences. Torch-free; JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any

__all__ = ["DataReport", "SplitReport"]


@dataclass(frozen=True)
class SplitReport:
    """One split.

    Attributes:
        name: ``train`` or ``val``.
        counts: Examples of every class, in the order of the classes.
        examined: How many were decoded.
        sizes: ``(width, height, how many)`` of the images decoded, or ``(samples, 1, how many)``; most frequent first.
        modes: How many images of each kind (``RGB``, ``L`` for grey, ``CMYK`` ...), or clips a sampling rate.
        mean: Of every channel, of pixels scaled to 0..1 (or samples to -1..1), over what was decoded.
        std: The same for the standard deviation.

    Examples:
        >>> split = SplitReport("train", (3, 5, 1), 9)
        >>> split.total, split.least, split.median, split.most
        (9, 1, 3, 5)
    """

    name: str
    counts: tuple[int, ...]
    examined: int
    sizes: tuple[tuple[int, int, int], ...] = ()
    modes: Mapping[str, int] = field(default_factory=dict)
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()

    @property
    def total(self) -> int:
        """How many examples there are."""
        return sum(self.counts)

    @property
    def least(self) -> int:
        """Examples of the smallest class."""
        return min(self.counts, default=0)

    @property
    def median(self) -> float:
        """Examples of the middle class."""
        return median(self.counts) if self.counts else 0

    @property
    def most(self) -> int:
        """Examples of the largest class."""
        return max(self.counts, default=0)


@dataclass(frozen=True)
class DataReport:
    """A data set as it was found.

    Attributes:
        name: The registry's name for this layout.
        root: Where it was looked for; None for a set that comes with a package.
        kind: ``image`` or ``audio``.
        classes: Class names.
        splits: What each split holds.
        shared: How many validation examples have a twin, byte for byte, in the training split; None: not looked for.
        problems: What keeps the set from being used, with the paths.
        notes: What a reader should know.

    Examples:
        >>> report = DataReport("image_folder", None, "image", ("cat",), (SplitReport("train", (2,), 2),))
        >>> report.usable, report.to_dict()["splits"][0]["total"]
        (True, 2)
    """

    name: str
    root: str | None
    kind: str
    classes: tuple[str, ...]
    splits: tuple[SplitReport, ...]
    shared: int | None = None
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def usable(self) -> bool:
        """Whether it can be trained on as it is."""
        return not self.problems

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values, with what follows from them."""
        derived = ("total", "least", "median", "most")
        splits = [asdict(split) | {name: getattr(split, name) for name in derived} for split in self.splits]
        return asdict(self) | {"splits": splits, "usable": self.usable}
