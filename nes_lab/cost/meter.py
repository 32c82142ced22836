"""Count the multiply-adds of each module while a model runs.

Tests: tests/cost/test_count.py, tests/cost/test_products.py.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from nes_lab.cost.op_madds import OP_MADDS
from nes_lab.cost.unseen import WeightUses, hides_products

__all__ = ["Counter", "Meter"]


_MARKERS = frozenset({"profiler::_record_function_exit"})
"""Operations that compute nothing: they name a stretch of time for torch's profiler, as ``nn.DataParallel`` does."""


class _Nowhere:
    """A module tracker for torch's ``FlopCounterMode`` that does nothing.

    torch's own tracker fails if a module gets a parameter as input while gradients are off.
    """

    parents = frozenset({"Global"})

    def __enter__(self) -> _Nowhere:
        return self

    def __exit__(self, *problem: object) -> None:
        return None


class Counter(FlopCounterMode):
    """Counts the operations of the whole model, as torch's ``FlopCounterMode`` does, but does not count them for each module.

    Operations that torch counts as 0 have formulas in :mod:`nes_lab.cost.op_madds`.

    Args:
        model: Module whose weights are followed.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__(display=False)
        self.mod_tracker = _Nowhere()  # type: ignore[assignment]
        self.model = model
        self.uses = WeightUses(model)
        self.module = ""

    def _count_flops(self, func_packet: Any, out: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        own = self._own_formula(func_packet, out, args, kwargs)
        if own is not None:
            self.flop_counts["Global"][func_packet] += 2 * own
        else:
            super()._count_flops(func_packet, out, args, kwargs)
        counted = own is not None or func_packet in self.flop_registry
        self.uses.see(func_packet, args=(args, kwargs), out=out, counted=counted)
        packed = not counted and any(isinstance(leaf, torch.ScriptObject) for leaf in tree_leaves(args))
        packed = packed and func_packet._qualified_op_name not in _MARKERS
        if packed or (not counted and hides_products(func_packet) and self._weight_near(args)):
            self.uses.unseen.setdefault(self.module, f"{func_packet} has no formula")
        return out

    def _weight_near(self, args: Sequence[Any]) -> bool:
        """Return True if an operand is a weight, or if the module that runs holds parameters itself, such as a filter."""
        holds = any(p is not None for p in self.model.get_submodule(self.module)._parameters.values())
        return holds or any(isinstance(leaf, Tensor) and self.uses.owners(leaf) for leaf in tree_leaves(args))

    def _own_formula(self, operation: Any, out: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> int | None:
        """Return the multiply-adds of an operation that torch counts as 0; None if no formula of ours fits."""
        name = getattr(operation, "_qualified_op_name", "")
        if name in ("aten::mul", "aten::mul_"):
            return self.uses.scaled_weight_madds(args, out)
        if name.startswith("aten::_embedding_bag"):
            factors = args[6] if len(args) > 6 else kwargs.get("per_sample_weights")
            return self.uses.scaled_row_madds(args[0], args[1], factors)
        formula = None if operation in self.flop_registry else OP_MADDS.get(name)
        return None if formula is None else formula(args, kwargs, out)


class Meter:
    """Counts the operations of each module, without those of its child modules.

    A module with several names is listed under the first name.
    """

    def __init__(self, model: nn.Module) -> None:
        self.counter = Counter(model)
        self.ran: set[str] = {""}
        self.own: dict[str, int] = defaultdict(int)
        self._open: list[tuple[str, int]] = [("", 0)]
        self._handles = [
            handle
            for name, module in model.named_modules()
            if name  # operations outside all other modules belong to the model itself
            for handle in (
                module.register_forward_pre_hook(lambda *_, name=name: self._switch(name)),
                module.register_forward_hook(lambda *_: self._switch(None)),
            )
        ]

    def _switch(self, entered: str | None) -> None:
        """Add the newly counted operations to the current module, then make another module the current one.

        Args:
            entered: Name of the module that starts to run. None means that the current module has ended and its caller
                continues.
        """
        name, since = self._open.pop()
        total = self.counter.get_total_flops()
        self.own[name] += total - since
        if entered is not None:
            self.ran.add(entered)
            self._open += [(name, total), (entered, total)]
        else:
            self._open.append((self._open.pop()[0], total))
        self.counter.module = self._open[-1][0]

    def close(self) -> dict[str, int]:
        """Stop counting, and return the multiply-adds of each module by name.

        A module's number does not include its child modules.
        """
        for handle in self._handles:
            handle.remove()
        while len(self._open) > 1:
            self._switch(None)
        name, since = self._open.pop()
        self.own[name] += self.counter.get_total_flops() - since
        return {name: twice // 2 for name, twice in self.own.items()}
