"""Count params, multiply-adds and stored bytes of a model, dense or compressed.

The multiply-adds of convolutions, linear layers, recurrent layers and attention products are counted. torch's
``FlopCounterMode`` counts the floating-point operations while the model runs. Two of these are one multiply-add. Formulas add
what this counter misses:

- some operations of torch, such as an LSTM on a CPU: :mod:`nes_lab.cost.op_madds`
- in epitome layers, the blending of weights from neighboring epitome cells
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from math import prod
from typing import Any, NamedTuple

from torch import Tensor, nn

from nes_lab.cost.meter import Meter
from nes_lab.cost.not_counted import not_counted
from nes_lab.cost.probe import counting_kernels, evaluating, input_shape, run_example
from nes_lab.cost.unseen import inner_tensors
from nes_lab.execution.base import ExecutionCost
from nes_lab.execution.registry import EXECUTIONS
from nes_lab.nn.free_starts import FreeStarts
from nes_lab.nn.frozen_starts import FrozenStarts
from nes_lab.nn.layer import EpitomeLayer
from nes_lab.nn.model_checks import check_module
from nes_lab.records.cost_report import CostReport, LayerCost, gaps_text
from nes_lab.records.counts import Counts

__all__ = ["count", "stored_params", "tensor_counts"]


def count(model: nn.Module, example_input: Any) -> CostReport:
    """Count the params, multiply-adds and stored bytes of a model for one example input.

    The model runs once in evaluation mode without gradients. Afterwards, the model and the global state, such as random states,
    are bit for bit as before, whatever the model's forward method does.
    Multiply-adds are counted for the complete batch; papers report them for a batch of 1.

    What cannot be counted is in the report's ``not_counted``, with a warning: weights that an operation without a formula multiplies,
    inverses, decompositions and Fourier transforms of weights or in a module with parameters of its own, and numbers that quantized
    layers pack into opaque objects. A Fourier transform of the data in a module without parameters counts as 0.

    Args:
        model: Any module. The multiply-adds of an epitome layer depend on its execution plan: the way to compute the layer.
        example_input: Input of one forward pass, on the model's device: a tensor, a tuple of arguments or a dict of keyword
            arguments.

    Raises:
        OptionError: If ``model`` is not a module, or is a TorchScript or exported program, or if it cannot run the example input; the
            message names the input's shape and the reason.

    Examples:
        >>> import torch, nes_lab
        >>> report = nes_lab.count(torch.nn.Conv2d(3, 8, 3, padding=1, bias=False), torch.randn(1, 3, 10, 10))
        >>> report.params, report.madds
        (216, 21600)

    Source: a multiply and its addition count as one, as in Sandler et al., *MobileNetV2*, CVPR 2018, arXiv:1801.04381. Biases,
    norms and activation functions do not count.
    """
    check_module(model, "count")
    calls: dict[str, _Calls] = {}
    with evaluating(model, example_input):  # it removes the hooks too
        for name, module in model.named_modules():
            if isinstance(module, EpitomeLayer):
                module.register_forward_hook(_watch(name, calls), with_kwargs=True)
        meter = Meter(model)
        with counting_kernels(), meter.counter:
            run_example(model, example_input)
        own = meter.close()
    rows = tuple(_rows(model, own, calls))
    gaps = not_counted(model, meter.counter.uses, frozenset(meter.ran))
    if gaps:
        warnings.warn(f"count: not counted: {gaps_text(gaps)}", stacklevel=2)
    return CostReport(
        params=stored_params(model),
        madds=sum(r.madds for r in rows),
        stored_bytes=_saved_bytes(model.modules(), _learner_modules(model), set()),
        learner_params=sum(r.learner_params for r in rows),
        adds=sum(r.adds for r in rows),
        weight_madds=sum(r.weight_madds for r in rows),
        input_shape=input_shape(example_input),
        by_layer=rows,
        not_counted=gaps,
    )


def tensor_counts(tensors: Iterable[Tensor]) -> Counts:
    """Count the numbers and the bytes of some tensors.

    The result's ``params`` is how many numbers the tensors have. Its ``madds`` is 0. The bytes of a quantized weight of torchao
    are those of its integers and factors.

    Examples:
        >>> tensor_counts([torch.zeros(2, 3), torch.zeros(4)]).params
        10
    """
    tensors = list(tensors)
    stored_bytes = sum(t.numel() * t.element_size() for tensor in tensors for t in inner_tensors(tensor))
    return Counts(sum(t.numel() for t in tensors), 0, stored_bytes)


def stored_params(model: nn.Module) -> int:
    """Return the number of params that a model stores; a tensor that several modules share counts once.

    All parameters count, except those of index learners (networks that predict starts during training). Starts and scale
    factors that an epitome layer stores in buffers count too.
    """
    return sum(t.numel() for t in _stored(model))


def _stored(model: nn.Module) -> Iterator[Tensor]:
    seen: set[int] = set()
    learners = _learner_modules(model)
    for module in model.modules():
        for tensor in _stored_here(module, learners):
            if id(tensor) not in seen:
                seen.add(id(tensor))
                yield tensor


def _stored_here(module: nn.Module, learners: set[int]) -> Iterator[Tensor]:
    if id(module) in learners:
        return
    yield from module.parameters(recurse=False)
    starts = getattr(module, "routing", None) if isinstance(module, EpitomeLayer) else None
    if starts is not None and starts.stored:
        yield from (t for _, t in starts.tables() if not isinstance(t, nn.Parameter))
    if isinstance(module, EpitomeLayer) and module.scale is not None:
        yield module.scale


def _saved_bytes(modules: Iterable[nn.Module], learners: set[int], seen: set[int]) -> int:
    """Return the bytes in a file of the parameters and persistent buffers of modules, without those of child modules.

    ``learners`` holds the ids of modules to skip: the networks that predict starts. ``seen`` holds the ids of tensors to
    skip, because they were listed before. The ids of the listed tensors are added to ``seen``.
    """
    stored_bytes = 0
    for module in modules:
        if id(module) in learners:
            continue
        # a saved folder holds one number per start: anchors and offsets are added up
        names = () if isinstance(module, FreeStarts) else module._buffers.keys() - module._non_persistent_buffers_set
        smaller: dict[str, list[Tensor]] = {}
        if isinstance(module, FrozenStarts | EpitomeLayer):
            smaller = {name: list(tensors.values()) for name, tensors in module.stored_integers().items()}
        for name, tensor in {**module._parameters, **{name: module._buffers[name] for name in names}}.items():
            if tensor is not None and id(tensor) not in seen:
                seen.add(id(tensor))
                stored_bytes += tensor_counts(smaller.get(name, [tensor])).stored_bytes
    return stored_bytes


def _learner_modules(model: nn.Module) -> set[int]:
    layers = [m for m in model.modules() if isinstance(m, EpitomeLayer)]
    return {id(part) for layer in layers for name, part in layer.named_modules() if name.startswith("routing.learner")}


class _Calls(NamedTuple):
    """The operations to add to torch's own count, for all calls of an epitome layer in one forward pass.

    Args:
        extra: Operations that torch does not count: multiply-adds of blending, copies and plain additions.
        dense_madds: Multiply-adds of the dense layer.
        execution: Name of the execution; None if the layer was not called.
    """

    extra: ExecutionCost = ExecutionCost(0)
    dense_madds: int = 0
    execution: str | None = None


def _watch(name: str, calls: dict[str, _Calls]) -> Any:
    def hook(layer: EpitomeLayer, args: tuple, kwargs: dict, output: Tensor) -> None:
        shape = input_shape((args, kwargs))
        cost, past = layer.cost(shape), calls.get(name, _Calls())
        extra = ExecutionCost(0, past.extra.tap_madds + cost.tap_madds, past.extra.adds + cost.adds, cost.weight_madds)
        dense = EXECUTIONS["materialize"].cost(layer.form, layer.op.positions(shape)).conv_madds
        calls[name] = _Calls(extra, past.dense_madds + dense, layer.resolved_execution(shape).name)

    return hook


def _rows(model: nn.Module, own: dict[str, int], calls: dict[str, _Calls]) -> Iterator[LayerCost]:
    learners, seen, saved = _learner_modules(model), set(), set()
    for name, module in model.named_modules():
        if id(module) in learners or (name.rpartition(".")[0] in calls and name.endswith(".routing")):
            continue
        tensors = [t for t in _stored_here(module, learners) if id(t) not in seen]
        if isinstance(module, EpitomeLayer):
            tensors += [t for t in module.routing.parameters(recurse=False) if id(t) not in seen]
        seen.update(map(id, tensors))
        call = calls.get(name, _Calls())
        parts = (module, module.routing) if isinstance(module, EpitomeLayer) else (module,)
        stored_bytes = _saved_bytes(parts, learners, saved)
        counts = Counts(tensor_counts(tensors).params, own.get(name, 0) + call.extra.tap_madds, stored_bytes)
        if counts.params or counts.madds:
            yield replace(_row(name, module, counts, call), dense=_dense(module, tensors, call))


def _dense(module: nn.Module, tensors: Sequence[Tensor], call: _Calls) -> Counts | None:
    """Return the counts of the dense layer that an epitome layer stands for; None for other modules.

    Args:
        module: The module.
        tensors: Tensors of params that the module stores, without those that were counted for an earlier module.
        call: Cost of the module's calls in one forward pass.
    """
    if not isinstance(module, EpitomeLayer) or call.execution is None:
        return None
    bias = [t for t in tensors if t is module.bias]
    weight = prod(module.geometry.weight_shape)
    return tensor_counts(bias) + Counts(weight, call.dense_madds, weight * module.epitome.element_size())


def _row(name: str, module: nn.Module, counts: Counts, call: _Calls) -> LayerCost:
    is_epitome = isinstance(module, EpitomeLayer)
    weight = None if is_epitome else getattr(module, "weight", None)
    return LayerCost(
        name=name,
        kind=type(module).__name__,
        **asdict(counts),
        adds=call.extra.adds,
        weight_madds=call.extra.weight_madds,
        learner_params=module.learner_params() if is_epitome else 0,
        execution=call.execution,
        weight_shape=module.geometry.weight_shape
        if is_epitome
        else tuple(weight.shape)
        if isinstance(weight, Tensor)
        else None,
        epitome_shape=module.geometry.epitome_shape if is_epitome else None,
    )
