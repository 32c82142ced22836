"""Hold the example input of an export (its tensors and their batch axes), and change its batch size.

Tests: tests/export/test_onnx.py
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map_only

from nes_lab.cost.probe import evaluating, run_example
from nes_lab.errors import ExportError, OptionError

__all__ = ["ExampleInput", "check_example", "least_precise_dtype", "output_of", "outputs_of", "precision_of"]


@dataclass(frozen=True)
class ExampleInput:
    """Holds the example input with which a model is exported: the arguments of its forward, tensors or None.

    Args:
        args: Positional arguments. None is a constant of the exported file, not an input.
        kwargs: Keyword arguments. None is a constant here too.
        batch: Batch size: the length of the first axis of the first tensor; 0 if that tensor has no axes.
    """

    args: tuple[Tensor | None, ...]
    kwargs: Mapping[str, Tensor | None]
    batch: int

    @classmethod
    def of(cls, example_input: Any) -> ExampleInput:
        """Return an ``ExampleInput`` with the arguments that the user gave for one forward pass.

        Args:
            example_input: A tensor, a tuple of positional arguments, or a dict of keyword arguments.

        Raises:
            OptionError: If ``example_input`` contains something other than tensors and None, or no tensor.
        """
        kwargs = dict(example_input) if isinstance(example_input, Mapping) else {}
        args: tuple[Any, ...] = (
            () if kwargs else tuple(example_input) if isinstance(example_input, tuple | list) else (example_input,)
        )
        given = [value for value in (*args, *kwargs.values()) if value is not None]
        tensors = [value for value in given if isinstance(value, Tensor)]
        wrong = next((value for value in given if not isinstance(value, Tensor)), None)
        if not tensors or wrong is not None:
            raise OptionError(
                f"example_input holds a {type(wrong).__name__}; give a tensor, or a tuple or dict of tensors (or None), "
                "and wrap a model that takes other arguments in a module that sets them"
            )
        return cls(args, kwargs, tensors[0].shape[0] if tensors[0].ndim else 0)

    @property
    def tensors(self) -> list[Tensor]:
        """All tensors of the example input, positional arguments first."""
        return [value for value in (*self.args, *self.kwargs.values()) if value is not None]

    def with_batch(self, batch: int) -> ExampleInput:
        """Return the example input with another batch size. Entries along the batch axis are repeated or dropped.

        Args:
            batch: The new batch size.
        """
        index = torch.arange(batch) % max(self.batch, 1)

        return self._map(lambda t: t.index_select(0, index.to(t.device)) if self._has_batch(t) else t, batch)

    def to(self, device: torch.device | str) -> ExampleInput:
        """Return the example input with its tensors on another device."""
        return self._map(lambda t: t.to(device), self.batch)

    def _map(self, change: Callable[[Tensor], Tensor], batch: int) -> ExampleInput:
        args = tuple(None if t is None else change(t) for t in self.args)
        return ExampleInput(args, {k: None if t is None else change(t) for k, t in self.kwargs.items()}, batch)

    def dynamic_shapes(self) -> Any:
        """Return which axis of each tensor is the batch axis, as the argument ``dynamic_shapes`` of ``torch.export``."""
        batch = torch.export.Dim("batch")

        def axes(t: Tensor | None) -> dict[int, Any] | None:
            return None if t is None else {0: batch} if self._has_batch(t) else {}

        return {k: axes(t) for k, t in self.kwargs.items()} if self.kwargs else tuple(map(axes, self.args))

    def _has_batch(self, t: Tensor) -> bool:
        return t.ndim > 0 and t.shape[0] == self.batch


def outputs_of(model: nn.Module, example: ExampleInput) -> list[Tensor]:
    """Run a model in evaluation mode on an example input, and return its output tensors in order.

    Raises:
        OptionError: If the model cannot run the example; the message says why.
    """
    return [t.detach() for t in tree_leaves(output_of(model, example)) if isinstance(t, Tensor)]


def output_of(model: nn.Module, example: ExampleInput) -> Any:
    """Run a model in evaluation mode on an example input, and return what it returns.

    Raises:
        OptionError: If the model cannot run the example; the message says why.
    """
    arguments = dict(example.kwargs) or example.args
    with evaluating(model, arguments), torch.inference_mode(False):
        outputs = run_example(model, arguments)
        # copies: an output may be an input or a buffer of the model, which is put back afterwards
        return tree_map_only(Tensor, torch.clone, outputs)


def precision_of(model: nn.Module, example: ExampleInput) -> torch.dtype:
    """Return the least precise floating-point dtype among the parameters, buffers and example inputs of a model.

    Examples:
        >>> precision_of(nn.Linear(4, 3).half(), ExampleInput.of(torch.zeros(1, 4)))
        torch.float16
    """
    return least_precise_dtype([*model.parameters(), *model.buffers(), *example.tensors])


def least_precise_dtype(tensors: Sequence[Tensor]) -> torch.dtype:
    """Return the least precise floating-point dtype among tensors; float32 if none is a floating-point tensor."""
    dtypes = {t.dtype for t in tensors if t.is_floating_point()} or {torch.float32}
    return max(dtypes, key=lambda dtype: torch.finfo(dtype).eps)


def check_example(model: nn.Module, example: ExampleInput) -> None:
    """Check, before an export begins, that the model runs the example input and returns finite tensors.

    Raises:
        OptionError: If the model cannot run the example, or returns no tensor.
        ExportError: If an output contains NaN or infinity.
    """
    outputs = outputs_of(model, example)
    if not outputs:
        raise OptionError(f"{type(model).__name__} returns no tensor for example_input")
    if not all(bool(t.isfinite().all()) for t in outputs):
        raise ExportError(
            "the model's own output for the example holds NaN or infinity in PyTorch; such a model is not exported"
        )
