"""Decode what a split holds: sizes, kinds, statistics; what cannot be used is named."""

from __future__ import annotations

import contextlib
import hashlib
import warnings
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from nes_lab.datasets.check.layouts import Part
from nes_lab.datasets.check.report import SplitReport
from nes_lab.datasets.checks import MOST_DECODED, READ_ERRORS, array_problems, as_rgb, describe
from nes_lab.datasets.items import Item, Member
from nes_lab.datasets.wav import read_wav
from nes_lab.errors import DataError
from nes_lab.text import list_some

__all__ = ["Examined", "examine_part", "shared_examples"]

_MOST_COMPARED = 100_000
_MOST_SIZES = 50
_HEAD_BYTES = 4096


@dataclass
class Examined:
    """What was seen of one split.

    Attributes:
        report: Its numbers.
        broken: Files that cannot be read, with the reason.
        problems: What else keeps the split from being used.
        notes: What a reader should know.
    """

    report: SplitReport
    broken: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def examine_part(name: str, kind: str, part: Part, classes: Sequence[str], everything: bool = False) -> Examined:
    """Decode the examples of a split, an even sample of large ones.

    Args:
        name: Of the split.
        kind: ``image`` or ``audio``.
        part: What it holds.
        classes: Class names.
        everything: Decode all of them, however many.
    """
    counts = (
        tuple(np.bincount(part.labels, minlength=len(classes)).tolist()) if len(part.labels) else (0,) * len(classes)
    )
    if isinstance(part.examples, np.ndarray):
        return _arrays(name, part, counts)
    count = len(part.examples)
    chosen = range(0, count, 1 if everything else max(1, -(-count // MOST_DECODED)))
    items = [part.examples[index] for index in chosen]
    seen = _sounds(name, items, counts) if kind == "audio" else _pictures(name, items, counts)
    if len(chosen) < count:
        seen.notes.append(
            f"{name}: {len(chosen):,} of {count:,} files were decoded, evenly chosen; --all decodes every one"
        )
    return seen


def _sizes(sizes: Counter) -> tuple[tuple[int, int, int], ...]:
    return tuple((width, height, count) for (width, height), count in sizes.most_common(_MOST_SIZES))


def _pictures(name: str, items: Sequence[Item], counts: tuple[int, ...]) -> Examined:
    sizes, modes, broken = Counter(), Counter(), []
    bins = np.zeros((3, 256), dtype=np.int64)
    for item in items:
        try:
            with warnings.catch_warnings(action="ignore"), item.open("rb") as file, Image.open(file) as image:
                rgb = as_rgb(image)
                sizes[image.size] += 1
                modes[image.mode] += 1
        except READ_ERRORS as error:
            broken.append(describe(item, error))
            continue
        bins += np.array(rgb.histogram(), dtype=np.int64).reshape(3, 256)
    mean, std = _moments(bins)
    found = Examined(SplitReport(name, counts, len(items), _sizes(sizes), dict(modes.most_common()), mean, std), broken)
    if odd := {mode: count for mode, count in modes.most_common() if mode != "RGB"}:
        listed = ", ".join(f"{count} {mode}" for mode, count in odd.items())
        found.notes.append(f"{name}: images that are not RGB are converted ({listed})")
    if len(sizes) > _MOST_SIZES:
        found.notes.append(f"{name}: {len(sizes)} different sizes; the {_MOST_SIZES} most frequent are listed")
    return found


def _moments(bins: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation of 0..1 pixels from their histograms: exact, whatever the number of images."""
    total = bins.sum(1)
    if not total.all():
        return (), ()
    values = np.arange(256) / 255
    mean = bins @ values / total
    return tuple(mean.tolist()), tuple(np.sqrt(bins @ values**2 / total - mean**2).tolist())


def _arrays(name: str, part: Part, counts: tuple[int, ...]) -> Examined:
    images = np.asarray(part.examples)
    problems = [f"{name}: {problem}" for problem in array_problems(images, part.white)]
    height, width = images.shape[2:]
    pixels = images.astype(np.float64).transpose(1, 0, 2, 3).reshape(images.shape[1], -1) / part.white
    mean, std = (tuple(values.tolist()) for values in (pixels.mean(1), pixels.std(1)))
    modes = {"RGB" if images.shape[1] == 3 else "L": len(images)}
    report = SplitReport(name, counts, len(images), ((width, height, len(images)),), modes, mean, std)
    return Examined(report, problems=problems)


def _sounds(name: str, items: Sequence[Item], counts: tuple[int, ...]) -> Examined:
    lengths, rates, broken, silent = Counter(), Counter(), [], []
    total, first, second = 0, 0.0, 0.0
    for item in items:
        assert isinstance(item, Path)  # sounds are files
        try:
            rate, wave = read_wav(item)
        except DataError as error:
            broken.append(str(error))
            continue
        lengths[len(wave), 1] += 1
        rates[f"{rate:,} Hz"] += 1
        values = wave.astype(np.float64) / 32768
        total, first, second = total + len(wave), first + values.sum(), second + (values**2).sum()
        if not wave.any():
            silent.append(item.name)
    mean = first / total if total else 0.0
    moments = ((mean,), (float(np.sqrt(max(second / total - mean**2, 0.0))),)) if total else ((), ())
    seen = Examined(SplitReport(name, counts, len(items), _sizes(lengths), dict(rates.most_common()), *moments), broken)
    if silent:
        seen.notes.append(f"{name}: {len(silent)} clips are silent: {list_some(silent)}")
    return seen


def shared_examples(train: Part, val: Part, everything: bool = False) -> tuple[int | None, list[str]]:
    """Count validation examples that are in the training split too, byte for byte.

    Args:
        train: The training split.
        val: The validation split.
        everything: Compare however many candidates there are.

    Returns:
        How many, or None where there are too many files of equal size to compare; and their names.
    """
    if isinstance(train.examples, np.ndarray) and isinstance(val.examples, np.ndarray):
        known = {image.tobytes() for image in train.examples}
        twins = [f"number {index}" for index, image in enumerate(val.examples) if image.tobytes() in known]
        return len(twins), twins
    left, right = list(train.examples), list(val.examples)
    for key in (_size, _head, _digest):
        left, right = _of_equal(left, right, key)
        if key is _size and len(left) + len(right) > _MOST_COMPARED and not everything:
            return None, []
    return len(right), [str(item) for item in right]


def _of_equal(left: list[Item], right: list[Item], key: object) -> tuple[list[Item], list[Item]]:
    """Keep what has a counterpart on the other side."""
    groups: tuple[dict, dict] = defaultdict(list), defaultdict(list)
    for side, items in zip(groups, (left, right), strict=True):
        for item in items:
            with contextlib.suppress(OSError):  # what cannot be read has been named, and equals nothing
                side[key(item)].append(item)  # type: ignore[operator]
    both = groups[0].keys() & groups[1].keys()
    kept = [[item for value, items in side.items() if value in both for item in items] for side in groups]
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
