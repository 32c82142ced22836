"""Check a data set before anything is trained on it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from nes_lab.datasets.check.layouts import detect_dataset
from nes_lab.datasets.check.listing import SPLITS, DatasetFiles, collect_error
from nes_lab.datasets.check.report import DataReport
from nes_lab.datasets.class_order import check_class_order, ordered_files, text_order_note
from nes_lab.errors import OptionError
from nes_lab.progress_bar import OnProgress
from nes_lab.records.dataset_facts import DATASET_FACTS
from nes_lab.records.options import ClassOrder
from nes_lab.text import list_some

if TYPE_CHECKING:
    from nes_lab.datasets.check.decode import DecodedSplit

__all__ = ["MAX_SKIP_BROKEN", "check_data", "check_files", "list_dataset"]

MAX_SKIP_BROKEN = 0.01
"""Largest value of ``skip_broken``, the share of unreadable images that may be left out."""


def check_data(
    path_or_name: str | Path,
    *,
    root: Path | None = None,
    everything: bool = False,
    skip_broken: float = 0.0,
    val_fold: int = 5,
    class_order: ClassOrder | str | Path = "own",
) -> DataReport:
    """Check a data set: report what it holds and everything that is wrong with it.

    The check covers classes, labels, empty splits, files that cannot be read, image sizes and modes, pixels that are NaN
    or out of range, empty or broken sounds, different sampling rates, and validation examples that are also in the
    training split.

    Args:
        path_or_name: A folder or the name of a data set. The data set in a folder is recognized by its files.
        root: Folder of the data set, if a name is given; None means the data set's default folder.
        everything: Decode every file. By default, only an evenly spaced sample of a large split is decoded.
        skip_broken: Share of a split's images that may be unreadable, from 0 to 0.01. Up to this share, unreadable images are
            reported as a note; above it, as a problem.
        val_fold: Number of the fold used for validation, in audio data sets.
        class_order: Order of the classes: ``"own"`` (that of the data set), ``"text"``, ``"natural"`` (as timm's ``ImageFolder``
            sorts), or the path of a file with one class name per line.

    Raises:
        DataError: If there is no such folder or name, or the layout is not known. Faults inside the data set do not
            raise; the report lists them.
        OptionError: If ``skip_broken`` is not between 0 and 0.01, or the classes of the data set have a fixed order and
            ``class_order`` gives another.

    Examples:
        >>> import nes_lab
        >>> report = nes_lab.check_data("digits")
        >>> report.usable, [(split.name, split.total) for split in report.splits]
        (True, [('train', 1437), ('val', 360)])
    """
    files = list_dataset(path_or_name, root=root, val_fold=val_fold, class_order=class_order)
    return check_files(files, everything=everything, skip_broken=skip_broken)


def list_dataset(
    path_or_name: str | Path,
    *,
    root: Path | None = None,
    val_fold: int = 5,
    class_order: ClassOrder | str | Path = "own",
) -> DatasetFiles:
    """Recognize a data set and list its files without decoding them.

    Args:
        path_or_name: A folder or the name of a data set. The data set in a folder is recognized by its files.
        root: Folder of the data set, if a name is given; None means the data set's default folder.
        val_fold: Number of the fold used for validation, in audio data sets.
        class_order: Order of the classes, as for :func:`check_data`. A fault of the file is a problem of the data set.

    Raises:
        DataError: If there is no such folder or name, or the layout is not known.
        OptionError: If the classes of the data set have a fixed order, and ``class_order`` gives another.
    """
    from nes_lab.datasets.registry import DATASETS  # not at the top: the loaders need Pillow, an extra

    name, folder = detect_dataset(path_or_name, root)
    check_class_order(class_order)
    if class_order != "own" and "class_order" in DATASET_FACTS[name].unused:
        raise OptionError(f"class_order={str(class_order)!r}: the classes of {name} have a fixed order; leave it out")
    files = DATASETS[name].list_files(folder, val_fold)
    problems: list[str] = []
    ordered = collect_error(problems, ordered_files, files, class_order)
    return ordered or replace(files, problems=(*files.problems, *problems))


def check_files(
    files: DatasetFiles,
    *,
    everything: bool = False,
    skip_broken: float = 0.0,
    on_progress: OnProgress | None = None,
) -> DataReport:
    """Decode the listed files of a data set, and report what it holds and what is wrong with it.

    Args:
        files: The listed files of the data set.
        everything: Decode every file. By default, only an evenly spaced sample of a large split is decoded.
        skip_broken: Share of a split's images that may be unreadable, from 0 to 0.01. Up to this share, unreadable images are
            reported as a note; above it, as a problem.
        on_progress: Called before each file that is decoded. An error that it raises ends the work.

    Raises:
        OptionError: If ``skip_broken`` is not between 0 and 0.01.
    """
    if not 0 <= skip_broken <= MAX_SKIP_BROKEN:
        raise OptionError(f"skip_broken={skip_broken!r} should be a share from 0 to {MAX_SKIP_BROKEN}")
    from nes_lab.datasets.check.decode import decode_split

    problems, notes, reports = list(files.problems), list(files.notes), []
    notes += ["one class: a network has nothing to tell apart"] if len(files.classes) == 1 else []
    notes += [note] if (note := text_order_note(files.classes)) else []
    for name, split in files.splits.items():
        decoded = decode_split(name, files.kind, split, len(files.classes), everything, on_progress)
        reports.append(decoded.report)
        problems += decoded.problems
        notes += decoded.notes
        if decoded.unreadable:
            sentence = _unreadable_sentence(files.kind, decoded)
            if files.kind == "image" and len(decoded.unreadable) <= skip_broken * decoded.report.examined:
                notes.append(f"{sentence}; they would be left out")
            else:
                problems.append(sentence)
    rates = sorted({rate for report in reports for rate in report.modes}) if files.kind == "audio" else []
    if len(rates) > 1:
        problems.append(f"clips differ in sampling rate ({', '.join(rates)}); resample them to one")
    shared = _count_shared(files, everything, notes)
    root = None if files.root is None else str(files.root)
    return DataReport(
        files.name, root, files.kind, files.classes, tuple(reports), shared, tuple(problems), tuple(notes)
    )


def _unreadable_sentence(kind: str, decoded: DecodedSplit) -> str:
    count, names = len(decoded.unreadable), list_some(decoded.unreadable)
    what = "sounds" if kind == "audio" else "images"
    return f"{decoded.report.name}: {count} of {decoded.report.examined:,} {what} checked cannot be read: {names}"


def _count_shared(files: DatasetFiles, everything: bool, notes: list[str]) -> int | None:
    """Count the validation examples that are also in the training split, and add a note with their names.

    Returns:
        The number of shared examples; None if a split is missing or there are too many files to compare.
    """
    from nes_lab.datasets.check.decode import shared_examples

    if not all(name in files.splits and files.splits[name].labels for name in SPLITS):
        return None  # nothing to compare
    names = shared_examples(files.splits["train"], files.splits["val"], everything)
    if names is None:
        notes.append("too many files to look for duplicates across train and val; --all looks for them")
        return None
    if names:
        notes.append(f"{len(names)} examples of val are also in train, byte for byte: {list_some(names)}")
    return len(names)
