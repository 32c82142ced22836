"""Save a sensitivity report to a file while it is measured. An interrupted measurement can then be resumed."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from dataclasses import replace
from math import isfinite
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nes_lab.errors import OptionError, PlanError
from nes_lab.planning.sensitivity.calibration_loss import CalibrationLoss
from nes_lab.records.sensitivity_report import LayerSensitivity, SensitivityReport
from nes_lab.runs.files import read_bytes, write_json

__all__ = ["SensitivityCache", "measurement_key"]

SECONDS_BETWEEN_WRITES = 1.0


class SensitivityCache:
    """A sensitivity report and its file. The report says how much quality a model loses if one of its layers shrinks.

    The results of each layer are added with :meth:`add`. If the file exists, the report begins with its contents, so that an
    interrupted measurement goes on where it stopped. Use the object in a ``with`` statement. The report is then saved even if
    the measurement is interrupted.

    Args:
        path: File of the report; None saves nothing.
        key: Checksum of the weights, options and calibration data, from :func:`measurement_key`.
        options: Options of the measured epitomes. They are written into the report.

    Raises:
        PlanError: If the file is damaged, or belongs to another measurement.
    """

    def __init__(self, path: Path | None, key: str, options: Mapping[str, Any]) -> None:
        self.path = path
        saved = None if path is None else _read(path)
        self.report = saved or SensitivityReport(key, dict(options), (), complete=False)
        if self.report.key != key:
            raise PlanError(f"{path} belongs to another measurement than its name says; remove it to measure again")
        self._begun = self._saved = time.perf_counter()
        self._seconds_before = self.report.seconds

    def begin(self, dense_loss: float | None, samples: int) -> None:
        """Write the dense model's loss on the calibration data, and the number of calibration samples, into the report.

        Raises:
            OptionError: If the loss is not finite.
        """
        if dense_loss is not None and not isfinite(dense_loss):
            raise OptionError(
                f"the dense model's loss on the calibration data is {dense_loss}; nothing can be compared with it"
            )
        self._change(dense_loss=dense_loss, samples=samples)

    def add(self, layer: LayerSensitivity) -> None:
        """Add the results of one layer to the report. The file is written at most once a second."""
        self._change(layers=(*self.report.layers, layer))
        if time.perf_counter() - self._saved > SECONDS_BETWEEN_WRITES:
            self._write()

    def end(self) -> None:
        """Mark the sensitivity report as complete."""
        self._change(complete=True)

    def _change(self, **fields: Any) -> None:
        seconds = self._seconds_before + time.perf_counter() - self._begun
        self.report = replace(self.report, **fields, seconds=seconds)

    def _write(self) -> None:
        if self.path is not None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_json(self.path, self.report.to_dict())
            self._saved = time.perf_counter()

    def __enter__(self) -> SensitivityCache:
        return self

    def __exit__(self, kind: object, *rest: object) -> None:
        if kind is None or self.report.layers:
            self._write()


def _read(path: Path) -> SensitivityReport | None:
    """Read a sensitivity report from a file; None if there is no file."""
    try:
        return SensitivityReport.from_json(read_bytes(path).decode())
    except FileNotFoundError:
        return None
    except (UnicodeDecodeError, PlanError) as error:
        raise PlanError(f"{path} is damaged: {error}; remove it to measure again") from error


def measurement_key(model: nn.Module, options: object, calibration_loss: CalibrationLoss | None) -> str:
    """Return a checksum (SHA-256) of the weights, options and data that a sensitivity report depends on.

    Args:
        model: The model. Its weights and buffers enter the checksum.
        options: Options of the measurement. Their ``repr`` enters the checksum.
        calibration_loss: Loss function and calibration data; None if no loss is measured.
    """
    sha = hashlib.sha256(repr(options).encode())
    tensors = [(name, t) for name, t in model.state_dict(keep_vars=True).items() if isinstance(t, Tensor)]
    if calibration_loss is not None:
        sha.update(calibration_loss.name.encode())
        tensors += [("", t) for t in calibration_loss.tensors()]
    for name, tensor in tensors:
        sha.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        sha.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return sha.hexdigest()
