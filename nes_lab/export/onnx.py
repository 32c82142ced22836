"""``export_onnx``: an ONNX file, plain or with the reuse in its graph, that has its name once it was seen to agree."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nes_lab.errors import ExportError, OptionError, check_choice
from nes_lab.export.folder import new_file
from nes_lab.export.graph import FORMS
from nes_lab.export.inputs import Example, check_example
from nes_lab.export.parity import verified
from nes_lab.export.report import ExportReport, versions_of
from nes_lab.export.tracing import check_tolerance, quiet, short, traceable, traced

__all__ = ["export_onnx"]

_MOST_FOLDED = 1024
"""Larger constants are left to be computed where the file is loaded: folded here, each would be stored."""
_SMALL = 64


def export_onnx(
    model: nn.Module,
    example_input: Any,
    path: str | Path,
    *,
    form: str = "materialized",
    opset: int | None = None,
    dynamic_batch: bool = True,
    verify: bool = True,
    tolerance: float = 1e-4,
) -> ExportReport:
    """Write a model as ONNX, through torch's dynamo exporter.

    The file has its name only after ONNX Runtime has run it on the example and on another batch size and agreed with PyTorch.

    Args:
        model: Compressed or dense, on any device; left as it was and exported in evaluation mode.
        example_input: A tensor, or a tuple or dict of tensors.
        path: Of the file; one that is there is replaced.
        form: ``"materialized"``: plain convolutions and linear layers. ``"factored"``: the reuse stays in the graph; each epitome is
            stored once, and folds and expansions are slices, gathers and additions. Starts are those of now, fractional ones too.
        opset: Of ONNX; None: the exporter's own.
        dynamic_batch: Leave the first axis open; False fixes it to the example's.
        verify: Run the file and compare; False needs no ONNX Runtime.
        tolerance: Largest difference allowed, as a share of the largest entry of the output.

    Returns:
        Size, params, multiply-adds, largest difference, and the times of ONNX Runtime and PyTorch taking turns.

    Raises:
        OptionError: If an option is wrong, the model cannot run the example, or a package is missing.
        ExportError: If the model cannot be traced, the opset lacks an operator (names it), or the outputs do not agree.
        CheckpointError: If the file cannot be written. In every case nothing is left behind.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as place:
        ...     report = export_onnx(nn.Linear(4, 3), torch.randn(1, 4), f"{place}/net.onnx")
        >>> report.params, report.madds, report.batches
        (15, 12, (1, 2))
    """
    path = Path(path)
    check_choice("form", form, FORMS)
    onnx = _package("onnx")
    _package("onnxscript")
    _check_opset_option(onnx, opset)
    check_tolerance(tolerance)
    if verify:
        _package("onnxruntime")
    example = Example.of(example_input)
    check_example(model, example)
    with new_file(path) as temporary:
        proto = _traced(model, example, form, opset, dynamic_batch)
        onnx.save(proto, temporary)
        facts = _facts(proto, example, temporary)
        checks: dict[str, Any] = {}
        if verify:
            checks = verified(_session(temporary), model, example, tolerance, dynamic_batch, "the ONNX file")
    versions = versions_of("torch", "onnx", "onnxscript", "onnxruntime")
    return ExportReport(str(path), "onnx", form, **facts, **checks, versions=versions)


def _package(name: str) -> Any:
    try:
        return __import__(name)
    except ImportError as error:
        raise OptionError(f"{name} is not installed; pip install 'nes-lab[export]' brings it") from error


def _check_opset_option(onnx: Any, opset: int | None) -> None:
    newest = onnx.defs.onnx_opset_version()
    if opset is not None and (isinstance(opset, bool) or not isinstance(opset, int) or not 1 <= opset <= newest):
        known = f"onnx {onnx.__version__} knows 1 to {newest}"
        raise OptionError(f"opset={opset!r}; give a whole number: {known}")


def _traced(model: nn.Module, example: Example, form: str, opset: int | None, dynamic: bool) -> Any:
    """The model as a cleaned ONNX proto."""
    from nes_lab.export.onnx_graph import clean

    on_cpu = copy.deepcopy(model).cpu() if _elsewhere(model) else model
    graph, arguments, shapes = traceable(on_cpu, example.to("cpu"), form, dynamic)
    program = traced(
        lambda: torch.onnx.export(
            graph,
            arguments.args,
            kwargs=dict(arguments.kwargs),
            dynamo=True,
            dynamic_shapes=shapes,
            opset_version=opset,
            optimize=False,
            verbose=False,
        ),
        "to ONNX",
        dynamic,
    )
    assert program is not None  # the dynamo exporter returns one
    _check_opset(program.model_proto, opset)
    with quiet():
        optimizer = _package("onnxscript").optimizer
        optimizer.optimize_ir(program.model, output_size_limit=_MOST_FOLDED, should_fold=_may_fold)
    return clean(program.model_proto)


def _may_fold(node: Any) -> bool | None:
    """Not what is made of an epitome: its pieces would be stored beside it."""
    for value in node.inputs:
        known = None if value is None else value.const_value
        if known is not None and len(known.shape) > 1 and known.size > _SMALL and known.dtype.is_floating_point():
            return False
    return None


def _elsewhere(model: nn.Module) -> bool:
    return any(t.device.type != "cpu" for t in (*model.parameters(), *model.buffers()))


def _opset(proto: Any) -> int:
    return next(i.version for i in proto.opset_import if i.domain in ("", "ai.onnx"))


def _check_opset(proto: Any, opset: int | None) -> None:
    from nes_lab.export.onnx_graph import missing_operators

    if opset is not None and _opset(proto) != opset:
        names = ", ".join(missing_operators(proto, opset)) or "an operator"
        raise ExportError(f"opset={opset} lacks what this model needs: {names}; give opset={_opset(proto)} or none")


def _facts(proto: Any, example: Example, file: Path) -> dict[str, Any]:
    from nes_lab.export.onnx_graph import graph_madds, graph_params

    shapes = [tuple(t.shape) for t in example.tensors]
    return {
        "bytes": file.stat().st_size,
        "params": graph_params(proto),
        "madds": graph_madds(proto, shapes),
        "opset": _opset(proto),
    }


def _session(file: Path) -> Callable[[Example], list[Tensor]]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = torch.get_num_threads(), 3
    try:
        session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise ExportError(f"ONNX Runtime {onnxruntime.__version__} cannot load the file: {short(error)}") from error
    names = [value.name for value in session.get_inputs()]

    def call(example: Example) -> list[Tensor]:
        arrays = [t.detach().cpu().numpy() for t in example.tensors]
        try:
            found = session.run(None, dict(zip(names, arrays, strict=True)))
        except Exception as error:
            raise ExportError(f"ONNX Runtime {onnxruntime.__version__} cannot run the file: {short(error)}") from error
        return [torch.from_numpy(array) for array in found]

    return call
