"""Read the table of a data set of sounds in the layout of ESC-50: the class and the fold of every clip.

Tests: tests/datasets/test_audio_folder.py
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from nes_lab.datasets.class_order import ordered_classes
from nes_lab.errors import DataError
from nes_lab.records.options import ClassOrder
from nes_lab.text import list_some

__all__ = ["AudioTable", "Clip", "read_audio_table"]

_COLUMNS = ("filename", "fold", "target", "category")


@dataclass(frozen=True)
class Clip:
    """One sound in the table of a data set: its file, cross-validation fold, class number and class name."""

    path: Path
    fold: int
    target: int
    category: str


@dataclass(frozen=True)
class AudioTable:
    """The table of a data set of sounds: all clips and all classes.

    Attributes:
        clips: Clips in the order of the table.
        classes: Class names. The label of a class is its position in this list.
        targets: The number of each class in the table, in the order of ``classes``.
    """

    clips: tuple[Clip, ...]
    classes: tuple[str, ...]
    targets: tuple[int, ...]

    @property
    def folds(self) -> tuple[int, ...]:
        """Return the numbers of the cross-validation folds that the clips belong to, in increasing order."""
        return tuple(sorted({clip.fold for clip in self.clips}))

    def labels(self, clips: tuple[Clip, ...]) -> list[int]:
        """Return the label of each clip: the position of its class in the list of class names."""
        place = {target: index for index, target in enumerate(self.targets)}
        return [place[clip.target] for clip in clips]

    def in_order(self, order: ClassOrder | Path) -> AudioTable:
        """Return the table with its classes in another order.

        Args:
            order: ``own``: by their numbers in the table. ``text`` and ``natural``: by their names. Otherwise the path of a file
                with one class name per line.
        """
        classes = ordered_classes(self.classes, order)
        number = dict(zip(self.classes, self.targets, strict=True))
        return AudioTable(self.clips, classes, tuple(number[name] for name in classes))

    def split(self, val_fold: int) -> tuple[tuple[Clip, ...], tuple[Clip, ...]]:
        """Return the training clips and the validation clips. Fold ``val_fold`` is for validation, all others for training.

        Raises:
            DataError: If the fold does not exist, if it is the only one, or if a class has no training or no validation clip.
        """
        if val_fold not in self.folds or len(self.folds) < 2:
            raise DataError(
                f"data.val_fold={val_fold}: the folds of this set are {', '.join(map(str, self.folds))}; it should be one "
                "of several"
            )
        train = tuple(clip for clip in self.clips if clip.fold != val_fold)
        val = tuple(clip for clip in self.clips if clip.fold == val_fold)
        for name, part in (("training folds", train), (f"fold {val_fold}", val)):
            missing = set(range(len(self.classes))) - set(self.labels(part))
            if missing:
                lost = list_some([self.classes[label] for label in sorted(missing)])
                raise DataError(f"{name}: {len(missing)} class(es) without a clip: {lost}")
        return train, val


def read_audio_table(root: Path) -> AudioTable:
    """Read ``root/meta/*.csv``, the table of a data set of sounds.

    If the name of the folder ``root`` contains ``esc10``, only the clips of ESC-10 (a part of ESC-50) are kept. These clips have
    the value true in the column ``esc10`` of the table. A table without this column is kept complete.

    Raises:
        DataError: If the table, a column or a sound file is missing, or a row is wrong; the message names the line.
    """
    if not root.is_dir():
        raise DataError(f"data.root={str(root)!r} is not a folder; it should hold audio/*.wav and meta/*.csv")
    tables = sorted((root / "meta").glob("*.csv"))
    if len(tables) != 1:
        raise DataError(
            f"{str(root / 'meta')!r} holds {len(tables)} tables ({list_some([path.name for path in tables]) or 'none'}); it "
            f"should hold one .csv with the columns {', '.join(_COLUMNS)}"
        )
    clips = tuple(_rows(tables[0], root / "audio"))
    if not clips:
        raise DataError(f"{str(tables[0])!r} is an empty table: it lists no clip")
    _check_files(clips, tables[0])
    names = _names(clips, tables[0])
    return AudioTable(clips, tuple(names[target] for target in sorted(names)), tuple(sorted(names)))


def _rows(table: Path, audio: Path) -> list[Clip]:
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            missing = [name for name in _COLUMNS if name not in (reader.fieldnames or ())]
            if missing:
                raise DataError(
                    f"{str(table)!r} has no column {', '.join(missing)}; it needs {', '.join(_COLUMNS)}, with commas between "
                    f"them, and begins with {list_some(list(reader.fieldnames or ['nothing']))}"
                )
            rows = [(reader.line_num, row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{str(table)!r} cannot be read as a table: {error}") from error
    only_ten = "esc10" in audio.parent.name.lower().replace("-", "") and any("esc10" in row for _, row in rows)
    kept = [(line, row) for line, row in rows if not only_ten or str(row.get("esc10")).lower() == "true"]
    return [_clip(row, line, table, audio) for line, row in kept]


def _clip(row: dict[str, str], line: int, table: Path, audio: Path) -> Clip:
    name = row["filename"] or ""
    try:
        fold, target = int(row["fold"]), int(row["target"])
    except (TypeError, ValueError) as error:
        raise DataError(
            f"{str(table)!r}, line {line}: fold={row['fold']!r} and target={row['target']!r} should be integers"
        ) from error
    if target < 0 or fold < 0:
        raise DataError(f"{str(table)!r}, line {line}: fold={fold} and target={target} should not be negative")
    if not name or Path(name).name != name or "\0" in name:
        raise DataError(f"{str(table)!r}, line {line}: filename={name!r} should name a file in {audio.name}/")
    return Clip(audio / name, fold, target, row["category"] or str(target))


def _check_files(clips: tuple[Clip, ...], table: Path) -> None:
    absent = [clip.path.name for clip in clips if not clip.path.is_file()]
    if absent:
        raise DataError(
            f"{len(absent)} files of {str(table)!r} are not in {str(clips[0].path.parent)!r}: {list_some(absent)}"
        )
    names = [clip.path.name for clip in clips]
    if len(set(names)) < len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise DataError(f"{str(table)!r} lists a file twice: {list_some(twice)}")


def _names(clips: tuple[Clip, ...], table: Path) -> dict[int, str]:
    names: dict[int, str] = {}
    for clip in clips:
        if names.setdefault(clip.target, clip.category) != clip.category:
            raise DataError(
                f"{str(table)!r}: target {clip.target} has two categories, {names[clip.target]!r} and {clip.category!r}"
            )
    if len(set(names.values())) < len(names):
        raise DataError(f"{str(table)!r}: one category has several targets: {names}")
    return names
