"""Write a page about a data set: problems that a check found, statistics, and a few examples.

Tests: tests/figures/test_data_figures.py
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from nes_lab.figures.contact_sheet import contact_sheet
from nes_lab.figures.data_statistics import data_statistics
from nes_lab.figures.report import Section, report_html

if TYPE_CHECKING:
    from nes_lab.datasets.check.report import DataReport

__all__ = ["data_page"]


def data_page(report: DataReport, examples: Mapping[str, Sequence[np.ndarray]]) -> str:
    """Return a page about a data set as one HTML document: problems that a check found, statistics and examples.

    Args:
        report: What :func:`nes_lab.check_data` found out about the data set.
        examples: Class name -> images ``(H, W)`` or ``(H, W, 3)`` as uint8, or sounds of ``T`` samples ``(T,)``. If
            it is empty, the page shows no examples.
    """
    verdict = "It can be used as it is." if report.usable else "It cannot be used as it is:"
    table = report.table()
    sections = [
        Section(
            "Result of the check",
            text="\n\n".join([verdict, *report.problems]),
            table=[dict(zip(table.titles, table.cells(row), strict=True)) for row in table.rows],
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
