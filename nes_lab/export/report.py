"""What an export wrote, and how it was seen to agree. Torch-free."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from nes_lab import __version__
from nes_lab.errors import OptionError

__all__ = ["ExportReport", "versions_of"]

_SCHEMA = 1


@dataclass(frozen=True)
class ExportReport:
    """One exported file.

    Args:
        path: The file.
        format: ``"onnx"`` or ``"torch.export"``.
        form: ``"materialized"`` (plain layers) or ``"factored"`` (each epitome once, folds and expansions in the graph).
        bytes: Size of the file.
        params: Numbers in the file's weights, each counted once; index tables not among them.
        madds: Multiply-adds of the convolutions and matrix products in the graph, for the example input; None where they cannot
            be read off it.
        opset: Of an ONNX file, else None.
        batches: Batch sizes with which the file was run and compared; empty where it was not.
        largest_difference: Between an output of the file and of PyTorch, over these batches; None where it was not compared.
        relative_difference: The same, as a share of the largest output.
        tolerance: Largest relative difference allowed.
        exported_ms, torch_ms: Medians of one call of the file and of the PyTorch model, taking turns; None where not timed.
        threads: Threads of both.
        versions: Of the packages that made and ran the file.

    Examples:
        >>> print(ExportReport("a.onnx", "onnx", "factored", 2048, 500, 1000, opset=20))
        a.onnx: onnx, factored, opset 20, 2,048 bytes, 500 params, 1,000 madds; not compared
    """

    path: str
    format: str
    form: str
    bytes: int
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
    def ratio(self) -> float | None:
        """Time of the file as a share of PyTorch's."""
        return None if self.exported_ms is None or not self.torch_ms else self.exported_ms / self.torch_ms

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON, with the schema's number."""
        return {"schema": _SCHEMA, **asdict(self), "versions": dict(self.versions), "batches": list(self.batches)}

    @classmethod
    def from_dict(cls, data: Any) -> ExportReport:
        """Read :meth:`to_dict`.

        Raises:
            OptionError: If it is none, or of another schema.
        """
        if not isinstance(data, Mapping) or data.get("schema") != _SCHEMA:
            found = data.get("schema") if isinstance(data, Mapping) else type(data).__name__
            raise OptionError(f"schema={found!r}; this version reads export reports of schema {_SCHEMA}")
        known = {f.name for f in fields(cls)}
        try:
            rest: dict[str, Any] = {k: tuple(v) if k == "batches" else v for k, v in data.items() if k != "schema"}
            if rest.keys() - known:
                raise TypeError(f"{min(rest.keys() - known)!r} is not known")
            return cls(**rest)
        except TypeError as error:
            raise OptionError(f"the export report lacks or misnames a field: {error}") from error

    def __str__(self) -> str:
        opset = "" if self.opset is None else f", opset {self.opset}"
        madds = "unknown" if self.madds is None else f"{self.madds:,}"
        head = f"{self.path}: {self.format}, {self.form}{opset}, {self.bytes:,} bytes, {self.params:,} params, {madds} madds"
        if self.largest_difference is None:
            return f"{head}; not compared"
        agree = f"differs from PyTorch by at most {self.largest_difference:.1e} (batches {', '.join(map(str, self.batches))})"
        if self.exported_ms is None:
            return f"{head}; {agree}"
        return (
            f"{head}; {agree}; {self.exported_ms:.2f} ms a call, PyTorch {self.torch_ms:.2f} ms, {self.threads} threads"
        )


def versions_of(*packages: str) -> dict[str, str]:
    """Versions of NES Lab and of the packages that are installed."""
    found = {"nes_lab": __version__}
    for name in packages:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found
