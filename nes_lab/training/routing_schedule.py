"""What changes about the starts while a network learns: their learning rate, their inertia, and when they come to rest."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from nes_lab.errors import CheckpointError, OptionError
from nes_lab.nn.inspect import epitome_layers
from nes_lab.nn.starts import Starts
from nes_lab.training.optim import drop_group
from nes_lab.training.recipe import Recipe

__all__ = ["RoutingSchedule"]


class RoutingSchedule:
    """Moves the routing of all epitome layers through a training.

    Rates and momentum are functions of the step. Freezing and snapping exchange modules, so what has been done is part
    of the saved state: :meth:`restore` repeats it on a fresh network before weights are loaded.

    Args:
        networks: The network, and its average if there is one; both are frozen and snapped alike.
        recipe: Says what and when.
        steps_per_epoch: Steps of an epoch.

    Raises:
        OptionError: If a compiled network should get a momentum that changes at every step.

    Examples:
        >>> from nes_lab.nn.conv import EpitomeConv2d
        >>> net = EpitomeConv2d(4, 8, 1, epitome_shape=(6, 4, 1, 1), patch_channels=(2, 2), routing="free")
        >>> recipe = Recipe(epochs=2, batch_size=1, lr=0.1, starts_snap_epoch=1)
        >>> schedule = RoutingSchedule([net], recipe, steps_per_epoch=10)
        >>> [event["kind"] for event in schedule.rest(epoch=1)], net.frozen
        (['starts_snapped'], True)
    """

    def __init__(self, networks: list[nn.Module], recipe: Recipe, steps_per_epoch: int) -> None:
        self.networks, self.recipe, self.steps_per_epoch = networks, recipe, steps_per_epoch
        self.frozen = self.snapped = False
        self._begin = [(learner, learner.momentum) for learner in self._learners()]
        if recipe.compile and recipe.starts_momentum_end is not None and self._begin:
            raise OptionError(
                f"starts_momentum_end={recipe.starts_momentum_end} changes a number at every step, for which a compiled "
                "network would be compiled anew; leave it empty or set compile to false"
            )

    def _learners(self) -> Iterator[Starts]:
        for _, layer in epitome_layers(self.networks[0]):
            if layer.routing.averaged:
                yield layer.routing

    def before_step(self, step: int, optimizer: torch.optim.Optimizer) -> None:
        """Set the starts' learning rate, after the schedule has set all, and the routing maps' momentum."""
        warmup = self.recipe.starts_warmup_epochs * self.steps_per_epoch
        if step < warmup:
            for group in optimizer.param_groups:
                if group.get("name") == "starts":
                    group["lr"] *= step / warmup
        end = self.recipe.starts_momentum_end
        if end is not None:
            done = step / max(1, self.recipe.epochs * self.steps_per_epoch - 1)
            for learner, begin in self._begin:
                learner.momentum = begin + (end - begin) * done

    @contextmanager
    def momentum_given_back(self) -> Iterator[None]:
        """Leave the layers' own momentum behind, whatever it was in training."""
        try:
            yield
        finally:
            for learner, begin in self._begin:
                learner.momentum = begin

    def rest(self, epoch: int) -> list[dict[str, Any]]:
        """Freeze and snap what is due after so many epochs.

        Returns:
            One event each, with what it did to how many layers; modules were exchanged if there is any.
        """
        events = []
        recipe = self.recipe
        if recipe.starts_freeze_epoch is not None and epoch >= recipe.starts_freeze_epoch and not self.frozen:
            events += self._freeze()
        if recipe.starts_snap_epoch is not None and epoch >= recipe.starts_snap_epoch and not self.snapped:
            events += self._snap()
        return events

    def _freeze(self) -> list[dict[str, Any]]:
        self.frozen = True
        moving = [layer for _, layer in epitome_layers(self.networks[0]) if not layer.frozen]
        for network in self.networks:
            for _, layer in epitome_layers(network):
                layer.freeze()
        self._share()
        return [{"kind": "starts_frozen", "layers": len(moving)}] if moving else []

    def _snap(self) -> list[dict[str, Any]]:
        self.frozen = self.snapped = True
        reports, *_ = [[layer.snap() for _, layer in epitome_layers(network)] for network in self.networks]
        self._share()
        if not reports:
            return []
        largest = max(report.largest_move for report in reports)
        change = max(report.relative_change for report in reports)
        about = {"layers": len(reports), "largest_move": largest, "largest_relative_change": change}
        return [{"kind": "starts_snapped", **about}]

    def _share(self) -> None:
        """Give the average the starts at rest of the network: between two resting places an average has no meaning."""
        layers, *others = ([layer for _, layer in epitome_layers(network)] for network in self.networks)
        with torch.no_grad():
            for other in others:
                for layer, twin in zip(layers, other, strict=True):
                    for (_, table), (_, copy) in zip(layer.routing.tables(), twin.routing.tables(), strict=True):
                        copy.copy_(table)

    def drop_from(self, optimizer: torch.optim.Optimizer) -> None:
        """Take the parameters of starts that rest out of the optimizer."""
        if self.frozen:
            drop_group(optimizer, "starts")

    def state_dict(self) -> dict[str, bool]:
        """Return what has been done to the modules."""
        return {"frozen": self.frozen, "snapped": self.snapped}

    def restore(self, state: dict[str, Any], optimizer: torch.optim.Optimizer) -> None:
        """Exchange the modules of a fresh network as those of a saved one were.

        Raises:
            CheckpointError: If this training has gone farther than the saved one.
        """
        frozen, snapped = bool(state.get("frozen")), bool(state.get("snapped"))
        if (self.frozen and not frozen) or (self.snapped and not snapped):
            raise CheckpointError("the state is of a time when the starts still moved; load it into a fresh network")
        if frozen and not self.frozen:
            self._freeze()
        if snapped and not self.snapped:
            self._snap()
        self.drop_from(optimizer)
