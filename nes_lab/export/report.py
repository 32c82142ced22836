"""``ExportReport``: what an export wrote, and how it was checked. Does not import torch."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import ClassVar

from nes_lab import __version__
from nes_lab.records.columns import columns
from nes_lab.records.record import Record
from nes_lab.records.table import Table
from nes_lab.renamed import warn_renamed

__all__ = ["ExportReport", "versions_of"]


@dataclass(frozen=True)
class ExportReport(Record):
    """One exported file.

    Args:
        path: The file.
        format: ``"onnx"`` or ``"torch.export"``.
        form: ``"materialized"`` (plain layers) or ``"factored"`` (each epitome is stored once).
        file_bytes: Size of the file.
        params: Numbers in the file's weights, each counted once; tables of integers do not count.
        madds: Multiply-adds of the convolutions and matrix products in the graph, for the example input; None if they cannot be
            computed from it.
        opset: Operator set of an ONNX file; None for other files.
        batches: Batch sizes with which the file was run and compared; empty if it was not.
        largest_difference: Largest absolute difference between outputs of the file and of PyTorch; None if not compared.
        relative_difference: The same, as a share of the output's largest entry.
        tolerance: Largest relative difference allowed.
        exported_ms, torch_ms: Median times of one call of the file and of the PyTorch model, measured alternately, in
            milliseconds; None if not timed.
        threads: CPU threads of both.
        versions: Versions of the packages that wrote and ran the file.

    Examples:
        >>> print(ExportReport("a.onnx", "onnx", "factored", 2048, 500, 1000, opset=20))
        a.onnx: onnx, factored, opset 20, 2,048 bytes, 500 params, 1,000 madds; not compared
    """

    NAME: ClassVar[str] = "export report"
    OLD_NAMES: ClassVar[Mapping[str, str]] = {"bytes": "file_bytes"}
    path: str
    format: str
    form: str
    file_bytes: int
    params: int
    madds: int | None
    opset: int | None = None
    batches: tuple[int, ...] = ()
    largest_difference: float | None = None
    relative_difference: float | None = None
    tolerance: float | None = None
    exported_ms: float | None = None
    torch_ms: float | None = None
    threads: int | None = None
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def bytes(self) -> int:
        """Old name of ``file_bytes``."""
        warn_renamed("ExportReport.bytes", "ExportReport.file_bytes")
        return self.file_bytes

    @property
    def ratio(self) -> float | None:
        """Time of the file as a share of PyTorch's; None if not timed."""
        return None if self.exported_ms is None or not self.torch_ms else self.exported_ms / self.torch_ms

    def table(self) -> Table:
        """Return one row; the line above names the file and says how it was checked."""
        return Table(columns("params", "madds"), [asdict(self)], before=[str(self)])

    def __str__(self) -> str:
        opset = "" if self.opset is None else f", opset {self.opset}"
        madds = "unknown" if self.madds is None else f"{self.madds:,}"
        head = f"{self.path}: {self.format}, {self.form}{opset}, {self.file_bytes:,} bytes, {self.params:,} params, {madds} madds"
        if self.largest_difference is None:
            return f"{head}; not compared"
        agree = f"differs from PyTorch by at most {self.largest_difference:.1e} (batches {', '.join(map(str, self.batches))})"
        if self.exported_ms is None:
            return f"{head}; {agree}"
        return (
            f"{head}; {agree}; {self.exported_ms:.2f} ms a call, PyTorch {self.torch_ms:.2f} ms, {self.threads} threads"
        )


def versions_of(*packages: str) -> dict[str, str]:
    """Return the versions of NES Lab and of those packages that are installed."""
    versions = {"nes_lab": __version__}
    for name in packages:
        with contextlib.suppress(PackageNotFoundError):
            versions[name] = version(name)
    return versions
