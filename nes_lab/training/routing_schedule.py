"""Set how fast starting indices are learned during a training, and freeze or round them.

Starting indices are the positions at which a layer reads its epitome.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from nes_lab.errors import CheckpointError, OptionError
from nes_lab.nn.index_learner import LearnerStarts
from nes_lab.nn.inspect import epitome_layers
from nes_lab.nn.starts import Starts
from nes_lab.training.optim import drop_group
from nes_lab.training.recipe import Recipe

__all__ = ["RoutingSchedule"]


class RoutingSchedule:
    """Sets the learning rate and momentum of starting indices during a training, and freezes or snaps the indices.

    Starting indices, or starts, are the positions at which a layer reads its epitome. Freezing means that they are no longer
    learned. Snapping means that they are rounded to integers and frozen. The recipe says after which epochs this happens.

    Some layers keep a moving average of their starts. The momentum is the momentum of this average.

    A checkpoint stores whether the starts were frozen or snapped. When a training resumes, :meth:`restore` freezes or
    snaps them again before the saved weights are loaded.

    Args:
        networks: The network, and its moving average if there is one. Both are frozen and snapped.
        recipe: Training recipe with the settings that begin with ``starts_``.
        steps_per_epoch: Number of steps in one epoch.

    Raises:
        OptionError: If the recipe compiles the network and also changes the momentum of the starts during the training, or if index
            learners rest in some steps and several processes train.

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
        if recipe.learner_every > 1 and self._momentum_before and dist.is_initialized() and dist.get_world_size() > 1:
            raise OptionError(
                f"learner_every={recipe.learner_every}; with several processes index learners learn in every step: set it to 1"
            )

    def _learners(self) -> Iterator[Starts]:
        for _, layer in epitome_layers(self.networks[0]):
            if layer.routing.averaged:
                yield layer.routing

    def before_step(self, step: int, optimizer: torch.optim.Optimizer) -> None:
        """Set the momentum and the learning rate of starting indices for a training step, and whether index learners predict in it.

        Starting indices are the positions at which layers read their epitomes. Some layers keep a moving average of their
        starting indices. The momentum is the momentum of this average.

        Call this method after the learning-rate schedule has set the learning rates of the step. During the warm-up of
        the starting indices, this method reduces their learning rate.
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

        self._let_predict(step % self.recipe.learner_every == 0)

    def _let_predict(self, predicting: bool) -> None:
        for learner, _ in self._momentum_before:
            if isinstance(learner, LearnerStarts):
                learner.predicting = predicting

    @contextmanager
    def restored_momentum(self) -> Iterator[None]:
        """Restore the momentum of the layers' moving averages of starting indices at the end of the ``with`` block.

        Layers that predict their starting indices keep such an average. The training changes its momentum. The layers predict in every
        forward pass in training again.
        """
        try:
            yield
        finally:
            for learner, begin in self._momentum_before:
                learner.momentum = begin
            self._let_predict(True)

    def freeze_and_snap(self, epoch: int) -> list[dict[str, Any]]:
        """Freeze or snap the starting indices if the settings of the training ask for it at this epoch.

        Starting indices are the positions at which layers read their epitomes. Frozen indices are no longer learned.
        Snapped indices are rounded to integers and frozen.

        Returns:
            A list of events: one if the indices were frozen now, and one if they were snapped now. Each event is a dict with
            the number of layers. The list is empty if nothing changed.
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
        """Copy the frozen starting indices from the network to the network that holds the moving average of its weights.

        Starting indices are the positions at which layers read their epitomes.
        """
        # the average of indices has no meaning
        layers, *others = ([layer for _, layer in epitome_layers(network)] for network in self.networks)
        with torch.no_grad():
            for averaged_layers in others:
                for layer, averaged in zip(layers, averaged_layers, strict=True):
                    for (_, table), (_, target) in zip(layer.routing.tables(), averaged.routing.tables(), strict=True):
                        target.copy_(table)

    def drop_from(self, optimizer: torch.optim.Optimizer) -> None:
        """Remove the starting indices from the optimizer if they are frozen (no longer learned).

        Starting indices are the positions at which layers read their epitomes.
        """
        if self.frozen:
            drop_group(optimizer, "starts")

    def state_dict(self) -> dict[str, bool]:
        """Return a dict that says whether the starting indices are frozen and whether they are snapped.

        Starting indices are the positions at which layers read their epitomes. Frozen indices are no longer learned.
        Snapped indices are rounded to integers and frozen.
        """
        return {"frozen": self.frozen, "snapped": self.snapped}

    def restore(self, state: dict[str, Any], optimizer: torch.optim.Optimizer) -> None:
        """Freeze or snap the starting indices of this training if they were frozen or snapped in the saved training.

        Starting indices are the positions at which layers read their epitomes. Frozen indices are no longer learned.
        Snapped indices are rounded to integers and frozen.

        Raises:
            CheckpointError: If starting indices are frozen or snapped in this training but not in the saved one.
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
