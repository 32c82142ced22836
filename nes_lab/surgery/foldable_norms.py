"""Find the batch norms that can be folded into the layer before them.

The model's forward method is traced. A norm is listed only if the trace shows that nothing else reads the layer's
output.

Tests: tests/surgery/test_fuse.py
"""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx, nn
from torch.nn.modules.batchnorm import _BatchNorm

from nes_lab.cost.left_as_it_was import left_as_it_was
from nes_lab.cost.probe import in_mode
from nes_lab.errors import OptionError
from nes_lab.nn.copy_network import copy_network
from nes_lab.nn.kinds import class_kind
from nes_lab.nn.layer import EpitomeLayer
from nes_lab.surgery.carry_over import HOOKS, added_hooks

__all__ = ["NormPairs", "fusable", "norm_pairs"]

_NORM_OF: dict[str, type[_BatchNorm]] = {
    **dict.fromkeys(("linear", "conv1d"), nn.BatchNorm1d),
    **dict.fromkeys(("conv2d", "conv2d_same"), nn.BatchNorm2d),
    "conv3d": nn.BatchNorm3d,
}
"""Class of batch norm that can be folded into each kind of layer. Standardized layers are not listed: they are not linear in
their weight."""


class NormPairs(NamedTuple):
    """The batch norms that follow a layer, and the layer before each.

    Args:
        sure: Name of the norm -> name of the layer. Nothing else reads the output of the layer, as the trace shows.
        unsure: The same for norms and layers inside a module whose forward method cannot be traced. It may call them, or read
            their tensors, on its own.
        unread: Names of these modules.
    """

    sure: dict[str, str]
    unsure: dict[str, str]
    unread: tuple[str, ...]


def fusable(model: nn.Module) -> dict[str, str]:
    """List the batch norms that :func:`nes_lab.fuse` folds without an example, and the layer that each is folded into.

    To fold a norm is to change the weight and bias of the layer before it, so that the norm is no longer needed.

    Returns:
        A dict from the name of each norm to the name of its layer.

    Raises:
        OptionError: If ``model`` is not a module.

    Examples:
        >>> fusable(nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Conv2d(8, 8, 3), nn.GroupNorm(2, 8)))
        {'1': '0'}
    """
    return norm_pairs(model).sure


def norm_pairs(model: nn.Module) -> NormPairs:
    """List the batch norms that may be folded into the layer before them, and those that perhaps may.

    Raises:
        OptionError: If ``model`` is not a module.

    Examples:
        >>> norm_pairs(nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8)))
        NormPairs(sure={'1': '0'}, unsure={}, unread=())
    """
    if not isinstance(model, nn.Module):
        raise OptionError(f"model is a {type(model).__name__}; fuse takes a torch module")
    skeleton = _skeleton(model)
    graphs: list[tuple[nn.Module, fx.Graph]] = []
    unread: list[nn.Module] = []
    with left_as_it_was():  # tracing runs the forward method
        _read(skeleton, graphs, unread, set())
    barred = _barred(skeleton, graphs, bool(unread))
    names = {module: name for name, module in skeleton.named_modules()}
    within_reach = {module for root in unread for module in root.modules()}
    pairs = NormPairs({}, {}, tuple(names[root] for root in unread))
    for norm, layer in chain.from_iterable(_pairs(root, graph, barred) for root, graph in graphs):
        (pairs.unsure if {norm, layer} & within_reach else pairs.sure)[names[norm]] = names[layer]
    return pairs


def _skeleton(model: nn.Module) -> nn.Module:
    """Copy a model to the meta device, in evaluation mode. The copy is traced, so that tracing cannot change the model."""
    memo: dict[int, Any] = {}
    for tensor in chain(model.parameters(), model.buffers()):
        if type(tensor) in (Tensor, nn.Parameter):
            empty = torch.empty_like(tensor, device="meta", requires_grad=False)
            memo[id(tensor)] = nn.Parameter(empty, tensor.requires_grad) if type(tensor) is nn.Parameter else empty
    return in_mode(copy_network(model, memo))


class _Tracer(fx.Tracer):
    """Traces a model into a graph of calls. Layers and batch norms appear in the graph as single calls.

    After a failure, ``failed`` is the innermost module that cannot be traced.

    Args:
        opaque: More modules that appear as single calls.
    """

    proxy_buffer_attributes = True

    def __init__(self, opaque: set[nn.Module]) -> None:
        super().__init__()
        self.opaque = opaque
        self.failed: nn.Module | None = None

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return m in self.opaque or _is_atom(m) or _touched(m) or super().is_leaf_module(m, module_qualified_name)

    def call_module(self, m: nn.Module, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict) -> Any:
        try:
            return super().call_module(m, forward, args, kwargs)
        except Exception:
            if self.failed is None:
                self.failed = m
            raise


def _is_atom(module: nn.Module) -> bool:
    return isinstance(module, EpitomeLayer | nn.Linear | nn.modules.conv._ConvNd | _BatchNorm)


def _touched(module: nn.Module) -> bool:
    """Return True if a module has hooks or a replaced forward method."""
    return any(added_hooks(module, hooks) for hooks in HOOKS) or "forward" in vars(module)


