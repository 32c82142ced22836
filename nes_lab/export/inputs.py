"""Example inputs of an export: which axes are the batch, and the same example with another batch size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from nes_lab.cost.count import evaluating, run_example
from nes_lab.errors import ExportError, OptionError

__all__ = ["Example", "check_example", "outputs_of"]


@dataclass(frozen=True)
class Example:
    """Arguments of a forward, all of them tensors.

    Args:
        args: Positional ones.
        kwargs: By name.
        batch: Length of the first tensor's first axis; 0 where it has none.
    """

    args: tuple[Tensor, ...]
    kwargs: Mapping[str, Tensor]
    batch: int

    @classmethod
    def of(cls, example_input: Any) -> Example:
        """From a tensor, a tuple of arguments, or a dict of keyword arguments.

        Raises:
            OptionError: If it holds something else than tensors.
        """
        kwargs = dict(example_input) if isinstance(example_input, Mapping) else {}
        args: tuple[Any, ...] = (
            () if kwargs else tuple(example_input) if isinstance(example_input, tuple | list) else (example_input,)
        )
        tensors = [*args, *kwargs.values()]
        wrong = next((t for t in tensors if not isinstance(t, Tensor)), None)
        if not tensors or wrong is not None:
            raise OptionError(
                f"example_input holds a {type(wrong).__name__}; give a tensor, or a tuple or dict of tensors, "
                "and wrap a model that takes more in a module that does not"
            )
        return cls(args, kwargs, tensors[0].shape[0] if tensors[0].ndim else 0)

    @property
    def tensors(self) -> list[Tensor]:
        """All tensors in order."""
        return [*self.args, *self.kwargs.values()]

    def with_batch(self, batch: int) -> Example:
        """The example's rows, taken in turn until there are so many."""
        rows = torch.arange(batch) % max(self.batch, 1)

        def taken(t: Tensor) -> Tensor:
            return t.index_select(0, rows.to(t.device)) if self._has_batch(t) else t

        return Example(tuple(map(taken, self.args)), {k: taken(t) for k, t in self.kwargs.items()}, batch)

    def to(self, device: torch.device | str) -> Example:
        """The example elsewhere."""
        return Example(
            tuple(t.to(device) for t in self.args), {k: t.to(device) for k, t in self.kwargs.items()}, self.batch
        )

    def dynamic_shapes(self) -> Any:
        """The batch axes, as ``torch.export`` takes them."""
        batch = torch.export.Dim("batch")

        def axes(t: Tensor) -> dict[int, Any]:
            return {0: batch} if self._has_batch(t) else {}

        return {k: axes(t) for k, t in self.kwargs.items()} if self.kwargs else tuple(map(axes, self.args))

    def _has_batch(self, t: Tensor) -> bool:
        return t.ndim > 0 and t.shape[0] == self.batch


def outputs_of(model: nn.Module, example: Example) -> list[Tensor]:
    """The tensors a model puts out, in order, in evaluation mode.

    Raises:
        OptionError: If the model cannot run the example; says why.
    """
    with evaluating(model), torch.inference_mode(False):
        out = run_example(model, dict(example.kwargs) or example.args)
    return [t.detach() for t in tree_leaves(out) if isinstance(t, Tensor)]


def check_example(model: nn.Module, example: Example) -> None:
    """Refuse what cannot be compared later, before the long work of an export.

    Raises:
        OptionError: If the model cannot run the example, or puts out no tensor.
        ExportError: If it puts out NaN or infinity.
    """
    outputs = outputs_of(model, example)
    if not outputs:
        raise OptionError(f"{type(model).__name__} puts out no tensor for example_input")
    if not all(bool(t.isfinite().all()) for t in outputs):
        raise ExportError("PyTorch itself puts out NaN or infinity for the example; such a model is not exported")
