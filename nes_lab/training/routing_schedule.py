"""Schedule the learning rate and momentum of starting indices in a training, and when the indices are frozen and snapped."""

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
    """Sets the learning rate and momentum of all starts in a training, and freezes and snaps them after the recipe's epochs.

    Learning rate and momentum depend only on the step. Freezing and snapping replace modules. Therefore the saved state contains
    which of them was done, and :meth:`restore` repeats it on a new network before the weights are loaded.

    Args:
        networks: The network, and its moving average if there is one. Both are frozen and snapped.
        recipe: Training recipe with the settings that begin with ``starts_``.
        steps_per_epoch: Number of steps in one epoch.

    Raises:
        OptionError: If the network is compiled and the recipe changes the momentum at every step.

    Examples:
        >>> from nes_lab.nn.conv import EpitomeConv2d
        >>> net = EpitomeConv2d(4, 8, 1, epitome_shape=(6, 4, 1, 1), patch_channels=(2, 2), routing="free")
        >>> recipe = Recipe(epochs=2, batch_size=1, lr=0.1, starts_snap_epoch=1)
        >>> schedule = RoutingSchedule([net], recipe, steps_per_epoch=10)
        >>> [event["kind"] for event in schedule.freeze_and_snap(epoch=1)], net.frozen
        (['starts_snapped'], True)
    """

    def __init__(self, networks: list[nn.Module], recipe: Recipe, steps_per_epoch: int) -> None:
        self.networks, self.recipe, self.steps_per_epoch = networks, recipe, steps_per_epoch
        self.frozen = self.snapped = False
        self._momentum_before = [(learner, learner.momentum) for learner in self._learners()]
        if recipe.compile and recipe.starts_momentum_end is not None and self._momentum_before:
            raise OptionError(
                f"starts_momentum_end={recipe.starts_momentum_end} changes the momentum at every step, and a compiled "
                "network would be compiled again each time; leave it empty or set compile to false"
            )

    def _learners(self) -> Iterator[Starts]:
        for _, layer in epitome_layers(self.networks[0]):
            if layer.routing.averaged:
                yield layer.routing

    def before_step(self, step: int, optimizer: torch.optim.Optimizer) -> None:
        """Set the momentum of the routing maps for a step, and scale the learning rate of starts during their warm-up.

        Call this after the learning-rate schedule has set the learning rates of the step.
        """
        warmup = self.recipe.starts_warmup_epochs * self.steps_per_epoch
        if step < warmup:
            for group in optimizer.param_groups:
                if group.get("name") == "starts":
                    group["lr"] *= step / warmup
        end = self.recipe.starts_momentum_end
        if end is not None:
            done = step / max(1, self.recipe.epochs * self.steps_per_epoch - 1)
            for learner, begin in self._momentum_before:
                learner.momentum = begin + (end - begin) * done

    @contextmanager
    def restored_momentum(self) -> Iterator[None]:
        """Restore the momentum that each layer had at first, at the end of the ``with`` block."""
        try:
            yield
        finally:
            for learner, begin in self._momentum_before:
                learner.momentum = begin

    def freeze_and_snap(self, epoch: int) -> list[dict[str, Any]]:
        """Freeze and snap the starts if the recipe says so after this many epochs.

        Returns:
            One event for freezing and one for snapping, if done now, with the number of layers; empty if nothing changed.
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
        learning = [layer for _, layer in epitome_layers(self.networks[0]) if not layer.frozen]
        for network in self.networks:
            for _, layer in epitome_layers(network):
                layer.freeze()
        self._copy_starts_to_average()
        return [{"kind": "starts_frozen", "layers": len(learning)}] if learning else []

    def _snap(self) -> list[dict[str, Any]]:
        self.frozen = self.snapped = True
        reports, *_ = [[layer.snap() for _, layer in epitome_layers(network)] for network in self.networks]
        self._copy_starts_to_average()
        if not reports:
            return []
        largest = max(report.largest_move for report in reports)
        change = max(report.relative_change for report in reports)
        about = {"layers": len(reports), "largest_move": largest, "largest_relative_change": change}
        return [{"kind": "starts_snapped", **about}]

    def _copy_starts_to_average(self) -> None:
        """Copy the frozen starts of the network to its moving average, because an average of starts has no meaning."""
        layers, *others = ([layer for _, layer in epitome_layers(network)] for network in self.networks)
        with torch.no_grad():
            for averaged_layers in others:
                for layer, averaged in zip(layers, averaged_layers, strict=True):
                    for (_, table), (_, target) in zip(layer.routing.tables(), averaged.routing.tables(), strict=True):
                        target.copy_(table)

    def drop_from(self, optimizer: torch.optim.Optimizer) -> None:
        """Remove frozen starts from the optimizer."""
        if self.frozen:
            drop_group(optimizer, "starts")

    def state_dict(self) -> dict[str, bool]:
        """Return whether the starts are frozen and snapped."""
        return {"frozen": self.frozen, "snapped": self.snapped}

    def restore(self, state: dict[str, Any], optimizer: torch.optim.Optimizer) -> None:
        """Freeze and snap the starts if this was done in the saved training.

        Raises:
            CheckpointError: If starts are frozen or snapped in this training but not in the saved one.
        """
        frozen, snapped = bool(state.get("frozen")), bool(state.get("snapped"))
        if (self.frozen and not frozen) or (self.snapped and not snapped):
            raise CheckpointError(
                "the checkpoint was saved before the starts were frozen or snapped; load it into a fresh network"
            )
        if frozen and not self.frozen:
            self._freeze()
        if snapped and not self.snapped:
            self._snap()
        self.drop_from(optimizer)
