"""Decode the examples of a split: count sizes and modes, measure statistics, and name files that cannot be read.

Tests: tests/datasets/check/test_check.py
"""

from __future__ import annotations

import contextlib
import hashlib
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from nes_lab.datasets.check.listing import SplitFiles
from nes_lab.datasets.check.report import SplitReport
from nes_lab.datasets.images import IMAGE_ERRORS, MAX_DECODED, as_rgb, open_image, pixel_problems, unreadable_text
from nes_lab.datasets.items import Item, Member
from nes_lab.datasets.wav import FULL_SCALE, read_wav
from nes_lab.errors import DataError
from nes_lab.progress_bar import OnProgress
from nes_lab.text import list_some

__all__ = ["DecodedSplit", "decode_split", "shared_examples"]

MAX_COMPARED = 100_000
"""If more files than this agree in size with another file, they are compared only on request (``everything``)."""
MAX_SIZES = 50
"""Largest number of different sizes that a report lists."""
_HEAD_BYTES = 4096


@dataclass
class DecodedSplit:
    """The result of decoding a split of a data set: counts and statistics, and what is wrong.

    Attributes:
        report: Counts and statistics of the split.
        unreadable: Files that cannot be read, each with the reason.
        problems: Sentences about other faults that keep the split from being used.
        notes: Sentences about things to know that are not faults.
    """

    report: SplitReport
    unreadable: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def decode_split(
    name: str,
    kind: str,
    files: SplitFiles,
    classes: int,
    everything: bool = False,
    on_progress: OnProgress | None = None,
) -> DecodedSplit:
    """Decode and measure the examples of a split. Of a large split, only an evenly spaced sample is decoded.

    Args:
        name: Name of the split.
        kind: ``image`` or ``audio``.
        files: The examples of the split, listed but not decoded.
        classes: Number of classes.
        everything: Decode all examples of a large split too.
        on_progress: Called before each example. An error that it raises ends the work.
    """
    counts = tuple(np.bincount(np.asarray(files.labels, dtype=np.int64), minlength=classes).tolist())
    if isinstance(files.examples, np.ndarray):
        return _measure_array(name, files.examples, files.white, counts)
    total = len(files.examples)
    chosen = range(0, total, 1 if everything else max(1, -(-total // MAX_DECODED)))
    items = [files.examples[index] for index in chosen]
    items = _Reported(items, name, on_progress)
    decoded = _decode_clips(name, items, counts) if kind == "audio" else _decode_images(name, items, counts)
    decoded.report = replace(decoded.report, unreadable=len(decoded.unreadable))
    if len(chosen) < total:
        decoded.notes.append(
            f"{name}: {len(chosen):,} of {total:,} files were decoded, evenly spaced; --all decodes every file"
        )
    return decoded


class _Reported(list[Item]):
    """A list of files that reports the progress of a walk through it."""

    def __init__(self, items: Sequence[Item], name: str, on_progress: OnProgress | None) -> None:
        super().__init__(items)
        self._name, self._on_progress = name, on_progress

    def __iter__(self) -> Iterator[Item]:
        for done, item in enumerate(super().__iter__()):
            if self._on_progress is not None:
                self._on_progress({"phase": f"reading {self._name}", "done": done, "total": len(self), "label": ""})
            yield item


def _most_frequent(sizes: Counter) -> tuple[tuple[int, int, int], ...]:
    return tuple((width, height, count) for (width, height), count in sizes.most_common(MAX_SIZES))


def _decode_images(name: str, items: Sequence[Item], counts: tuple[int, ...]) -> DecodedSplit:
    sizes, modes, unreadable = Counter(), Counter(), []
    histograms = np.zeros((3, 256), dtype=np.int64)
    for item in items:
        try:
            with warnings.catch_warnings(action="ignore"), item.open("rb") as file, open_image(file) as image:
                rgb = as_rgb(image)
                sizes[image.size] += 1
                modes[image.mode] += 1
        except IMAGE_ERRORS as error:
            unreadable.append(unreadable_text(item, error))
            continue
        histograms += np.array(rgb.histogram(), dtype=np.int64).reshape(3, 256)
    moments = _moments(histograms)
    report = SplitReport(name, counts, len(items), _most_frequent(sizes), dict(modes.most_common()), *moments)
    notes = []
    if other_modes := [f"{count} {mode}" for mode, count in modes.most_common() if mode != "RGB"]:
        notes.append(f"{name}: images that are not RGB are converted ({', '.join(other_modes)})")
    if len(sizes) > MAX_SIZES:
        notes.append(f"{name}: {len(sizes)} different sizes; the {MAX_SIZES} most frequent are listed")
    return DecodedSplit(report, unreadable, notes=notes)


def _moments(histograms: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Compute the mean and the standard deviation of each color channel from histograms of pixel values.

    Args:
        histograms: How often each of the 256 pixel values occurs, ``(C, 256)``.

    Returns:
        The means and the standard deviations of pixels scaled to 0..1. Both are empty if a channel has no pixels.
    """
    total = histograms.sum(1)
    if not total.all():
        return (), ()
    values = np.arange(256) / 255
    mean = histograms @ values / total
    return tuple(mean.tolist()), tuple(np.sqrt(histograms @ values**2 / total - mean**2).tolist())


def _measure_array(name: str, images: np.ndarray, white: float, counts: tuple[int, ...]) -> DecodedSplit:
    problems = [f"{name}: {problem}" for problem in pixel_problems(images, white)]
    count, channels, height, width = images.shape
    pixels = images.astype(np.float64).transpose(1, 0, 2, 3).reshape(channels, -1) / white
    mean, std = (tuple(values.tolist()) for values in (pixels.mean(1), pixels.std(1)))
    modes = {"RGB" if channels == 3 else "L": count}
    return DecodedSplit(
        SplitReport(name, counts, count, ((width, height, count),), modes, mean, std), problems=problems
    )


def _decode_clips(name: str, items: Sequence[Item], counts: tuple[int, ...]) -> DecodedSplit:
    lengths, rates, unreadable, silent = Counter(), Counter(), [], []
    samples, total, total_of_squares = 0, 0.0, 0.0
    for item in items:
        assert isinstance(item, Path)  # sounds are files
        try:
            rate, wave = read_wav(item)
        except DataError as error:
            unreadable.append(str(error))
            continue
        lengths[len(wave), 1] += 1
        rates[f"{rate:,} Hz"] += 1
        values = wave.astype(np.float64) / FULL_SCALE
        samples, total, total_of_squares = (
            samples + len(wave),
            total + values.sum(),
            total_of_squares + (values**2).sum(),
        )
        if not wave.any():
            silent.append(item.name)
    moments = ((), ())
    if samples:
        mean = total / samples
        moments = (mean,), (float(np.sqrt(max(total_of_squares / samples - mean**2, 0.0))),)
    report = SplitReport(name, counts, len(items), _most_frequent(lengths), dict(rates.most_common()), *moments)
    notes = [f"{name}: {len(silent)} clips are silent: {list_some(silent)}"] if silent else []
    return DecodedSplit(report, unreadable, notes=notes)


def shared_examples(train: SplitFiles, val: SplitFiles, everything: bool = False) -> list[str] | None:
    """Return the names of validation examples that are also in the training split, byte for byte.

    Args:
        train: The training split.
        val: The validation split.
        everything: Compare the files even if more than 100,000 files must be read.

    Returns:
        The names of the examples; None if there are too many files to compare.
    """
    if isinstance(train.examples, np.ndarray) and isinstance(val.examples, np.ndarray):
        in_train = {image.tobytes() for image in train.examples}
        return [f"number {index}" for index, image in enumerate(val.examples) if image.tobytes() in in_train]
    left, right = list(train.examples), list(val.examples)
    for key in (_size, _head, _digest):  # the cheapest comparison first
        left, right = _keep_matching(left, right, key)
        if key is _size and len(left) + len(right) > MAX_COMPARED and not everything:
            return None
    return [str(item) for item in right]


def _keep_matching(
    left: list[Item], right: list[Item], key: Callable[[Item], Hashable]
) -> tuple[list[Item], list[Item]]:
    """Leave out the files of two lists that cannot be equal to a file of the other list, and return the shorter lists.

    Args:
        left: The first list.
        right: The second list.
        key: Function that returns a property of a file, such as its size. A file is kept if a file of the other list has
            the same property.
    """
    groups: tuple[dict, dict] = defaultdict(list), defaultdict(list)
    for group, items in zip(groups, (left, right), strict=True):
        for item in items:
            with contextlib.suppress(OSError):  # unreadable files are reported elsewhere and match nothing
                group[key(item)].append(item)
    both = groups[0].keys() & groups[1].keys()
    kept = [[item for value, items in group.items() if value in both for item in items] for group in groups]
    return kept[0], kept[1]


def _size(item: Item) -> int:
    return item.size if isinstance(item, Member) else item.stat().st_size


def _head(item: Item) -> bytes:
    with item.open("rb") as file:
        return file.read(_HEAD_BYTES)


def _digest(item: Item) -> bytes:
    digest = hashlib.sha256()
    with item.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.digest()
