"""Write a page about a data set: what the check reports, statistics, and a few examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from nes_lab.figures.contact_sheet import contact_sheet
from nes_lab.figures.data_statistics import data_statistics
from nes_lab.figures.report import Section, report_html
from nes_lab.text import format_shape, list_some

if TYPE_CHECKING:
    from nes_lab.datasets.check.report import DataReport, SplitReport

__all__ = ["data_page", "split_row"]

_MOST_SHOWN = 4


def data_page(report: DataReport, examples: Mapping[str, Sequence[np.ndarray]]) -> str:
    """Return the page as one HTML document.

    Args:
        report: Report of :func:`nes_lab.check_data`.
        examples: Class name -> examples, as :func:`~nes_lab.figures.contact_sheet.contact_sheet` takes them.
    """
    verdict = "It can be used as it is." if report.usable else "It cannot be used as it is:"
    sections = [
        Section(
            "Result of the check",
            text="\n\n".join([verdict, *report.problems]),
            table=[split_row(split) for split in report.splits],
            note="; ".join(report.notes),
        )
    ]
    if any(split.total for split in report.splits) and report.classes:
        sections.append(Section("Classes and sizes", figure=data_statistics(report)))
    if examples:
        most = (
            f" {len(examples)} of {len(report.classes):,} classes are shown."
            if len(examples) < len(report.classes)
            else ""
        )
        sections.append(Section("Examples", figure=contact_sheet(examples), note=most.strip()))
    return report_html(f"Data: {report.name}", sections)


def split_row(split: SplitReport) -> dict[str, Any]:
    """Return the row of a table about one split.

    Examples:
        >>> from nes_lab.datasets.check.report import SplitReport
        >>> split_row(SplitReport("val", (3, 5), 8, ((8, 8, 8),), {"L": 8}, (0.25,), (0.5,)))["of a class (min, median, max)"]
        '3, 4, 5'
    """
    sizes = [format_shape((width, height)) if height > 1 else f"{width:,} samples" for width, height, _ in split.sizes]
    return {
        "split": split.name,
        "examples": f"{split.total:,}",
        "classes": f"{sum(count > 0 for count in split.counts):,}",
        "of a class (min, median, max)": f"{split.least:,}, {split.median:,g}, {split.most:,}",
        "decoded": f"{split.examined:,}",
        "sizes": list_some(sizes, _MOST_SHOWN),
        "modes": ", ".join(f"{mode}: {count:,}" for mode, count in split.modes.items()),
        "mean": " ".join(f"{round(value, 4) + 0.0:.4f}" for value in split.mean),
        "std": " ".join(f"{value:.4f}" for value in split.std),
    }
