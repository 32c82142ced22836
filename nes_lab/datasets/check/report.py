"""Hold the result of checking a data set: counts, statistics, and sentences about problems. It can be written as JSON.

Tests: tests/datasets/check/test_check.py
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from statistics import median
from typing import Any

from nes_lab.records.columns import columns
from nes_lab.records.record import Part, Record
from nes_lab.records.table import Table
from nes_lab.text import format_shape, list_some

__all__ = ["DataReport", "SplitReport", "count_text"]

SIZES_SHOWN = 4
"""Largest number of different sizes that a table shows."""
NORMAL_SIDE = 224
"""Side in pixels to which images are resized unless another size is given."""
_DERIVED = ("total", "least", "median", "most")


def count_text(kind: str, per_class: Sequence[int]) -> str:
    """Return how many examples and classes there are, and how many examples the smallest and the largest class have.

    Args:
        kind: ``image`` or ``audio``.
        per_class: Number of examples of each class.

    Examples:
        >>> count_text("image", [633, 898])
        '1,531 images · 2 classes, 633 to 898 each'
        >>> count_text("audio", [4])
        '4 sounds · 1 class, 4 each'
    """
    least, most = min(per_class, default=0), max(per_class, default=0)
    each = f"{least:,} to {most:,}" if least < most else f"{most:,}"
    what, classes = "sounds" if kind == "audio" else "images", "class" if len(per_class) == 1 else "classes"
    return f"{sum(per_class):,} {what} · {len(per_class):,} {classes}, {each} each"


@dataclass(frozen=True)
class SplitReport(Part):
    """Counts and statistics of one split of a data set, measured by a check.

    Attributes:
        name: ``train`` or ``val``.
        counts: Number of examples per class, in the order of the classes.
        examined: Number of examples that were decoded.
        sizes: The sizes of decoded examples, most frequent first: for images ``(width, height, number of images)``, for clips
            ``(samples, 1, number of clips)``.
        modes: For images, the number of images of each color mode, such as ``RGB`` or ``L`` (gray). For sounds, the
            number of clips of each sampling rate.
        mean: Mean of each channel over all decoded examples. Pixels are scaled to 0..1, samples of sounds to -1..1.
        std: Standard deviation of each channel, in the same units as the mean.
        unreadable: Number of examples that cannot be read, among those that were decoded.

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
    unreadable: int = 0

    @property
    def total(self) -> int:
        """Return the number of examples in the split."""
        return sum(self.counts)

    @property
    def least(self) -> int:
        """Return the number of examples in the smallest class of the split."""
        return min(self.counts, default=0)

    @property
    def median(self) -> float:
        """Return the median number of examples per class of the split."""
        return median(self.counts) if self.counts else 0

    @property
    def most(self) -> int:
        """Return the number of examples in the largest class of the split."""
        return max(self.counts, default=0)

    @property
    def row(self) -> dict[str, Any]:
        """Return the counts and statistics of the split as one row of a table: a dictionary from column name to value."""
        sizes = [
            format_shape((width, height)) if height > 1 else f"{width:,} samples" for width, height, _ in self.sizes
        ]
        return {
            "split": self.name,
            "examples": self.total,
            "classes": sum(count > 0 for count in self.counts),
            "per_class": f"{self.least:,}, {self.median:,g}, {self.most:,}",
            "decoded": self.examined,
            "sizes": list_some(sizes, SIZES_SHOWN),
            "modes": ", ".join(f"{mode}: {count:,}" for mode, count in self.modes.items()),
            "mean": " ".join(f"{round(value, 4) + 0.0:.4f}" for value in self.mean),  # + 0.0 turns -0.0 into 0.0
            "std": " ".join(f"{value:.4f}" for value in self.std),
        }


