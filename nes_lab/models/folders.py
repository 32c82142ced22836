"""Jobs over a saved model's folder: what ``nes-lab export`` and ``nes-lab tune`` call."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from nes_lab.errors import OptionError, check_choice
from nes_lab.export.onnx import export_onnx
from nes_lab.export.pretrained import from_pretrained, save_pretrained
from nes_lab.export.report import ExportReport
from nes_lab.export.torch_export import export_torch
from nes_lab.progress_bar import OnProgress
from nes_lab.records.tune_report import TuneReport
from nes_lab.tuning.tune import tune

__all__ = ["export_folder", "tune_folder"]


def export_folder(
    folder: str | Path,
    path: str | Path,
    *,
    format: str = "onnx",
    form: str = "materialized",
    opset: int | None = None,
    input_shape: tuple[int, ...] | None = None,
) -> ExportReport:
    """Export a saved model to one file, checked against PyTorch before it gets its name.

    Args:
        folder: From :func:`nes_lab.save_pretrained` or a job.
        path: The file to write.
        format: ``"onnx"`` or ``"torch"`` (a ``.pt2`` program of torch.export).
        form: ``"materialized"``: plain convolutions; ``"factored"``: the reuse stays in the graph.
        opset: Of ONNX; None: torch's own choice.
        input_shape: Of one input without its batch; None: that of the stored plan.

    Raises:
        NesLabError: If the folder, an option or the outcome is wrong; nothing is written then.
    """
    check_choice("format", format, ("onnx", "torch"))
    model = from_pretrained(folder).eval()
    example = _example(model, folder, input_shape)
    if format == "torch":
        if opset is not None:
            raise OptionError(f"opset={opset!r} is for ONNX; torch.export has none")
        return export_torch(model, example, path, form=form)
    return export_onnx(model, example, path, form=form, opset=opset)


def tune_folder(
    folder: str | Path,
    *,
    batch: int = 1,
    seconds: float = 60.0,
    input_shape: tuple[int, ...] | None = None,
    save: bool = True,
    progress: bool = False,
    on_progress: OnProgress | None = None,
) -> TuneReport:
    """Choose the execution plans of a saved model by measurement here, and store the choice.

    Args:
        folder: From :func:`nes_lab.save_pretrained` or a job.
        batch: Images a forward, as it will be served.
        seconds: About how long it may take.
        input_shape: As in :func:`export_folder`.
        save: Write the choice into the folder; false only measures.
        progress: Show a bar on standard error.
        on_progress: Called with a :class:`~nes_lab.progress_bar.ProgressEvent` at each piece of work; None: nobody is.

    Raises:
        NesLabError: If the folder or an option is wrong; the folder is then as it was.
    """
    if isinstance(batch, bool) or not isinstance(batch, int) or batch < 1:
        raise OptionError(f"batch={batch!r}; give a whole number of at least 1")
    model = from_pretrained(folder).eval()
    example = _example(model, folder, input_shape)
    report = tune(
        model,
        example.expand(batch, *example.shape[1:]).contiguous(),
        seconds=seconds,
        progress=progress,
        on_progress=on_progress,
    )
    if save:
        plan = getattr(model, "nes_lab_plan", None)
        save_pretrained(model, folder, plan=None if plan is None else report.apply(plan), overwrite=True)
    return report


def _example(model: nn.Module, folder: str | Path, input_shape: tuple[int, ...] | None) -> Tensor:
    if input_shape is None:
        plan = getattr(model, "nes_lab_plan", None)
        if plan is None:
            raise OptionError(f"input_shape=None: {folder} stores no plan that says it; give the shape of one input")
        input_shape = tuple(plan.input_shape[1:])
    return torch.randn(1, *input_shape, generator=torch.Generator().manual_seed(0))  # zeros would hide differences
