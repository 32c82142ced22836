"""Write a model as an ONNX file (``export_onnx``)."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nes_lab.backbones.class_names import classes_of
from nes_lab.backbones.preprocessing import preprocessing_of
from nes_lab.cost.left_as_it_was import left_as_it_was
from nes_lab.errors import ExportError, OptionError, check_choice
from nes_lab.export.atomic_write import new_file
from nes_lab.export.example import ExampleInput, check_example, precision_of
from nes_lab.export.graph import FORMS
from nes_lab.export.outputs import name_outputs, names_of_outputs
from nes_lab.export.parity import fixed_batch_text, verify_file
from nes_lab.export.report import ExportReport, versions_of
from nes_lab.export.session import open_session
from nes_lab.export.trace import chosen_tolerance, prepare_trace, quiet_exporters, root_cause, run_tracer
from nes_lab.nn.copy_network import copy_network
from nes_lab.packages import need
from nes_lab.progress_bar import OnProgress, report_phase
from nes_lab.records.options import ExportForm

__all__ = ["export_onnx"]

_MAX_FOLDED_BYTES = 1024
"""Largest constant that the ONNX optimizer computes in advance and stores in the file.

Larger constants are computed by the runtime when it loads the file.
"""
_MAX_FOLDED_WEIGHT = 64
"""Number of entries of the largest matrix from which the ONNX optimizer computes constants in advance.

