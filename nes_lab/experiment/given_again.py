"""Check the network, data, loss and metrics that a user gives to continue a run, before anything of the run changes.

They must be those with which the run was created.

Tests: tests/experiment/test_start_from.py.
"""

from __future__ import annotations

from pathlib import Path

from torch import nn

from nes_lab.config import ExperimentConfig
from nes_lab.errors import CheckpointError, OptionError
from nes_lab.experiment.initial_network import load_initial
from nes_lab.experiment.memory import Memory
from nes_lab.export.plain_attributes import attribute_difference, plain_attributes
from nes_lab.export.rebuild import WAY_OUT
from nes_lab.export.saved_config import read_saved_config
from nes_lab.runs import checkpoints, layout
from nes_lab.runs.info import RunInfo
from nes_lab.training.checkpoint import load_state
from nes_lab.training.task import Task, name_of
from nes_lab.training.training_state import check_saved_data

__all__ = ["check_given"]


def check_given(folder: Path, info: RunInfo, config: ExperimentConfig, given: Memory) -> None:
    """Check that the network, data, loss and metrics that a user gives to continue a run are those it was created with.

    Nothing of the run changes.

    Args:
        folder: Folder of the run.
        info: The run.
        config: Configuration of the run.
        given: The network, data, loss and metrics. An attribute that is None is not compared.

    Raises:
        CheckpointError: If an object differs from the one that the run was created with. The message says what to give.
        OptionError: If a network is given, and the run was created without one.
    """
    if given.network is not None:
        _check_network(folder, info, config, given.network)
    checkpoint = checkpoints.latest(folder)
    saved = {} if checkpoint is None or checkpoint.state is None else load_state(checkpoint.state)
    try:
        if given.data is not None and isinstance(saved.get("data"), dict):
            check_saved_data(given.data, saved["data"])
        if saved:
            Task.of(given.loss, given.metrics).check_saved(saved.get("task"))
        else:
            _check_names(info, given)
    except CheckpointError as error:
        raise _unchanged(info, str(error)) from error


def _check_network(folder: Path, info: RunInfo, config: ExperimentConfig, network: nn.Module) -> None:
    if not (folder / layout.START).is_dir():
        raise OptionError(
            f"network={type(network).__name__}: run {info.id} was not created with a network in memory; it makes its own. "
            "Leave out network="
        )
    try:
        load_initial(folder, info, config, network)
        if "network" in info.given:
            saved = read_saved_config(folder / layout.START)["metadata"].get("attributes", {})
            if difference := attribute_difference(plain_attributes(network), saved):
                raise CheckpointError(f"the network has {difference}")
    except CheckpointError as error:
        reason = str(error).removeprefix(f"{folder / layout.START}: ").replace(f"; {WAY_OUT}", "")
        raise _unchanged(info, f"network={type(network).__name__}: {reason}") from error


def _check_names(info: RunInfo, given: Memory) -> None:
    """Raise an error if the data, loss or metrics have other names than those that the run was created with.

    This check is for a run without a checkpoint, for which only the names are recorded.
    """
    names = {} if given.data is None else {"data": given.data.name}
    names |= {} if given.loss is None else {"loss": name_of(given.loss)}
    names |= {} if given.metrics is None else {"metrics": ", ".join(given.metrics)}
    for what, name in names.items():
        if what not in info.given and what != "data":
            raise CheckpointError(f"{what}={name}: the run was created without {what}=")
        if name != info.given.get(what, name):
            raise CheckpointError(f"{what}={name}: the run was created with {what}={info.given[what]}")


def _unchanged(info: RunInfo, reason: str) -> CheckpointError:
    again = (
        f"it continues when {info.given_again()}" if info.given else "it continues with what its configuration names"
    )
    return CheckpointError(f"{reason.removesuffix('.')}. Run {info.id} is unchanged; {again}")
