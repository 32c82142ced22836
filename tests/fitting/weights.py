"""Random weights and the routing maps of rules, for the tests of the search."""

from __future__ import annotations

import torch

from nes_lab.epitome.routing_map import RoutingMap
from nes_lab.geometry.start_rules import rule_starts


def rule_map(geometry, mode="free", seed=0) -> RoutingMap:
    """The starts of a rule, as a layer with free routing would store them."""
    starts = tuple(None if s is None else torch.as_tensor(s) for s in rule_starts(geometry, mode, seed))
    return RoutingMap(geometry, starts, "free")


def random_weight(*shape, seed=0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
