"""Run a network once on an input, and note the counts and the calls of some of its layers.

Tests: tests/surgery/test_verify.py
"""

from __future__ import annotations

import sys
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack, nullcontext
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn.modules.module import register_module_forward_hook

from nes_lab.cost.calls import recording_calls
from nes_lab.cost.count import count
from nes_lab.records.cost_report import CostReport

__all__ = ["Calls", "CountedRun", "counted_run", "strangers"]

Calls = Counter[tuple[int, ...]]
"""Input shape of a layer -> number of its calls with an input of this shape."""


class CountedRun(NamedTuple):
    """Holds the counts and calls that one forward pass showed.

    Args:
        report: Counts of the network.
        calls: Calls of each replaced layer, by name.
    """

    report: CostReport
    calls: dict[str, Calls]

    def madds(self, name: str) -> int:
        """Return the multiply-adds of a module."""
        return sum(row.madds for row in self.report.by_layer if row.name == name)

    @property
    def other_madds(self) -> int:
        """Multiply-adds outside the replaced layers."""
        return self.report.madds - sum(map(self.madds, self.calls))


def counted_run(
    network: nn.Module, layers: Mapping[str, nn.Module], example: Any, instead: Mapping[str, nn.Module] | None = None
) -> CountedRun:
    """Run a network once, and count.

    Args:
        network: The network.
        layers: The layers to watch, by name.
        example: The input.
        instead: Layer name -> dense layer, whose output takes the place of the watched layer's output. None: all outputs stay.

    Raises:
        OptionError: If the network cannot run the input.
    """
    with ExitStack() as stack:
        stack.enter_context(_eagerly())
        stack.enter_context(warnings.catch_warnings())
        warnings.filterwarnings("ignore", message="count: not counted")  # planning has said so
        for name, dense in (instead or {}).items():
            hook = layers[name].register_forward_hook(_output_of(dense), with_kwargs=True, prepend=True)
            stack.callback(hook.remove)
        calls = stack.enter_context(recording_calls(layers.values()))
        report = count(network, example)
    return CountedRun(report, {name: Counter(calls.get(id(layer), ())) for name, layer in layers.items()})


def strangers(network: nn.Module, example: Any) -> list[str]:
    """List the classes of modules with parameters that run in a network's forward although they are not in the network."""
    own, thread, names = set(map(id, network.modules())), threading.get_ident(), set()

    def record(module: nn.Module, args: Any, output: Any) -> None:
        if threading.get_ident() == thread and id(module) not in own and next(module.parameters(), None) is not None:
            names.add(type(module).__name__)

    handle = register_module_forward_hook(record)
    try:
        counted_run(network, {}, example)
    finally:
        handle.remove()
    return sorted(names)


def _output_of(dense: nn.Module) -> Callable[..., Any]:
    return lambda layer, args, kwargs, output: dense.forward(*args, **kwargs)


def _eagerly() -> AbstractContextManager[Any]:
    """Return a context manager in which compiled code runs as plain Python, so that hooks see every call."""
    is_loaded = "torch._dynamo" in sys.modules  # importing it takes seconds
    return torch.compiler.set_stance("force_eager") if is_loaded else nullcontext()