def _read(root: nn.Module, graphs: list[tuple[nn.Module, fx.Graph]], unread: list[nn.Module], seen: set) -> None:
    """Trace a module into a graph. Submodules that cannot be traced within the module are traced separately.

    In the graph of the module, such a submodule appears as a single call.

    Args:
        root: Module to trace.
        graphs: List to which ``(module, graph)`` is added for each traced module.
        unread: List to which a module is added if tracing it failed.
        seen: Set of the modules that were traced already. The module is added to it.
    """
    if root in seen or _is_atom(root):
        return
    seen.add(root)
    opaque: set[nn.Module] = set()
    graph, parts_of_root = None, set(root.modules())
    while graph is None:
        tracer = _Tracer(opaque)
        try:
            graph = tracer.trace(root, _defaults(root))
        except Exception:  # noqa: BLE001 -- a user's forward may raise anything if its input is not a tensor
            # a module that the forward method made, such as a slice of a Sequential, is another one at each trace
            if tracer.failed is None or tracer.failed in opaque or tracer.failed not in parts_of_root:
                break
            opaque.add(tracer.failed)
    if graph is None or "forward" in vars(root):
        unread.append(root)
        parts = list(root.children())
    else:
        graphs.append((root, graph))
        called = (root.get_submodule(str(node.target)) for node in graph.nodes if node.op == "call_module")
        parts = [module for module in called if module in opaque or _touched(module)]
    for part in parts:
        _read(part, graphs, unread, seen)


def _defaults(root: nn.Module) -> dict[str, Any]:
    """Return the default values of the optional arguments of a module's forward method, by name.

    Only None, booleans, numbers and strings are returned.
    """
    parameters = list(inspect.signature(type(root).forward).parameters.values())[2:]
    # the tracer can treat these types as constants
    return {p.name: p.default for p in parameters if p.default is None or type(p.default) in (bool, int, float, str)}


def _barred(model: nn.Module, graphs: list[tuple[nn.Module, fx.Graph]], unread: bool) -> set[nn.Module]:
    """Find the batch norms that must not be folded, and the layers into which no batch norm may be folded.

    To fold a batch norm is to change the layer before it so that the norm can be left out. The modules found are those

    - that are called more than once
    - that have hooks or a replaced forward method
    - that share a parameter with another module
    - whose parameter is read outside the module
    - that have several names, if some code was not traced

    Args:
        model: The model.
        graphs: The traced modules, each with its graph.
        unread: True if some code was not traced.
    """
    calls: Counter[nn.Module] = Counter()
    barred = {module for module in model.modules() if _touched(module)}
    for root, graph in graphs:
        for node in graph.nodes:
            path = str(node.target).split(".")
            if node.op == "call_module":
                calls[root.get_submodule(str(node.target))] += 1
            elif node.op == "get_attr":
                barred.update(root.get_submodule(".".join(path[:n])) for n in range(1, len(path)))
    barred.update(module for module, times in calls.items() if times > 1)
    users = Counter(id(p) for module in model.modules() for p in module._parameters.values() if p is not None)
    homes = Counter(module for _, module in model.named_modules(remove_duplicate=False))
    for module in model.modules():
        tied = any(p is not None and users[id(p)] > 1 for p in module._parameters.values())
        if tied or (unread and homes[module] > 1):  # code that was not traced may call it by its other name
            barred.add(module)
    return barred


def _pairs(root: nn.Module, graph: fx.Graph, barred: set[nn.Module]) -> Iterator[tuple[nn.Module, nn.Module]]:
    """Yield ``(norm, layer)`` for each norm that can be folded into a layer, in the order in which the norms are called.

    A norm can be folded only if nothing else reads the output of the layer.

    Args:
        root: The traced module.
        graph: Its graph.
        barred: Modules that must not be folded.
    """
    through: set[fx.Node] = set()
    for node in graph.nodes:
        if node.op != "call_module":
            continue
        norm, source = root.get_submodule(str(node.target)), _source(node, through)
        if type(norm) is nn.Identity:
            through.add(node)
        elif source is not None and source.op == "call_module":
            layer = root.get_submodule(str(source.target))
            if not {norm, layer} & barred and _fits(norm, layer):
                yield norm, layer
                if not norm._modules:
                    through.add(node)


def _source(node: fx.Node, through: set[fx.Node]) -> fx.Node | None:
    """Find the layer call whose output goes only to a given norm. Return None if there is no such call.

    Args:
        node: Call of the norm, in the graph of the traced module.
        through: Calls between the layer and the norm that may be skipped, because they return their input unchanged or will
            be folded.
    """
    while len(node.all_input_nodes) == 1 and len(node.all_input_nodes[0].users) == 1:
        node = node.all_input_nodes[0]
        if node not in through:
            return node
    return None


def _fits(norm: nn.Module, layer: nn.Module) -> bool:
    kind = layer.kind if isinstance(layer, EpitomeLayer) else class_kind(type(layer)) or ""
    weight = layer._parameters.get("epitome" if isinstance(layer, EpitomeLayer) else "weight")
    if kind not in _NORM_OF or weight is None or not weight.is_floating_point() or not isinstance(norm, _BatchNorm):
        return False
    outputs = layer.geometry.weight_shape[0] if isinstance(layer, EpitomeLayer) else weight.shape[0]
    plain = type(norm) in (_NORM_OF[kind], nn.SyncBatchNorm)
    flat = _NORM_OF[kind] is nn.BatchNorm2d
    with_act = flat and isinstance(norm, nn.BatchNorm2d | nn.SyncBatchNorm) and {*norm._modules} == {"drop", "act"}
    in_eval_form = norm.running_mean is not None and norm.running_var is not None
    return (plain or with_act) and in_eval_form and norm.num_features == outputs
