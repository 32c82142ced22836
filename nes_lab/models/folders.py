"""Do the work of ``nes-lab export``, ``nes-lab tune`` and ``nes-lab optimize`` for a saved model.

Tests: tests/cli/test_models.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import torch
from torch import Tensor, nn

from nes_lab.errors import OptionError, check_choice, check_int
from nes_lab.export.onnx import export_onnx
from nes_lab.export.pretrained import from_pretrained, save_pretrained
from nes_lab.export.report import ExportReport
from nes_lab.export.torch_export import export_torch
from nes_lab.models.optimize import optimize
from nes_lab.progress_bar import OnProgress
from nes_lab.records.optimize_report import OptimizeReport
from nes_lab.records.options import ExportForm, ExportFormat
from nes_lab.records.tune_report import TuneReport
from nes_lab.tuning.tune import tune

__all__ = ["export_folder", "export_network", "optimize_folder", "tune_folder"]


def export_folder(
    folder: str | Path,
    path: str | Path,
    *,
    format: ExportFormat = "onnx",
    form: ExportForm = "materialized",
    opset: int | None = None,
    input_shape: tuple[int, ...] | None = None,
    allow_import: bool = False,
    verbose: bool = False,
) -> ExportReport:
    """Export a saved model to one file. The file is written only if the exported model's outputs agree with those in PyTorch.

    Args:
        folder: Folder written by :func:`nes_lab.save_pretrained` or ``nes-lab compress``.
        path: The file to write.
        format: ``"onnx"`` or ``"torch"`` (a ``.pt2`` program of torch.export).
        form: ``"materialized"``: plain convolutions and linear layers. ``"factored"``: the file stores each epitome
            instead of the weight sampled from it, and computes with the epitome.
        opset: Version of the ONNX operator set; None: torch's default.
        input_shape: Shape of one input without the batch axis; None: the input shape in the stored plan.
        allow_import: Import the function that the folder names, if its network is made by a function of the user's own.
        verbose: Let torch print its messages and the traced graph on standard error.

    Raises:
        NesLabError: If the folder cannot be read, an option is wrong, or the outputs do not agree. No file is written then.
    """
    check_choice("format", format, get_args(ExportFormat))
    model = from_pretrained(folder, allow_import=allow_import)
    example = _example(model, folder, input_shape)
    return export_network(model, example, path, format=format, form=form, opset=opset, verbose=verbose)


def export_network(
    model: nn.Module,
    example: Tensor,
    path: str | Path,
    *,
    format: ExportFormat = "onnx",
    form: ExportForm = "materialized",
    opset: int | None = None,
    verbose: bool = False,
    on_progress: OnProgress | None = None,
) -> ExportReport:
    """Export a network to one file. The file is written only if the exported network's outputs agree with those in PyTorch.

    Args:
        model: The network, in evaluation mode.
        example: An input for it, with the batch axis.
        path: The file to write.
        format: ``"onnx"`` or ``"torch"`` (a ``.pt2`` program of torch.export).
        form: ``"materialized"`` or ``"factored"``, as for :func:`export_folder`.
        opset: Version of the ONNX operator set; None: torch's default.
        verbose: Let torch print its messages and the traced graph on standard error.
        on_progress: Called before each phase of the work. An error that it raises ends the work.

    Raises:
        NesLabError: If an option is wrong, or the outputs do not agree. No file is written then.
    """
    check_choice("format", format, get_args(ExportFormat))
    if format == "torch":
        if opset is not None:
            raise OptionError(f"opset={opset!r} is for ONNX; torch.export takes no opset")
        return export_torch(model, example, path, form=form, verbose=verbose, on_progress=on_progress)
    return export_onnx(model, example, path, form=form, opset=opset, verbose=verbose, on_progress=on_progress)


def tune_folder(
    folder: str | Path,
    *,
    batch: int = 1,
    seconds: float = 60.0,
    input_shape: tuple[int, ...] | None = None,
    keep_madds: bool | None = None,
    save: bool = True,
    allow_import: bool = False,
    progress: bool = False,
    on_progress: OnProgress | None = None,
) -> TuneReport:
    """Choose the fastest execution (way to compute) of each epitome layer of a saved model, and store the choice in its folder.

    The times of all executions are measured on this device.

    Args:
        folder: Folder written by :func:`nes_lab.save_pretrained` or ``nes-lab compress``.
        batch: Batch size with which the model will be used.
        seconds: About how long tuning may take.
        input_shape: Shape of one input without the batch axis; None: the input shape in the stored plan.
        keep_madds: True: no layer gets more multiply-adds, even if that is faster. None: True if the stored plan was made for a
            budget of multiply-adds.
        save: Store the chosen executions in the folder; False: only measure.
        allow_import: Import the function that the folder names, if its network is made by a function of the user's own.
        progress: Show a progress bar on standard error.
        on_progress: Function called with a :class:`~nes_lab.progress_bar.ProgressEvent` at each step; None: nothing is called.

    Raises:
        NesLabError: If the folder cannot be read or an option is wrong. The folder is not changed then.
    """
    check_int("batch", batch, 1)
    model = from_pretrained(folder, allow_import=allow_import)
    example = _example(model, folder, input_shape)
    report = tune(
        model,
        example.expand(batch, *example.shape[1:]).contiguous(),
        seconds=seconds,
        keep_madds=keep_madds,
        progress=progress,
        on_progress=on_progress,
    )
    if save:
        plan = getattr(model, "nes_lab_plan", None)
        chosen = None if plan is None else report.apply(plan)
        save_pretrained(model, folder, plan=chosen, overwrite=True, verify=False)  # only the executions changed
    return report


def optimize_folder(
    folder: str | Path,
    *,
    batch: int = 1,
    seconds: float = 60.0,
    input_shape: tuple[int, ...] | None = None,
    keep_madds: bool = True,
    allow_import: bool = False,
    progress: bool = False,
) -> tuple[nn.Module, OptimizeReport]:
    """Find the fastest exact form of a saved model on this machine. The folder is not changed.

    Args:
        folder: Folder written by :func:`nes_lab.save_pretrained` or ``nes-lab compress``.
        batch: Batch size with which the model will be used.
        seconds: About how long tuning and timing may take.
        input_shape: Shape of one input without the batch axis; None: the input shape in the stored plan.
        keep_madds: True: choose only among forms within the planned multiply-adds.
        allow_import: Import the function that the folder names, if its network is made by a function of the user's own.
        progress: Show a progress bar on standard error.

    Returns:
        The network in its fastest form, and the report, as :func:`nes_lab.optimize` returns them.

    Raises:
        NesLabError: If the folder cannot be read or an option is wrong.
    """
    check_int("batch", batch, 1)
    model = from_pretrained(folder, allow_import=allow_import)
    example = _example(model, folder, input_shape)
    example = example.expand(batch, *example.shape[1:]).contiguous()
    return optimize(model, example, keep_madds, seconds=seconds, progress=progress)


def _example(model: nn.Module, folder: str | Path, input_shape: tuple[int, ...] | None) -> Tensor:
    if input_shape is None:
        plan = getattr(model, "nes_lab_plan", None)
        if plan is None:
            raise OptionError(
                f"input_shape=None: {folder} has no compression plan, which would give the input shape; give the shape of one input"
            )
        input_shape = tuple(plan.input_shape[1:])
    return torch.randn(1, *input_shape, generator=torch.Generator().manual_seed(0))  # zeros would hide differences
