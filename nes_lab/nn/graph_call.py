"""Make epitome layers work in the tracers of torch.fx and torch.jit.

A tracer of torch.fx calls a network with proxies (stand-ins for tensors) and records what the network does with them.
It records torch's own layers as single calls. An epitome layer recognizes the proxy and records itself as a single call
too. So any tracer can be used, without an option for epitome layers.

Tests: tests/nn/test_graph_call.py
"""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor, nn

from nes_lab.errors import OptionError

__all__ = ["call_forward", "record_call", "traced_shape"]


def record_call(layer: nn.Module, proxy: Any) -> Any:
    """Record one call of a layer in the graph that is being traced, and return the proxy of the layer's output.

    Args:
        layer: A layer inside the traced network.
        proxy: Proxy of the layer's input.

    Raises:
        OptionError: If tracing starts at the layer itself, because a graph can call only layers inside the traced network.

    Examples:
        >>> from nes_lab.nn.linear import EpitomeLinear
        >>> network = nn.Sequential(EpitomeLinear(4, 8, epitome_shape=(4, 2)), nn.ReLU())
        >>> [node.op for node in torch.fx.symbolic_trace(network).graph.nodes]
        ['placeholder', 'call_module', 'call_module', 'output']
    """
    tracer = proxy.tracer
    if getattr(tracer, "root", layer) is layer:
        raise OptionError(
            f"torch.fx traces networks that contain epitome layers; this {type(layer).__name__} is traced by itself. "
            "Trace nn.Sequential(layer) instead"
        )
    name = tracer.path_of_module(layer)
    if not _is_wrapped(layer):
        return tracer.create_proxy("call_module", name, (proxy,), {})
    # the tracer has recorded the hooks, so calling the module in the graph would run them a second time
    itself = tracer.create_proxy("get_attr", name, (), {})
    return tracer.create_proxy("call_function", call_forward, (itself, proxy), {})


def call_forward(layer: nn.Module, input: Tensor) -> Tensor:
    """Call the forward method that a layer's class defines, without the layer's hooks.

    Examples:
        >>> call_forward(nn.ReLU(), torch.tensor([-1.0, 2.0]))
        tensor([0., 2.])
    """
    return type(layer).forward(layer, input)


def traced_shape(tensor: Tensor) -> tuple[int, ...]:
    """Return the shape of a tensor as plain integers, without a warning by ``torch.jit.trace``.

    While ``torch.jit.trace`` runs, torch warns if code turns a shape into integers, because the traced code may be
    wrong for other shapes. Here the warning is not needed. An epitome layer uses the shape only to choose an execution,
    and all executions give the same output.

    Examples:
        >>> traced_shape(torch.zeros(2, 3))
        (2, 3)
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", torch.jit.TracerWarning)
        return tuple(int(length) for length in tensor.shape)


def _is_wrapped(layer: nn.Module) -> bool:
    """Return True if a forward pass of a layer runs more than the method of its class: hooks, or a replaced method."""
    return bool(layer._forward_pre_hooks or layer._forward_hooks or "forward" in vars(layer))
