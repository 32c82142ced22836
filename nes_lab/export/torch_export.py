"""Write a model as a ``.pt2`` file of ``torch.export`` (``export_torch``)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from nes_lab.cost.left_as_it_was import left_as_it_was
from nes_lab.cost.meter import Counter
from nes_lab.cost.probe import counting_kernels
from nes_lab.errors import OptionError, check_choice
from nes_lab.export.atomic_write import new_file
from nes_lab.export.example import ExampleInput, check_example, precision_of
from nes_lab.export.graph import FORMS
from nes_lab.export.parity import verify_file
from nes_lab.export.report import ExportReport, versions_of
from nes_lab.export.trace import chosen_tolerance, prepare_trace, quiet_exporters, run_tracer
from nes_lab.progress_bar import OnProgress, report_phase
from nes_lab.records.options import ExportForm

__all__ = ["export_torch"]


def export_torch(
    model: nn.Module,
    example_input: Any,
    path: str | Path,
    *,
    form: ExportForm = "materialized",
    dynamic_batch: bool = True,
    tolerance: float | None = None,
    verbose: bool = False,
    on_progress: OnProgress | None = None,
) -> ExportReport:
    """Write a model as a ``torch.export`` program, which ``torch.export.load`` reads without NES Lab.

    The file appears at ``path`` only after a check. It is loaded again and run on the example and on another batch size. The
    outputs must agree with the model's.

    Args:
        model: A compressed or dense model. It does not change, and is exported in evaluation mode, on its device.
        example_input: A tensor, or a tuple or dict of tensors and None. None is a constant of the file, not an input.
        path: Path of the file, ending in ``.pt2``; an existing file is replaced.
        form: ``"materialized"``: plain convolutions and linear layers. ``"factored"``: each epitome is stored once, and the graph
            computes with the epitome by slices, gathers and additions.
        dynamic_batch: Let the file accept any batch size; False: only the batch size of the example.
        tolerance: Largest allowed difference between the outputs of the file and of the model, divided by the output's largest
            entry. None: 1e-4, or 0.01 for a model in float16, or 0.08 in bfloat16.
        verbose: Let torch print its messages and the traced graph on standard error.
        on_progress: Called before each phase of the work. An error that it raises ends the work.

    Returns:
        A report with the size, params and multiply-adds of the file, the largest difference of the outputs, and the times that
        the file and the model take.

    Raises:
        OptionError: If an option is wrong, or the model cannot run the example.
        ExportError: If the model cannot be traced, accepts one batch size only, or the outputs differ by more than ``tolerance``.
        CheckpointError: If the file cannot be written. After any error no new file is left.

    Examples:
        >>> import tempfile, torch, nes_lab
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     report = nes_lab.export_torch(torch.nn.Linear(4, 3), torch.randn(1, 4), f"{folder}/net.pt2")
        >>> report.params, report.madds, report.batches
        (15, 12, (1, 2))
    """
    path = Path(path)
    check_choice("form", form, FORMS)
    chosen_tolerance(tolerance, torch.float32)
    if path.suffix != ".pt2":
        raise OptionError(f"path={str(path)!r} should end in .pt2")
    example = ExampleInput.of(example_input)
    check_example(model, example)
    with new_file(path) as temporary, left_as_it_was():
        report_phase(on_progress, "tracing", 1, 4)
        graph, arguments, shapes = prepare_trace(model, example, form, dynamic_batch)
        program = run_tracer(
            lambda: torch.export.export(
                graph, arguments.args, dict(arguments.kwargs), dynamic_shapes=shapes, strict=False
            ),
            "by torch.export",
            dynamic_batch,
            verbose,
        )
        report_phase(on_progress, "writing and counting", 2, 4)
        with quiet_exporters():
            torch.export.save(program, temporary)
            loaded = torch.export.load(temporary).module()
        facts = {"file_bytes": temporary.stat().st_size, "params": _params(program), "madds": _madds(loaded, example)}
        allowed = chosen_tolerance(tolerance, precision_of(model, example))
        report_phase(on_progress, "checking and timing", 3, 4)
        checks = verify_file(_runner(loaded), model, example, allowed, dynamic_batch, "the torch.export file")
    return ExportReport(str(path), "torch.export", form, **facts, **checks, versions=versions_of("torch"))


def _runner(module: nn.Module) -> Any:
    def call(example: ExampleInput) -> list[Tensor]:
        with torch.no_grad():
            return [t for t in tree_leaves(module(*example.args, **example.kwargs)) if isinstance(t, Tensor)]

    return call


def _params(program: torch.export.ExportedProgram) -> int:
    """Count the entries of all floating-point tensors of an exported program, such as parameters and norm statistics.

    A tensor with two names is counted once.
    """
    tensors = {**program.state_dict, **{k: v for k, v in program.constants.items() if isinstance(v, Tensor)}}
    sizes = {(t.data_ptr(), t.shape, t.stride()): t.numel() for t in tensors.values() if t.is_floating_point()}
    return sum(sizes.values())


def _madds(module: nn.Module, example: ExampleInput) -> int:
    # no weights are followed: in the graph of an epitome layer, blending cells is not a product with an input
    with torch.no_grad(), counting_kernels(), Counter(nn.Identity()) as counter:
        module(*example.args, **example.kwargs)
    return counter.get_total_flops() // 2
