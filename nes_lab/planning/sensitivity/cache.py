"""The file of a measurement of sensitivities: found by what was measured, written as it grows, whole at any time."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from math import isfinite
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nes_lab.errors import OptionError, PlanError
from nes_lab.planning.sensitivity.calibration_loss import Judge
from nes_lab.records.sensitivity_report import LayerSensitivity, SensitivityReport
from nes_lab.runs.files import read_bytes, write_json

__all__ = ["SensitivityFile", "digest"]

_SAVE_EVERY = 1.0  # seconds


class SensitivityFile:
    """The report as it grows, and its file; as a context it keeps what was measured also when measuring is interrupted.

    Args:
        path: None: nothing is kept.
        key: From :func:`digest`.
        options: Of the report.

    Raises:
        PlanError: If the file is damaged, or is of another measurement.
    """

    def __init__(self, path: Path | None, key: str, options: Mapping[str, Any]) -> None:
        self.path = path
        found = None if path is None else _read(path)
        self.report = found or SensitivityReport(key, dict(options), (), complete=False)
        if self.report.key != key:
            raise PlanError(f"{path} holds another measurement than its name says; remove it to measure anew")
        self._begun = self._saved = time.perf_counter()
        self._before = self.report.seconds

    def begin(self, dense_loss: float | None, samples: int) -> None:
        """Note what the data gave on the dense model."""
        if dense_loss is not None and not isfinite(dense_loss):
            raise OptionError(
                f"the dense model's loss on the calibration data is {dense_loss}; nothing can be compared with it"
            )
        self._change(dense_loss=dense_loss, samples=samples)

    def add(self, layer: LayerSensitivity) -> None:
        """Take up a layer; on disk at most a second later."""
        self._change(layers=(*self.report.layers, layer))
        if time.perf_counter() - self._saved > _SAVE_EVERY:
            self._write()

    def end(self) -> None:
        """Every layer is in."""
        self._change(complete=True)

    def _change(self, **fields: Any) -> None:
        mine = {
            name: getattr(self.report, name)
            for name in ("key", "options", "layers", "dense_loss", "samples", "complete")
        }
        seconds = self._before + time.perf_counter() - self._begun
        self.report = SensitivityReport(**(mine | fields), seconds=seconds)

    def _write(self) -> None:
        if self.path is not None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_json(self.path, self.report.to_dict())
            self._saved = time.perf_counter()

    def __enter__(self) -> SensitivityFile:
        return self

    def __exit__(self, kind: object, *rest: object) -> None:
        if kind is None or self.report.layers:
            self._write()


def _read(path: Path) -> SensitivityReport | None:
    try:
        text = read_bytes(path).decode()
    except FileNotFoundError:
        return None
    except UnicodeDecodeError as error:
        raise PlanError(f"{path} is damaged: {error}; remove it to measure anew") from error
    try:
        return SensitivityReport.from_json(text)
    except PlanError as error:
        raise PlanError(f"{path} is damaged: {error}; remove it to measure anew") from error


def digest(model: nn.Module, said: object, judge: Judge | None) -> str:
    """SHA-256 over the weights, what was asked, and the calibration data."""
    sha = hashlib.sha256(repr(said).encode())
    tensors = [(name, t) for name, t in model.state_dict(keep_vars=True).items() if isinstance(t, Tensor)]
    if judge is not None:
        sha.update(judge.name.encode())
        tensors += [("", t) for t in judge.tensors()]
    for name, tensor in tensors:
        sha.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        sha.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return sha.hexdigest()