@dataclass(frozen=True, repr=False)
class DataReport(Record):
    """The result of checking a data set: what it holds, and what is wrong with it.

    Attributes:
        name: Name of the data set in a configuration (``data.name``), such as ``image_folder``.
        root: Folder that holds the data set; None for a data set that comes with a Python package.
        kind: ``image`` or ``audio``.
        classes: Class names.
        splits: Counts and statistics of each split.
        shared: Number of validation examples that are also in the training split, byte for byte; None if not counted.
        problems: Faults that keep the data set from being used, one sentence per fault, with paths.
        notes: Sentences about things to know that are not faults.

    Examples:
        >>> import nes_lab
        >>> report = nes_lab.check_data("digits")
        >>> report.usable, report.to_dict()["splits"][0]["total"]
        (True, 1437)
        >>> nes_lab.DataReport.from_json(report.to_json()) == report
        True
    """

    NAME = "data report"
    SCHEMA = None

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
        """Return whether the data set has no fault and can be used for training."""
        return not self.problems

    @property
    def image_side(self) -> int | None:
        """Return the longer side of the most frequent image size in pixels, if it is below 224; None if it is not.

        Images are resized to 224 px unless a smaller size is given, which costs time and memory, and adds nothing to small images.

        Examples:
            >>> split = SplitReport("train", (3, 5), 8, ((24, 20, 8),))
            >>> DataReport("image_folder", "pets", "image", ("0", "1"), (split,)).image_side
            24
        """
        sizes = [split.sizes[0] for split in self.splits if split.sizes] if self.kind == "image" else []
        side = max((max(width, height) for width, height, _ in sizes[:1]), default=NORMAL_SIDE)
        return side if side < NORMAL_SIDE else None

    @property
    def summary(self) -> str:
        """Return one line: the number of examples, of classes, of examples per class, and of files that cannot be read.

        Examples:
            >>> import nes_lab
            >>> nes_lab.check_data("digits").summary
            '1,797 images · 10 classes, 174 to 183 each'
        """
        per_class = [sum(counts) for counts in zip(*(split.counts for split in self.splits), strict=True)]
        unreadable = sum(split.unreadable for split in self.splits)
        broken = f" · {unreadable:,} unreadable{', skipped' if self.usable else ''}" if unreadable else ""
        return count_text(self.kind, per_class) + broken

    def table(self) -> Table:
        """Return a table of the counts and statistics that the check measured, with one row per split.

        Examples:
            >>> split = SplitReport("val", (3, 5), 8, ((8, 8, 8),), {"L": 8}, (0.25,), (0.5,))
            >>> print(DataReport("digits", None, "image", ("0", "1"), (split,)).table().text())
            split      examples    classes  min, median, max      decoded  sizes    modes    mean    std
            -------  ----------  ---------  ------------------  ---------  -------  -------  ------  ------
            val               8          2  3, 4, 5                     8  8×8      L: 8     0.2500  0.5000
        """
        keys = ("split", "examples", "classes", "per_class", "decoded", "sizes", "modes", "mean", "std")
        return Table(columns(*keys), [split.row for split in self.splits])

    def notebook_table(self) -> Table:
        """Return the table that a notebook shows. The problems stand above it and the notes below."""
        return replace(self.table(), before=[repr(self), *self.problems], after=self.notes)

    def __repr__(self) -> str:
        sizes = ", ".join(f"{split.total:,} {split.name}" for split in self.splits)
        found = (
            f"{len(self.problems)} problem{'' if len(self.problems) == 1 else 's'}" if self.problems else "no problem"
        )
        return f"DataReport: {self.name}, {self.kind}, {len(self.classes)} classes, {sizes} examples; {found}"

    def to_dict(self) -> dict[str, Any]:
        """Return the report on a data set as a dictionary for JSON. It also holds computed values, such as ``usable``."""
        splits = [asdict(split) | {name: getattr(split, name) for name in _DERIVED} for split in self.splits]
        return asdict(self) | {"splits": splits, "usable": self.usable}

    @classmethod
    def upgrade(cls, data: dict[str, Any]) -> dict[str, Any]:
        """Remove the computed values, such as ``usable``, from the JSON of a saved report.

        They are computed again from the remaining fields.
        """
        splits = [{name: split[name] for name in split if name not in _DERIVED} for split in data.get("splits", ())]
        return {name: value for name, value in data.items() if name != "usable"} | {"splits": splits}
