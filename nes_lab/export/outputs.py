"""Name the outputs of an ONNX file: by the keys of the dict that the model returns, or as the user says.

Tests: tests/export/test_outputs.py
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from torch import Tensor, nn
from torch.utils._pytree import SequenceKey, tree_flatten_with_path

from nes_lab.errors import ExportError, OptionError
from nes_lab.export.example import ExampleInput, output_of

__all__ = ["name_outputs", "names_of_outputs"]


def names_of_outputs(model: nn.Module, example: ExampleInput, given: Sequence[str] | None) -> list[str] | None:
    """Return the names for the outputs of an ONNX file, in order. None: the model returns no dict, and no names are given.

    Args:
        model: The model to export.
        example: An input of the model.
        given: Names from the user. None: the keys of the dict, or the fields of the named tuple, that the model returns. Keys of
            a dict inside a dict are joined by dots.

    Raises:
        OptionError: If the names are not one different, non-empty text for each output.
        ExportError: If an output is neither a tensor nor None. ONNX has no outputs of other kinds.
    """
    leaves = [(path, leaf) for path, leaf in tree_flatten_with_path(output_of(model, example))[0] if leaf is not None]
    for path, leaf in leaves:
        if not isinstance(leaf, Tensor):
            raise ExportError(
                f"output {_name(path)!r} of {type(model).__name__} is of type {type(leaf).__name__}; an ONNX file has tensors only; "
                "let forward return tensors"
            )
    if given is None:
        has_names = any(not isinstance(key, SequenceKey) for path, _ in leaves for key in path)
        return [_name(path) for path, _ in leaves] if has_names else None
    names = [] if isinstance(given, str) else list(given)
    if len(names) != len(leaves) or len(set(names)) != len(names) or not all(isinstance(n, str) and n for n in names):
        raise OptionError(
            f"output_names={given!r}; give {len(leaves)} different names, one for each output of the model"
        )
    return names


def _name(path: Sequence[Any]) -> str:
    return ".".join(str(getattr(key, "key", getattr(key, "name", getattr(key, "idx", key)))) for key in path)


def name_outputs(graph: Any, names: Sequence[str]) -> None:
    """Give the outputs of a graph new names, in place. Another tensor of the graph that has such a name gets a longer one.

    Args:
        graph: The graph, of the package ``onnx_ir``.
        names: One name for each output. A name that an input has gets the ending ``_output``.
    """
    inputs = {value.name for value in graph.inputs}
    names = [f"{name}_output" if name in inputs else name for name in names]
    taken: set[Any] = set(graph.inputs)
    for place, value in enumerate(graph.outputs):
        if value in taken:  # one tensor cannot have two names
            graph.outputs[place] = _copy_of(graph, value)
        taken.add(graph.outputs[place])
    for value, name in zip(graph.outputs, names, strict=True):
        value.name = f"{name}.renamed"  # frees the names among the outputs themselves
    used = {value.name for value in _values(graph)} | set(names)
    for value in list(_values(graph)):
        if value.name in names:
            value.name = next(new for n in range(len(used) + 1) if (new := f"{value.name}_{n}") not in used)
            used.add(value.name)
    for value, name in zip(graph.outputs, names, strict=True):
        value.name = name


def _copy_of(graph: Any, value: Any) -> Any:
    from onnxscript import ir

    node = ir.node("Identity", [value])
    (copied,) = node.outputs
    copied.type, copied.shape = value.type, value.shape
    graph.append(node)
    return copied


def _values(graph: Any) -> Iterator[Any]:
    yield from graph.inputs
    yield from graph.initializers.values()
    for node in graph.all_nodes():
        yield from node.outputs
