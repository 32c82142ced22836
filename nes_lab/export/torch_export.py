"""``export_torch``: a ``.pt2`` file of ``torch.export``, that has its name once it was loaded and seen to agree."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from nes_lab.cost.count import counting_kernels
from nes_lab.errors import OptionError, check_choice
from nes_lab.export.folder import new_file
from nes_lab.export.graph import FORMS
from nes_lab.export.inputs import Example, check_example
from nes_lab.export.parity import verified
from nes_lab.export.report import ExportReport, versions_of
from nes_lab.export.tracing import check_tolerance, quiet, traceable, traced

__all__ = ["export_torch"]


def export_torch(
    model: nn.Module,
    example_input: Any,
    path: str | Path,
    *,
    form: str = "materialized",
    dynamic_batch: bool = True,
    tolerance: float = 1e-4,
) -> ExportReport:
    """Write a model as a ``torch.export`` program, to be read by ``torch.export.load`` without NES Lab.

    The file has its name only after it was loaded again, run on the example and on another batch size, and agreed with the model.

    Args:
        model: Compressed or dense, left as it was; exported in evaluation mode, on its device.
        example_input: A tensor, or a tuple or dict of tensors.
        path: Of the file, ending in ``.pt2``; one that is there is replaced.
        form: ``"materialized"`` or ``"factored"``, as :func:`nes_lab.export_onnx` takes it.
        dynamic_batch: Leave the first axis open; False fixes it to the example's.
        tolerance: Largest difference allowed, as a share of the largest entry of the output.

    Raises:
        OptionError: If an option is wrong, or the model cannot run the example.
        ExportError: If the model cannot be traced, or the outputs do not agree.
        CheckpointError: If the file cannot be written. In every case nothing is left behind.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as place:
        ...     report = export_torch(nn.Linear(4, 3), torch.randn(1, 4), f"{place}/net.pt2")
        >>> report.params, report.madds, report.batches
        (15, 12, (1, 2))
    """
    path = Path(path)
    check_choice("form", form, FORMS)
    check_tolerance(tolerance)
    if path.suffix != ".pt2":
        raise OptionError(f"path={str(path)!r}; torch.export's files end in .pt2")
    example = Example.of(example_input)
    check_example(model, example)
    with new_file(path) as temporary:
        graph, arguments, shapes = traceable(model, example, form, dynamic_batch)
        program = traced(
            lambda: torch.export.export(
                graph, arguments.args, dict(arguments.kwargs), dynamic_shapes=shapes, strict=False
            ),
            "by torch.export",
            dynamic_batch,
        )
        with quiet():
            torch.export.save(program, temporary)
            again = torch.export.load(temporary).module()
        facts = {"bytes": temporary.stat().st_size, "params": _params(program), "madds": _madds(again, example)}
        checks = verified(_runner(again), model, example, tolerance, dynamic_batch, "the torch.export file")
    return ExportReport(str(path), "torch.export", form, **facts, **checks, versions=versions_of("torch"))


def _runner(module: nn.Module) -> Any:
    def call(example: Example) -> list[Tensor]:
        with torch.no_grad():
            return [t for t in tree_leaves(module(*example.args, **example.kwargs)) if isinstance(t, Tensor)]

    return call


def _params(program: torch.export.ExportedProgram) -> int:
    """Numbers in parameters, norms' statistics and shares; one tensor under two names counts once."""
    tensors = {**program.state_dict, **{k: v for k, v in program.constants.items() if isinstance(v, Tensor)}}
    places = {(t.data_ptr(), t.shape, t.stride()): t.numel() for t in tensors.values() if t.is_floating_point()}
    return sum(places.values())


def _madds(module: nn.Module, example: Example) -> int:
    with torch.no_grad(), counting_kernels(), FlopCounterMode(display=False) as counter:
        module(*example.args, **example.kwargs)
    return counter.get_total_flops() // 2
