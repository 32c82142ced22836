"""Count the params and multiply-adds of an ONNX graph, and list operators that an opset (ONNX operator version) lacks.

Tests: tests/export/test_onnx.py
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import prod
from typing import Any

from nes_lab.packages import needed_for

with needed_for("exporting to ONNX"):
    import onnx
    from onnx import ModelProto, NodeProto, TensorProto

__all__ = ["add_properties", "clean_graph", "graph_madds", "graph_params", "missing_operators"]

_NUMBERS = {TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16}

Shapes = Mapping[str, tuple[int, ...]]


def clean_graph(model: ModelProto) -> ModelProto:
    """Remove the exporter's notes, such as the source file and line of each node, from an ONNX model, and return the model.

    Weights are also removed from the list of intermediate tensors (``value_info``), because ONNX Runtime's ``quantize_dynamic``
    refuses a file that lists them there.

    The given model itself is changed.
    """
    for part in _parts(model.graph):
        del part.metadata_props[:]
        part.doc_string = ""
    del model.metadata_props[:]
    weights = {tensor.name for tensor in model.graph.initializer}
    others = [value for value in model.graph.value_info if value.name not in weights]
    del model.graph.value_info[:]
    model.graph.value_info.extend(others)
    model.producer_name, model.doc_string = "nes-lab", ""
    return model


def add_properties(model: ModelProto, properties: Mapping[str, str]) -> ModelProto:
    """Add named texts to the metadata of an ONNX model, and return the model, which is changed itself."""
    onnx.helper.set_model_props(model, dict(properties))
    return model


def _parts(graph: Any) -> Iterator[Any]:
    yield graph
    for group in (graph.node, graph.initializer, graph.value_info, graph.input, graph.output):
        yield from group


RECURRENT = ("LSTM", "GRU", "RNN")
"""ONNX operators of recurrent layers."""


def graph_params(model: ModelProto) -> int:
    """Return the number of floating-point entries in the weights of an ONNX graph; tables of integers are not counted."""
    stored = sum(prod(t.dims) for t in model.graph.initializer if t.data_type in _NUMBERS)
    tensors = (a.t for n in model.graph.node if n.op_type == "Constant" for a in n.attribute if a.name == "value")
    return stored + sum(prod(t.dims) for t in tensors if t.data_type in _NUMBERS)


def graph_madds(model: ModelProto, input_shapes: Sequence[Sequence[int]]) -> int | None:
    """Return the multiply-adds of an ONNX graph's convolutions and matrix products, or None if a shape cannot be inferred.

    Args:
        model: The ONNX model.
        input_shapes: One shape per input of the graph.
    """
    fixed = _with_fixed_inputs(model, input_shapes)
    madds = _count(fixed)
    if madds is None:  # some shapes are computed in the graph: fold them, now that the input shapes are known
        import onnxscript

        madds = _count(_with_fixed_inputs(onnxscript.optimizer.optimize(fixed), input_shapes))
    return madds


def _with_fixed_inputs(model: ModelProto, input_shapes: Sequence[Sequence[int]]) -> ModelProto:
    """Return a copy of an ONNX model with the given input shapes, and without the stored shapes of all other tensors.

    The shapes of the other tensors can then be inferred again from the input shapes.
    """
    fixed = ModelProto()
    fixed.CopyFrom(model)
    del fixed.graph.value_info[:]
    for value, shape in zip(fixed.graph.input, input_shapes, strict=True):
        for dim, size in zip(value.type.tensor_type.shape.dim, shape, strict=True):
            dim.dim_value = size
    for value in fixed.graph.output:
        value.type.tensor_type.ClearField("shape")
    return fixed


def _count(model: ModelProto) -> int | None:
    shapes = _shapes(model)
    counts = [_madds(node, shapes) for node in model.graph.node]
    return None if None in counts else sum(c for c in counts if c is not None)


def _shapes(model: ModelProto) -> Shapes:
    """Return the inferred shapes of all tensors in an ONNX graph by name. The length of an unknown axis is 0."""
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    known = {t.name: tuple(t.dims) for t in inferred.initializer}
    for value in (*inferred.input, *inferred.value_info, *inferred.output):
        if value.type.tensor_type.HasField("shape"):
            known[value.name] = tuple(d.dim_value for d in value.type.tensor_type.shape.dim)
    return known


def _madds(node: NodeProto, shapes: Shapes) -> int | None:
    if node.op_type not in ("Conv", "ConvTranspose", "Gemm", "MatMul", *RECURRENT):
        return 0
    first, second, out = (shapes.get(name) for name in (node.input[0], node.input[1], node.output[0]))
    if first is None or second is None or out is None or not all((*first, *second, *out)):
        return None
    if node.op_type in RECURRENT:  # every step of every sequence meets both matrices of each direction once
        recurrent = shapes.get(node.input[2])
        return prod(first[:2]) * (prod(second) + prod(recurrent)) if recurrent else None
    if node.op_type == "Conv":
        return prod(out) * prod(second[1:])
    if node.op_type == "ConvTranspose":
        return prod(first) * prod(second[1:])
    flipped = node.op_type == "Gemm" and any(a.name == "transA" and a.i for a in node.attribute)
    return prod(out) * (first[0] if flipped else first[-1])


def missing_operators(model: ModelProto, opset: int) -> list[str]:
    """Return the operators of an ONNX graph that an opset lacks, each with the opset that introduced it.

    An opset is a version of the ONNX operator set. The list ends with the operators that the opset has only in an older form,
    which lacks an input or attribute that the graph uses. These have no opset behind their name.

    Examples:
        >>> node = onnx.helper.make_node("Gelu", ["x"], ["y"])
        >>> missing_operators(onnx.helper.make_model(onnx.helper.make_graph([node], "g", [], [])), 18)
        ['Gelu (since opset 20)']
    """
    absent, older = [], []
    nodes = [node for node in model.graph.node if node.domain in ("", "ai.onnx") and onnx.defs.has(node.op_type)]
    for name in sorted({node.op_type for node in nodes}):
        try:
            then = onnx.defs.get_schema(name, max_inclusive_version=opset)
        except onnx.defs.SchemaError:
            first = min(
                s.since_version for s in onnx.defs.get_all_schemas_with_history() if s.name == name and not s.domain
            )
            absent.append(f"{name} (since opset {first})")
            continue
        if not all(_fits(node, then) for node in nodes if node.op_type == name):
            older.append(name)
    return absent + older


def _fits(node: NodeProto, schema: Any) -> bool:
    """Return True if an older form of an operator has the inputs and attributes of a node."""
    return len(node.input) <= schema.max_input and all(a.name in schema.attributes for a in node.attribute)
