"""Report what an export wrote and how it was checked (``ExportReport``). This module does not import torch."""

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


@dataclass(frozen=True, repr=False)
class ExportReport(Record):
    """Report about one exported file: its size and cost, and how its outputs compare with PyTorch's.

    Args:
        path: Path of the file.
        format: ``"onnx"`` or ``"torch.export"``.
        form: ``"materialized"`` (plain layers) or ``"factored"`` (each epitome is stored once).
        file_bytes: Size of the file in bytes.
        params: Number of floating-point entries in the file's weights, each counted once; tables of integers are not counted.
        madds: Multiply-adds of the convolutions and matrix products in the graph, for the example input; None: a shape in the
            graph is unknown.
        opset: Version of the operator set of an ONNX file; None for other files.
        batches: Batch sizes with which the file was run and compared; empty: it was not compared.
        largest_difference: Largest absolute difference between the outputs of the file and of PyTorch; None: not compared.
        relative_difference: Largest difference between these outputs, divided by the output's largest entry; None: not
            compared.
        tolerance: Largest relative difference allowed; None: not compared.
        exported_ms: Median time of one call of the file, in milliseconds; None: not timed.
        torch_ms: Median time of one call of the PyTorch model, in milliseconds; None: not timed.
        threads: Number of CPU threads of the file's runtime and of PyTorch; None: not timed.
        versions: Versions of the packages that wrote and ran the file.
        source: Which weights of a training run were exported; empty if it was not a run's network.

    Examples:
        >>> import nes_lab
        >>> print(nes_lab.ExportReport("a.onnx", "onnx", "factored", 2048, 500, 1000, opset=20))
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
    source: str = ""

    @property
    def bytes(self) -> int:
        """Size of the file in bytes. This is the old name of ``file_bytes``."""
        warn_renamed("ExportReport.bytes", "ExportReport.file_bytes")
        return self.file_bytes

    @property
    def ratio(self) -> float | None:
        """Time of the exported file divided by the time of PyTorch; None if they were not timed."""
        return None if self.exported_ms is None or not self.torch_ms else self.exported_ms / self.torch_ms

    def table(self) -> Table:
        """Return a table with one row: the params and multiply-adds of the file.

        The line above the table names the file and says how the file was checked.
        """
        return Table(columns("params", "madds"), [asdict(self)], before=[str(self)])

    def notebook_table(self) -> Table:
        """Return the table that a notebook shows: what was written, and how it compares with PyTorch."""
        keys = (
            "path",
            "format",
            "form",
            "file_bytes",
            "params",
            "madds",
            "largest_difference",
            "exported_ms",
            "torch_ms",
        )
        return Table(columns(*keys), [asdict(self)], before=[str(self)])

    def __repr__(self) -> str:
        return f"ExportReport: {self}"

    def __str__(self) -> str:
        source = f" ({self.source})" if self.source else ""
        opset = "" if self.opset is None else f", opset {self.opset}"
        madds = "unknown" if self.madds is None else f"{self.madds:,}"
        head = f"{self.path}{source}: {self.format}, {self.form}{opset}, {self.file_bytes:,} bytes, {self.params:,} params, {madds} madds"
        if self.largest_difference is None:
            return f"{head}; not compared"
        agree = f"differs from PyTorch by at most {self.largest_difference:.1e} (batches {', '.join(map(str, self.batches))})"
        if self.exported_ms is None:
            return f"{head}; {agree}"
        return (
            f"{head}; {agree}; {self.exported_ms:.2f} ms a call, PyTorch {self.torch_ms:.2f} ms, {self.threads} threads"
        )


def versions_of(*packages: str) -> dict[str, str]:
    """Return the versions of NES Lab and of the given packages, without packages that are not installed."""
    versions = {"nes_lab": __version__}
    for name in packages:
        with contextlib.suppress(PackageNotFoundError):
            versions[name] = version(name)
    return versions
