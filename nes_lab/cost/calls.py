"""Record with which input shapes modules are called.

Tests: tests/planning/test_survey.py, tests/surgery/test_verify.py
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

from nes_lab.cost.probe import input_shape

__all__ = ["recording_calls"]


@contextmanager
def recording_calls(modules: Iterable[nn.Module]) -> Iterator[dict[int, list[tuple[int, ...]]]]:
    """Record the calls of modules in a ``with`` block.

    A call of a module's ``forward`` method alone, such as ``layer.forward(x)``, is not seen.

    Args:
        modules: The modules.

    Returns:
        A dict from the ``id()`` of each called module to the input shapes of its calls, in order.

    Examples:
        >>> import torch
        >>> layer = nn.Linear(2, 3)
        >>> with recording_calls([layer]) as calls:
        ...     _ = layer(torch.zeros(4, 2))
        >>> calls[id(layer)]
        [(4, 2)]
    """
    calls: dict[int, list[tuple[int, ...]]] = defaultdict(list)

    def record(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        calls[id(module)].append(input_shape((args, kwargs)))

    handles = [module.register_forward_hook(record, with_kwargs=True) for module in modules]
    try:
        yield calls
    finally:
        for handle in handles:
            handle.remove()