Larger matrices are epitomes, which the file already stores.
"""

_BFLOAT16 = "; it lacks most operators in bfloat16: export copy.deepcopy(model).float(), with example_input.float()"


def export_onnx(
    model: nn.Module,
    example_input: Any,
    path: str | Path,
    *,
    form: ExportForm = "materialized",
    opset: int | None = None,
    dynamic_batch: bool = True,
    verify: bool = True,
    output_names: Sequence[str] | None = None,
    tolerance: float | None = None,
    verbose: bool = False,
    on_progress: OnProgress | None = None,
) -> ExportReport:
    """Write a model as an ONNX file, through torch's dynamo exporter.

    The file appears at ``path`` only after a check. ONNX Runtime runs the file on the example and on another batch size. The
    outputs must agree with PyTorch's.

    Args:
        model: A compressed or dense model on any device. It does not change, and is exported in evaluation mode.
        example_input: A tensor, or a tuple or dict of tensors and None. None is a constant of the file, not an input.
        path: Path of the file; an existing file is replaced.
        form: ``"materialized"``: plain convolutions and linear layers. ``"factored"``: each epitome is stored once, and
            the graph computes with the epitome by slices, gathers and additions. The starts (positions of patches) are
            exported as they are now, integer or fractional.
        opset: Version of the ONNX operator set; None: the exporter's default.
        dynamic_batch: Let the file accept any batch size; False: only the batch size of the example.
        verify: Run the file and compare its outputs with PyTorch's. False: the file is not run, and ONNX Runtime is not needed.
        output_names: Names of the outputs in the file. None: the keys, if the model returns a dict; else names that torch chooses.
            A name that an input has gets the ending ``_output``.
        tolerance: Largest allowed difference between the outputs of the file and of PyTorch, divided by the output's largest
            entry. None: 1e-4, or 0.01 for a model in float16, or 0.08 in bfloat16.
        verbose: Let torch print its messages and the traced graph on standard error.
        on_progress: Called before each phase of the work. An error that it raises ends the work.

    Returns:
        A report with the size, params and multiply-adds of the file, the largest difference of the outputs, and the times that
        ONNX Runtime and PyTorch take.

    Raises:
        OptionError: If an option is wrong, the model cannot run the example, or a package is missing.
        ExportError: If the model cannot be traced, accepts one batch size only, returns something other than tensors, or its
            outputs differ by more than ``tolerance``. Or if the opset lacks an operator, which the message names.
        CheckpointError: If the file cannot be written. After any error no new file is left.

    Examples:
        >>> import tempfile, torch, nes_lab
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     report = nes_lab.export_onnx(torch.nn.Linear(4, 3), torch.randn(1, 4), f"{folder}/net.onnx")
        >>> report.params, report.madds, report.batches
        (15, 12, (1, 2))
    """
    path = Path(path)
    check_choice("form", form, FORMS)
    onnx = need("onnx", "exporting to ONNX")
    need("onnxscript", "exporting to ONNX")
    _check_opset_option(onnx, opset)
    chosen_tolerance(tolerance, torch.float32)
    if verify:
        need("onnxruntime", "checking an ONNX file")
    example = ExampleInput.of(example_input)
    check_example(model, example)
    dtype = precision_of(model, example)
    names = names_of_outputs(model, example, output_names)
    with new_file(path) as temporary, left_as_it_was():
        report_phase(on_progress, "tracing", 1, 4)
        proto = _traced_proto(model, example, form, opset, dynamic_batch, names, verbose)
        report_phase(on_progress, "writing and counting", 2, 4)
        onnx.save(proto, temporary)
        facts = _facts(proto, example, temporary)
        checks: dict[str, Any] = {}
        if verify:
            report_phase(on_progress, "checking and timing", 3, 4)
            call, allowed = _session(temporary, dtype), chosen_tolerance(tolerance, dtype)
            checks = verify_file(call, model, example, allowed, dynamic_batch, "the ONNX file")
    versions = versions_of("torch", "onnx", "onnxscript", "onnxruntime")
    return ExportReport(str(path), "onnx", form, **facts, **checks, versions=versions)


def _check_opset_option(onnx: Any, opset: int | None) -> None:
    newest = onnx.defs.onnx_opset_version()
    if opset is not None and (isinstance(opset, bool) or not isinstance(opset, int) or not 1 <= opset <= newest):
        raise OptionError(f"opset={opset!r}; give an integer from 1 to {newest}, which onnx {onnx.__version__} knows")


def _traced_proto(
    model: nn.Module,
    example: ExampleInput,
    form: ExportForm,
    opset: int | None,
    dynamic: bool,
    names: Sequence[str] | None,
    verbose: bool,
) -> Any:
    """Trace a model and return it as an optimized ONNX ``ModelProto``."""
    from nes_lab.export.onnx_graph import add_properties, clean_graph

    on_cpu = copy_network(model).cpu() if _is_on_gpu(model) else model
    graph, arguments, shapes = prepare_trace(on_cpu, example.to("cpu"), form, dynamic)
    program = run_tracer(
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
        verbose,
    )
    assert program is not None  # the dynamo exporter always returns a program
    traced = program.model_proto
    _check_opset(traced, opset)
    if dynamic:
        _check_dynamic(traced, arguments.batch)
    with quiet_exporters():
        optimizer = need("onnxscript", "exporting to ONNX").optimizer
        optimizer.optimize_ir(program.model, output_size_limit=_MAX_FOLDED_BYTES, should_fold=_may_fold)
    if names is not None:
        name_outputs(program.model.graph, names)
    return add_properties(clean_graph(program.model_proto), _properties(model))


def _properties(model: nn.Module) -> dict[str, str]:
    """Return what a user of the file should know of its inputs and outputs: how images are prepared, and the class names."""
    preprocessing, classes = preprocessing_of(model), classes_of(model)
    shown = {} if preprocessing is None else {"nes_lab.preprocessing": json.dumps(preprocessing.to_dict())}
    return shown if classes is None else shown | {"nes_lab.classes": json.dumps(classes)}


def _may_fold(node: Any) -> bool | None:
    """Tell the ONNX optimizer whether it may replace a node of the graph by the result of the node.

    Return False for a node that computes with an epitome: its result would be as large as the weight that the epitome replaces.
    Return None for any other node: the optimizer then decides by its own rules.
    """
    for value in node.inputs:
        known = None if value is None else value.const_value
        if (
            known is not None
            and len(known.shape) > 1
            and known.size > _MAX_FOLDED_WEIGHT
            and known.dtype.is_floating_point()
        ):
            return False
    return None


def _is_on_gpu(model: nn.Module) -> bool:
    return any(t.device.type != "cpu" for t in (*model.parameters(), *model.buffers()))


def _opset(proto: Any) -> int:
    return next(i.version for i in proto.opset_import if i.domain in ("", "ai.onnx"))


def _check_opset(proto: Any, opset: int | None) -> None:
    from nes_lab.export.onnx_graph import missing_operators

    if opset is not None and _opset(proto) != opset:
        names = ", ".join(missing_operators(proto, opset)) or "an operator"
        raise ExportError(
            f"opset={opset} lacks operators of this model: {names}; give opset={_opset(proto)}, or leave it out"
        )


def _check_dynamic(proto: Any, batch: int) -> None:
    shapes = [value.type.tensor_type.shape.dim for value in proto.graph.input]
    if not any(shape and shape[0].dim_param for shape in shapes):
        raise ExportError(fixed_batch_text(batch))


def _facts(proto: Any, example: ExampleInput, file: Path) -> dict[str, Any]:
    from nes_lab.export.onnx_graph import graph_madds, graph_params

    shapes = [tuple(t.shape) for t in example.tensors]
    return {
        "file_bytes": file.stat().st_size,
        "params": graph_params(proto),
        "madds": graph_madds(proto, shapes),
        "opset": _opset(proto),
    }


def _session(file: Path, dtype: torch.dtype) -> Callable[[ExampleInput], list[Tensor]]:
    advice = "" if dtype != torch.bfloat16 else _BFLOAT16
    session = open_session(str(file), advice)
    names = [value.name for value in session.get_inputs()]

    def call(example: ExampleInput) -> list[Tensor]:
        arrays = [t.detach().cpu().numpy() for t in example.tensors]
        try:
            outputs = session.run(None, dict(zip(names, arrays, strict=True)))
        except Exception as error:
            raise ExportError(f"ONNX Runtime cannot run the file: {root_cause(error)}{advice}") from error
        return [torch.from_numpy(array) for array in outputs]

    return call
