"""Check a data set before anything is trained on it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from nes_lab.datasets.check.report import DataReport
from nes_lab.errors import OptionError
from nes_lab.text import list_some

if TYPE_CHECKING:
    from nes_lab.datasets.check.layouts import Found

__all__ = ["check_data", "look", "report_on"]

_MOST_SKIPPED = 0.01


def check_data(
    path_or_name: str | Path,
    *,
    root: Path | None = None,
    everything: bool = False,
    skip_broken: float = 0.0,
    val_fold: int = 5,
) -> DataReport:
    """Look through a data set and say what it holds and what is wrong with it.

    Classes, labels, empty splits, files that cannot be read, image sizes and modes, pixels that are NaN or out of range,
    empty or broken sounds, differing sampling rates, and validation examples that are in the training split too.

    Args:
        path_or_name: A folder, whose layout is recognized, or a data set's name.
        root: Where a data set of that name lies; None means its usual place.
        everything: Decode every file; otherwise large splits are sampled evenly.
        skip_broken: Largest share of unreadable images of a split that is a note and no problem, at most 0.01.
        val_fold: The fold of an audio set that validates.

    Raises:
        DataError: If there is no such folder or name, or its layout is not known. What is wrong inside is in the report.
        OptionError: If ``skip_broken`` is not between 0 and 0.01.

    Examples:
        >>> report = check_data("digits")
        >>> report.usable, [(split.name, split.total) for split in report.splits]
        (True, [('train', 1437), ('val', 360)])
    """
    return report_on(look(path_or_name, root=root, val_fold=val_fold), everything=everything, skip_broken=skip_broken)


def look(path_or_name: str | Path, *, root: Path | None = None, val_fold: int = 5) -> Found:
    """Recognize a data set and list what it holds, without decoding anything; see :func:`check_data`."""
    from nes_lab.datasets.check.layouts import find_data, recognize

    return find_data(*recognize(path_or_name, root), val_fold)


def report_on(found: Found, *, everything: bool = False, skip_broken: float = 0.0) -> DataReport:
    """Decode what was found and report on it; see :func:`check_data`."""
    from nes_lab.datasets.check.decode import examine_part

    if not 0 <= skip_broken <= _MOST_SKIPPED:
        raise OptionError(f"skip_broken={skip_broken!r} should be a share from 0 to {_MOST_SKIPPED}")
    problems, notes = list(found.problems), list(found.notes)
    splits = []
    for name, part in found.parts.items():
        seen = examine_part(name, found.kind, part, found.classes, everything)
        splits.append(seen.report)
        problems += seen.problems
        notes += seen.notes
        if seen.broken:
            share = skip_broken if found.kind == "image" else 0.0
            _judge(name, found.kind, seen.broken, seen.report.examined, share, problems, notes)
    problems += _rates(found, [rate for split in splits for rate in split.modes])
    shared = _shared(found, everything, notes)
    root = None if found.root is None else str(found.root)
    return DataReport(found.name, root, found.kind, found.classes, tuple(splits), shared, tuple(problems), tuple(notes))


def _judge(
    name: str, kind: str, broken: list[str], examined: int, skip: float, problems: list[str], notes: list[str]
) -> None:
    """Unreadable files are a problem, unless they are few enough to be left out."""
    what = "sounds" if kind == "audio" else "images"
    sentence = f"{name}: {len(broken)} of {examined:,} {what} checked cannot be read: {list_some(broken)}"
    if len(broken) <= skip * examined:
        notes.append(f"{sentence}; they would be left out")
    else:
        problems.append(sentence)


def _rates(found: Found, rates: list[str]) -> list[str]:
    different = sorted(set(rates))
    if found.kind == "audio" and len(different) > 1:
        return [f"clips differ in sampling rate ({', '.join(different)}); resample them to one"]
    return []


def _shared(found: Found, everything: bool, notes: list[str]) -> int | None:
    """Count twins across the splits, and name some."""
    from nes_lab.datasets.check.decode import shared_examples

    if not all(name in found.parts and found.parts[name].labels for name in ("train", "val")):
        return None  # nothing to compare
    count, names = shared_examples(found.parts["train"], found.parts["val"], everything)
    if count is None:
        notes.append("duplicates across train and val were not looked for in so many files; --all looks for them")
    elif count:
        notes.append(f"{count} examples of val are in train too, byte for byte: {list_some(names)}")
    return count
