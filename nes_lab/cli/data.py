"""``nes-lab data check``: show what a data set holds and what is wrong with it, before training on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from nes_lab.cli.json_output import print_json, stdout_to_stderr
from nes_lab.cli.options import parse
from nes_lab.cli.tables import print_table, printable
from nes_lab.errors import OptionError, closest
from nes_lab.runs.replace import write_target

if TYPE_CHECKING:
    from nes_lab.datasets.check.listing import DatasetFiles
    from nes_lab.datasets.check.report import DataReport

__all__ = ["DataCheckCommand", "run_command"]

_VERBS = ("check",)
_USABLE, _UNUSABLE = 0, 2
_LONGEST, _MOST = 600, 20


@dataclass(frozen=True)
class DataCheckCommand:
    """Check a data set: its classes, labels, unreadable files, sizes, statistics, and examples that are in more than one split."""

    source: tyro.conf.Positional[Annotated[str, tyro.conf.arg(metavar="PATH|NAME")]]
    """Folder of images, tar archives, sounds, or files that torchvision unpacks (the layout is recognized), or the name of a data set."""
    root: Path | None = None
    """Folder of the data set, if its name is given; by default data/NAME."""
    all: bool = False
    """Decode every file; by default an even sample of each large split is decoded."""
    skip_broken: float = 0.0
    """Largest share of unreadable images, at most 0.01, that is reported as a note instead of a problem."""
    val_fold: int = 5
    """Fold of an audio set to use for validation."""
    class_order: str = "own"
    """Order of the classes: own, text, natural (as timm sorts), or a file with one class name per line."""
    backbone: str | None = None
    """Also say how images are prepared for the pretrained weights of this network of timm, if not as data.preprocess=data does."""
    html: Path | None = None
    """Also write a page with statistics and examples to this HTML file."""
    json: bool = False
    """Print one JSON value to standard output; all else goes to standard error."""


def run_command(words: Sequence[str]) -> int:
    """Check the data set that the command line names. Return 0 if it can be used for training, 2 if not."""
    if not words or words[0] not in (*_VERBS, "-h", "--help"):
        problem = (
            f"{words[0]!r} is not a command of data.{closest(words[0], _VERBS)}" if words else "data needs a command."
        )
        raise OptionError(f"{problem} Write: nes-lab data check PATH|NAME")
    options = parse(DataCheckCommand, "data check", words[1:] if words[0] in _VERBS else ["--help"])
    with stdout_to_stderr(options.json):
        from nes_lab.datasets.check.check import check_files, list_dataset

        files = list_dataset(
            options.source, root=options.root, val_fold=options.val_fold, class_order=options.class_order
        )
        report = check_files(files, everything=options.all, skip_broken=options.skip_broken)
        if options.backbone is not None:
            report = replace(report, notes=(*report.notes, *_notes_on_backbone(options.backbone, report)))
        if options.html is not None:
            _write_page(options.html, report, files)
    if options.json:
        print_json(report.to_dict())
    else:
        _show(report, options.html)
    return _USABLE if report.usable else _UNUSABLE


def _notes_on_backbone(backbone: str, report: DataReport) -> list[str]:
    """Return a sentence if images are prepared in another way for the backbone's pretrained weights.

    Raises:
        OptionError: If it is not known how they are prepared for this backbone.
    """
    from nes_lab.backbones.preprocessing import preprocessing_note
    from nes_lab.backbones.registry import named_preprocessing
    from nes_lab.datasets.knobs import IMAGENET_MEAN, IMAGENET_STD, STANDARD
    from nes_lab.records.dataset_facts import DATASET_FACTS

    trained = named_preprocessing(backbone)
    if trained is None or report.kind != "image":
        raise OptionError(f"--backbone {backbone}: only for networks of timm and data sets of images")
    in_files = "crop_scale" not in DATASET_FACTS[report.name].unused
    of_set = next(((split.mean, split.std) for split in report.splits if split.mean), (trained.mean, trained.std))
    applied = STANDARD.applied(224, *((IMAGENET_MEAN, IMAGENET_STD) if in_files else of_set), cropped=in_files)
    note = preprocessing_note(trained, applied)
    return [f"{note}; data.preprocess: backbone prepares them so here"] if note else []


def _write_page(path: Path, report: DataReport, files: DatasetFiles) -> None:
    from nes_lab.datasets.examples import examples_by_class
    from nes_lab.figures.data_page import data_page

    page = data_page(report, examples_by_class(files))
    try:
        write_target(path, page, errors="replace")  # a file name may not be valid UTF-8
    except OSError as error:
        raise OptionError(f"--html {path} cannot be written: {error.strerror or error}") from error


def _show(report: DataReport, page: Path | None) -> None:
    where = "" if report.root is None else f" in {printable(report.root, 200)}"
    print(f"{report.name}{where}: {len(report.classes):,} classes ({_named(report)})")
    if report.splits:
        print_table(report.table())
    if report.shared == 0:
        print("no validation example is also in the training split")
    for note in report.notes:
        print(f"note: {printable(note, _LONGEST)}")
    for problem in report.problems[:_MOST]:
        print(f"problem: {printable(problem, _LONGEST)}")
    if (rest := len(report.problems) - _MOST) > 0:
        print(f"and {rest:,} more problems; --json lists all")
    if page is not None:
        print(f"wrote {page}")
    print("usable" if report.usable else f"not usable: {len(report.problems)} problem(s)")


def _named(report: DataReport) -> str:
    shown = [printable(name, 24) for name in report.classes[:6]]
    return ", ".join(shown) + (", ..." if len(report.classes) > len(shown) else "")
