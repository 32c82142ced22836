"""Hold what a run needs and only this process has: a network, data, a loss and metrics that were given as objects.

Tests: tests/experiment/test_start_from.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from nes_lab.errors import RunError
from nes_lab.runs.info import RunInfo

if TYPE_CHECKING:
    from torch import nn

    from nes_lab.datasets.spec import DatasetSpec
    from nes_lab.training.metrics import AnyMetric
    from nes_lab.training.task import Loss

__all__ = ["Memory"]


@dataclass(frozen=True, eq=False)
class Memory:
    """The objects in this process that belong to a run. An attribute is None if no such object was given.

    Attributes:
        network: The network from which the run starts, or one with the same layers.
        data: The loaded data.
        loss: Function of (outputs, targets).
        metrics: Name -> function of (outputs, targets).
    """

    network: nn.Module | None = None
    data: DatasetSpec | None = None
    loss: Loss | None = None
    metrics: Mapping[str, AnyMetric] | None = None

    def with_given(self, **given: Any) -> Memory:
        """Return a copy of this object in which some attributes are replaced, such as the network or the data.

        An argument that is None leaves its attribute as it is. If all arguments are None, this object itself is returned.
        """
        found = {name: value for name, value in given.items() if value is not None}
        if "data" in found:
            from nes_lab.datasets.as_dataset import as_dataset

            found["data"] = as_dataset(found["data"])
        return replace(self, **found) if found else self

    def check(self, info: RunInfo) -> None:
        """Raise an error if the run was created with an object in memory that this process does not have.

        Raises:
            RunError: If something must be given again; the message says how.

        Examples:
            >>> Memory().check(RunInfo("a", given={"network": "TinyNet"}))
            Traceback (most recent call last):
            nes_lab.errors.RunError: run a continues only when the network is given again: ...
        """
        if any(getattr(self, name) is None for name in info.given):
            raise RunError(f"run {info.id} continues only when {info.given_again()}")

    def arguments(self) -> dict[str, Any]:
        """Return the network, data, loss and metrics as keyword arguments, without those that are None."""
        return {name: value for name, value in vars(self).items() if value is not None}
