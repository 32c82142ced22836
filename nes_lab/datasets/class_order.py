"""Order the classes of a data set: as text, by the numbers in their names, or as a file says. The label of a class is its position.

timm's ``ImageFolder`` sorts class names by the numbers in them (1, 2, 10); torchvision's and ours sort them as text (1, 10, 2).
Weights that were trained with one order give wrong labels with the other.

Tests: tests/datasets/test_class_order.py
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import get_args

from nes_lab.datasets.check.listing import DatasetFiles
from nes_lab.errors import DataError, OptionError, closest
from nes_lab.records.options import ClassOrder
from nes_lab.text import list_some

__all__ = [
    "check_class_order",
    "ordered_classes",
    "ordered_files",
    "permutation_note",
    "sorted_naturally",
    "text_order_note",
]

_WORDS = get_args(ClassOrder)
_MOST_BYTES = 1 << 24


def sorted_naturally(names: Sequence[str]) -> tuple[str, ...]:
    """Sort names as timm's ``ImageFolder`` does: numbers in them by value, letters without regard to case.

    Examples:
        >>> sorted_naturally(["1", "10", "2", "b", "A"])
        ('1', '2', '10', 'A', 'b')
    """
    return tuple(sorted(sorted(names), key=_natural_key))


def _natural_key(name: str) -> list[str | int]:
    parts = re.split(r"(\d+)", name.lower())  # texts at even places, numbers at odd ones
    return [int(part) if place % 2 else part for place, part in enumerate(parts)]


def ordered_classes(classes: Sequence[str], order: ClassOrder | Path | str) -> tuple[str, ...]:
    """Return class names in another order.

    Args:
        classes: The names, in the order of the data set.
        order: ``own``: the order stays. ``text``: sorted as text. ``natural``: sorted as timm does. Otherwise the path of a file
            that names every class once, one per line.

    Raises:
        DataError: If the file cannot be read, or does not name every class exactly once. The message names the classes.

    Examples:
        >>> ordered_classes(["10", "2", "1"], "text"), ordered_classes(["10", "2", "1"], "natural")
        (('1', '10', '2'), ('1', '2', '10'))
    """
    if order == "own":
        return tuple(classes)
    if order == "text":
        return tuple(sorted(classes))
    if order == "natural":
        return sorted_naturally(classes)
    return _from_file(Path(order), classes)


def _from_file(path: Path, classes: Sequence[str]) -> tuple[str, ...]:
    where = f"data.class_order={str(path)!r}"
    if "\0" in str(path) or not path.is_file():
        near = closest(path.name, _WORDS)
        raise DataError(
            f"{where} is not a file; give {', '.join(_WORDS)}, or a file with one class name per line.{near}"
        )
    if path.stat().st_size > _MOST_BYTES:
        raise DataError(f"{where} is larger than {_MOST_BYTES >> 20} MiB; give a file with one class name per line")
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{where} cannot be read: {error}") from error
    names = [name for line in lines if (name := line.strip())]
    wrong = _differences(names, classes)
    if wrong:
        raise DataError(f"{where} should name each of the {len(classes):,} classes once, but it {'; it '.join(wrong)}")
    return tuple(names)


def _differences(names: Sequence[str], classes: Sequence[str]) -> list[str]:
    known, named = set(classes), set(names)
    faults = {
        "lacks": [name for name in classes if name not in named],
        "names others:": [name for name in names if name not in known],
        "names twice": sorted({name for name in names if names.count(name) > 1}) if len(named) < len(names) else [],
    }
    return [f"{what} {list_some([repr(name) for name in found])}" for what, found in faults.items() if found]


def ordered_files(files: DatasetFiles, order: ClassOrder | Path | str) -> DatasetFiles:
    """Return the listed files of a data set with its classes in another order, and the labels that follow from it.

    Args:
        files: The listed files. If no class could be listed, they are returned unchanged.
        order: The order, as for :func:`ordered_classes`.

    Raises:
        DataError: If the file with the order does not name every class exactly once.

    Examples:
        >>> from nes_lab.datasets.check.listing import SplitFiles
        >>> files = DatasetFiles("image_folder", None, "image", ("1", "10", "2"), {"train": SplitFiles([], [0, 1, 2])})
        >>> ordered_files(files, "natural").splits["train"].labels
        [0, 2, 1]
    """
    if order == "own" or not files.classes:
        return files
    classes = ordered_classes(files.classes, order)
    place = {name: label for label, name in enumerate(classes)}
    labels = [place[name] for name in files.classes]
    splits = {name: replace(part, labels=[labels[old] for old in part.labels]) for name, part in files.splits.items()}
    return replace(files, classes=classes, splits=splits)


def text_order_note(classes: Sequence[str]) -> str:
    """Return a sentence if classes are sorted as text and timm's ``ImageFolder`` gives some of them another label; otherwise "".

    Examples:
        >>> text_order_note(["1", "10", "2"])[:63]
        "the classes are sorted as text; timm's ImageFolder gives 2 of 3"
        >>> text_order_note(["cat", "dog"])
        ''
    """
    natural = sorted_naturally(classes)
    moved = [label for label, (ours, timms) in enumerate(zip(classes, natural, strict=True)) if ours != timms]
    if not moved or list(classes) != sorted(classes):
        return ""
    return (
        f"the classes are sorted as text; timm's ImageFolder gives {len(moved):,} of {len(classes):,} another label (label "
        f"{moved[0]} is {classes[moved[0]]!r} here and {natural[moved[0]]!r} there); weights that were trained with timm's labels "
        "need data.class_order: natural"
    )


def permutation_note(trained: Sequence[str] | None, classes: Sequence[str] | None) -> str:
    """Return a sentence if a network was trained with the same classes in another order; otherwise "".

    Args:
        trained: Class names that the network was trained with, in the order of its outputs; None: they are not known.
        classes: Class names of the data, in the order of the labels; None: they are not known.

    Examples:
        >>> permutation_note(["cat", "dog"], ["dog", "cat"])[:69]
        'the network was trained with the same 2 classes in another order: its'
    """
    if not trained or not classes or list(trained) == list(classes) or sorted(trained) != sorted(map(str, classes)):
        return ""
    label = next(place for place, (old, new) in enumerate(zip(trained, classes, strict=True)) if old != new)
    return (
        f"the network was trained with the same {len(classes):,} classes in another order: its output {label} is "
        f"{trained[label]!r}, and label {label} of the data is {classes[label]!r}; data.class_order takes a file with the names in "
        "the network's order"
    )


def check_class_order(order: object) -> None:
    """Raise an error if the argument ``class_order`` of a function is neither a word nor a path.

    Raises:
        OptionError: If it is something else.
    """
    if not isinstance(order, str | Path) or not str(order):
        raise OptionError(f"class_order={order!r} should be {', '.join(_WORDS)}, or the path of a file of class names")
