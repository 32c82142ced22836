"""Create a run after its configuration, data and network were checked. A mistake leaves no run behind.

Nothing here imports torch, unless the check, a network or data in memory need it.

Tests: tests/experiment/test_train.py, tests/experiment/test_start_from.py.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nes_lab.config import ExperimentConfig
from nes_lab.errors import OptionError
from nes_lab.experiment.ranks import is_rank, only_first
from nes_lab.experiment.run import Run
from nes_lab.runs import layout
from nes_lab.runs.store import RunStore

if TYPE_CHECKING:
    from torch import nn

    from nes_lab.datasets.spec import DatasetSpec
    from nes_lab.training.metrics import AnyMetric
    from nes_lab.training.task import Loss

__all__ = ["create_run"]

_WAYS_OUT = {
    "network": "put the function that makes it into a file, and name it in the configuration, as in "
    "{'backbone': {'name': 'my_networks:make_network'}}",
    "data": "put the function that makes it into a file, and name it in the configuration, as in "
    "{'data': {'name': 'my_data:make_data'}}",
    "loss": "a configuration cannot name a loss",
    "metrics": "a configuration cannot name metrics",
}


def create_run(
    store: RunStore,
    config: ExperimentConfig,
    *,
    source: Any = None,
    data: Any = None,
    loss: Loss | None = None,
    metrics: Mapping[str, AnyMetric] | None = None,
    group: str = "",
    detach: bool = False,
    check: bool = True,
    allow_import: bool = False,
) -> Run:
    """Create a run in the state ``queued``. If torchrun started several processes, the first one creates one run for all.

    Args:
        store: The store of the runs.
        config: The configuration that the user wrote.
        source: The network to start from: a module, a run, the path of a saved network, or a text such as ``"ID:best"`` that
            names a run. None: a new backbone.
        data: Data in memory. None: the configuration names it.
        loss: Function of (outputs, targets). None: cross entropy.
        metrics: Name -> function of (outputs, targets). None: top-1 and top-5 accuracy for cross entropy, otherwise none.
        group: Name that related runs share; may be empty.
        detach: Whether the run will train in a process in the background.
        check: Whether to check data, backbone, budget and training options before the run is created.
        allow_import: Whether to import the function that a saved network names as its backbone.

    Returns:
        The run. It keeps the data and everything that was given in memory, so that this process need not load them again to train.

    Raises:
        NesLabError: If something is wrong. No run is created then.

    Examples:
        >>> import tempfile
        >>> from nes_lab.config import load_config
        >>> create_run(RunStore(tempfile.mkdtemp()), load_config({}), check=False).state
        'queued'
    """
    if all(each is None for each in (source, data, loss, metrics)):
        loaded = _checked(config) if check else None
        if loaded is None:
            return _created(store, config, group, loaded=None)
        from nes_lab.experiment.void_settings import notes_on_data
        from nes_lab.experiment.weights_notes import notes_on_weights

        notes = (*notes_on_data(config, loaded, in_memory=False), *notes_on_weights(config, loaded))
        return _created(store, config, group, loaded=loaded, notes=notes)
    from nes_lab.datasets.as_dataset import as_dataset
    from nes_lab.experiment.load_data import load_data
    from nes_lab.experiment.start_from import beginning
    from nes_lab.experiment.void_settings import notes_on_data, without_label_smoothing
    from nes_lab.experiment.weights_notes import notes_on_weights

    given, in_memory = _task_names(loss, metrics), data is not None
    if loss is not None:
        config = without_label_smoothing(config)
    if data is not None:
        data = as_dataset(data)
        given |= {"data": data.name}
    elif not config.data.download:
        data = load_data(config, _opened(source, config, store, allow_import))
    how = {"own_loss": loss is not None, "allow_import": allow_import}
    opened = nullcontext() if source is None else beginning(source, config, data, store, **how)
    with opened as begin:
        fitted = config if begin is None else begin.config
        network = None if begin is None else begin.network
        given |= {} if begin is None else begin.given
        _refuse_processes(given, fitted, detach, "" if begin is None else begin.difference)
        notes = (*(() if begin is None else begin.notes), *notes_on_data(config, data, in_memory))
        notes = (*notes, *notes_on_weights(fitted, data, network))
        if check:
            _checked(fitted, data, network)
            if loss is not None and data is not None and network is not None:
                _try_loss(fitted, data, network, loss)
        about = {"given": given, "notes": notes, "start": None if begin is None else begin.folder}
        run = _created(store, fitted, group, loaded=data, **about)
        run.remember(network=network if "network" in given else None, loss=loss, metrics=metrics)
        return run


def _opened(source: Any, config: ExperimentConfig, store: RunStore, allow_import: bool) -> nn.Module | None:
    """Return the network to start from, if the data must be prepared as it was for the network's weights; otherwise None."""
    from nes_lab.experiment.start_from import open_start

    if source is None or config.data.preprocess != "backbone":
        return None
    return open_start(source, store, allow_import=allow_import, backbone=config.backbone.name)[0]


def _task_names(loss: Loss | None, metrics: Mapping[str, AnyMetric] | None) -> dict[str, str]:
    """Check the loss and the metrics that were given, and return their names as texts for the user.

    Raises:
        OptionError: If the loss or a metric is not a function or of another allowed form.
    """
    from nes_lab.training.task import Task, name_of

    Task.of(loss, metrics)
    names = {} if loss is None else {"loss": name_of(loss)}
    return names if metrics is None else names | {"metrics": ", ".join(metrics)}


def _checked(config: ExperimentConfig, data: DatasetSpec | None = None, network: Any = None) -> DatasetSpec | None:
    from nes_lab.experiment.build import check

    return check(config, data, network)


def _try_loss(config: ExperimentConfig, data: DatasetSpec, network: Any, loss: Loss) -> None:
    from nes_lab.training.check_loss import check_loss
    from nes_lab.training.device import pick_device

    check_loss(network, data, loss, pick_device(config.training.device))


def _created(
    store: RunStore,
    config: ExperimentConfig,
    group: str,
    *,
    loaded: DatasetSpec | None,
    given: dict[str, str] | None = None,
    notes: tuple[str, ...] = (),
    start: Path | None = None,
) -> Run:
    def fill(folder: Path) -> None:
        if start is not None:
            shutil.copytree(start, folder / layout.START)

    about: dict[str, Any] = {"label": config.label, "group": group, "given": given, "notes": notes, "fill": fill}
    run = Run(store, only_first(lambda: store.create(config.to_dict(), **about)))
    run.remember(data=loaded)
    return run


def _refuse_processes(given: dict[str, str], config: ExperimentConfig, detach: bool, difference: str = "") -> None:
    """Raise an error if a run with a network or data in memory would train in other processes.

    Other processes cannot read the memory of this one.

    Raises:
        OptionError: If the run would train in the background or in several processes. The message says what to do instead.
    """
    if not given or not (detach or config.training.processes > 1 or is_rank()):
        return
    what, name = next(iter(given.items()))
    where = "detach=True trains in another process" if detach else "several processes train together"
    difference = f" ({difference})" if difference and what == "network" else ""
    raise OptionError(
        f"{what}={name}{difference} exists only in the memory of this process, and {where}: {_WAYS_OUT[what]}; or train in this process"
    )
