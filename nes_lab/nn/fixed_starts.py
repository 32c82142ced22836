"""Hold starts that a rule sets, such as ``tiled``, and make the starts of a new layer.

Tests: tests/nn/test_layer.py, tests/geometry/test_start_rules.py
"""

from __future__ import annotations

import torch
from torch import Tensor

from nes_lab.epitome.constants import constant
from nes_lab.epitome.slices import CellSlice, axis_slices
from nes_lab.errors import OptionError
from nes_lab.geometry.epitome_geometry import EpitomeGeometry
from nes_lab.geometry.start_rules import routing_mode, rule_starts
from nes_lab.nn.starts import LEARNED_STARTS, LayerFacts, Starts, start_name

__all__ = ["FixedStarts", "make_starts"]


def make_starts(routing: str, facts: LayerFacts) -> Starts:
    """Make the module that holds a layer's starts (positions of patches in the epitome).

    The routing mode, such as ``tiled``, says how the starts are set.

    Raises:
        OptionError: If there is no routing mode of this name.
    """
    kind = LEARNED_STARTS[routing] if routing_mode(routing).learned else FixedStarts
    return kind.for_layer(routing, facts)


class FixedStarts(Starts):
    """Holds starts (positions of patches in the epitome) that a rule sets, such as ``tiled``. They are integers.

    A saved model does not hold them. They are computed again when the model is loaded. Only the rule sets them: writing into
    the buffers that hold them does not change the layer.
    """

    def __init__(
        self, geometry: EpitomeGeometry, mode: str, seed: int = 0, device: torch.device | str | None = None
    ) -> None:
        super().__init__(geometry, mode, seed)
        rule = rule_starts(geometry, mode, seed)
        for axis in self.sampled:
            self.register_buffer(start_name(geometry, axis), torch.as_tensor(rule[axis]).to(device), persistent=False)
        self._slices = [None if table is None else axis_slices(table, geometry, a) for a, table in enumerate(rule)]

    @classmethod
    def for_layer(cls, routing: str, facts: LayerFacts) -> FixedStarts:
        """Make the module that holds the starts of a new layer.

        Starts are the positions of patches in the epitome. The rule named ``routing`` sets them.
        """
        return cls(facts.geometry, routing, facts.seed, facts.device)

    def slices(self, axis: int) -> tuple[CellSlice, ...] | None:
        """Return the contiguous slices in which a weight axis reads the epitome: ``(first channel, first cell, length)`` each.

        In each slice, ``length`` neighboring channels read ``length`` neighboring cells, in order. Return None if there are no such
        slices (for example, if patches begin between two cells), or too many of them.
        """
        return self._slices[axis]

    def read(self, axis: int) -> Tensor:
        """Return the starts (positions of patches in the epitome) that the rule gives for one weight axis."""
        table = self.table(axis)
        if torch.compiler.is_compiling() or torch.jit.is_tracing():
            return table
        return constant(table, _by_rule, self.geometry, self.mode, self.seed, axis).clone()

    def set_starts_(self, axis: int, starts: Tensor) -> None:
        """Refuse to set the starts (positions of patches in the epitome), because a rule sets them.

        Raises:
            OptionError: Always.
        """
        raise OptionError(
            f"the starts of routing={self.mode!r} are set by a rule and cannot be changed; make the layer with "
            "routing='free' to set them"
        )

    def derive(self) -> None:
        """Compute the starts (positions of patches in the epitome) again by their rule, and write them into the buffers."""
        rule = rule_starts(self.geometry, self.mode, self.seed)
        for axis, table in self.tables():
            table.copy_(torch.as_tensor(rule[axis]))


def _by_rule(geometry: EpitomeGeometry, mode: str, seed: int, axis: int, device: torch.device) -> Tensor:
    return torch.as_tensor(rule_starts(geometry, mode, seed)[axis]).to(device)
