"""Define ``nes_lab.train``: create a run from a configuration, and train it in this process or in the background."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nes_lab.config import ExperimentConfig, load_config
from nes_lab.errors import OptionError
from nes_lab.experiment.create_run import create_run
from nes_lab.experiment.open_runs import open_run
from nes_lab.experiment.run import Run
from nes_lab.progress_bar import OnProgress, check_progress
from nes_lab.recipes.registry import experiment_tree
from nes_lab.runs import launcher
from nes_lab.runs.store import RunStore

if TYPE_CHECKING:
    from torch import nn

    from nes_lab.training.metrics import AnyMetric
    from nes_lab.training.task import Loss

__all__ = ["StartWarning", "train"]


class StartWarning(UserWarning):
    """A warning about how a run begins: the network or data given in memory overrides a setting of the configuration."""


def train(
    config: ExperimentConfig | Mapping[str, Any] | str | Path | None = None,
    *,
    network: nn.Module | None = None,
    start: str | Path | Run | None = None,
    data: Any = None,
    loss: Loss | None = None,
    metrics: Mapping[str, AnyMetric] | None = None,
    overrides: Mapping[str, Any] | None = None,
    group: str = "",
    check: bool = True,
    detach: bool = False,
    progress: bool = True,
    on_progress: OnProgress | None = None,
    resume: str | Run | None = None,
    allow_import: bool = False,
    root: str | Path | None = None,
) -> Run:
    """Create a training run and train it, in this process or in the background.

    A mistake in the configuration, the data or the budget is reported before a run is created. SIGTERM, Ctrl-C or a click on
    "interrupt" stops the training after the current step. The run then has the state ``cancelled`` and can be resumed.

    Args:
        config: The experiment: a mapping of sections, the path of a YAML file, or the name of a recipe. ``nes-lab recipes``
            lists the recipes. ``nes-lab train --help`` lists the fields. None: the default experiment, or the one of ``resume``.
        network: A network in memory to start from, dense or compressed; it does not change. A dense one is compressed if
            ``config`` says so. The section ``backbone`` of ``config`` is then not used. None: the network that ``start`` or
            ``config`` names.
        start: A saved network to start from: its folder (``nes-lab fit`` and ``nes-lab compress`` write one), or a run, by its
            id or as an object. A run stands for the network of its newest checkpoint. ``"ID:best"`` names its network with the
            best validation, ``"ID:averaged"`` its averaged weights, ``"ID:best averaged"`` the best of these. None: ``config`` decides.
        data: A data set in memory: a pair (training data, validation data). Each of the two is a map-style data set, a pair of
            tensors (inputs, targets) or a loader. None: the data set that ``config`` names.
        loss: Function of (outputs, targets) that returns the mean loss of a batch, for any task. None: cross entropy.
        metrics: Name -> function of (outputs, targets) whose higher values are better; or a pair (function, ``"lower"``); or a
            :class:`nes_lab.Metric`. The first metric decides which checkpoint is the best. None: top-1 and top-5 accuracy for
            cross entropy. With another loss, None means that the loss decides.
        overrides: Values that replace those of ``config``, by dotted path, such as ``{"training.epochs": 3}``. None: none.
        group: Name that related runs share, for :func:`nes_lab.list_runs`; may be empty.
        check: Whether to check data, network and budget first. Without the check, a mistake makes the run fail when
            it starts. The call is then fast if ``detach`` is True, because it does not import torch.
        detach: Train in the background, after the runs that are already waiting, and return at once.
        progress: Show a bar on standard error while this process trains.
        on_progress: Function that is called with a :class:`~nes_lab.progress_bar.ProgressEvent`, at most five times a second. The
            first event has the phase ``"created"``, and its label is the id of the run. None: nothing is called.
        resume: Continue this run instead of creating one: its id or the run itself. Give ``network``, ``data``, ``loss`` and
            ``metrics`` again if the run was created with them. None: a run is created.
        allow_import: Import the function that the folder ``start`` names as its network. It runs code that the folder chooses, so
            give True only for a folder that you trust.
        root: Folder of all runs. None: ``$NES_LAB_HOME/runs``, or ``data/runs`` if that variable is not set.

    Returns:
        The run: ``finished`` or ``cancelled``, or with ``detach`` ``queued`` or ``running``.

    Raises:
        OptionError: If the configuration or an argument is wrong.
        DataError: If the data is missing, incomplete or damaged.
        BudgetError: If the budget cannot be met.
        RunError: If the training fails.

    Examples:
        >>> import nes_lab, tempfile
        >>> config = {"data": {"limit": 64}, "compression": {"params": "60%"}, "training": {"epochs": 1}}
        >>> run = nes_lab.train(config, root=tempfile.mkdtemp(), progress=False)
        >>> run.state, run.summary["params"] <= 0.6 * run.summary["dense_params"]
        ('finished', True)
    """
    check_progress(progress, on_progress)
    begin: dict[str, Any] = {"detach": detach, "progress": progress, "on_progress": on_progress}
    if resume is not None:
        if config is not None or overrides or start is not None:
            raise OptionError(
                "resume= continues a run with its own configuration; leave out config, overrides= and start="
            )
        run = resume if isinstance(resume, Run) else open_run(resume, root=root)
        return run.resume(network=network, data=data, loss=loss, metrics=metrics, **begin)
    if network is not None and start is not None:
        raise OptionError(f"network= and start={start!r} are two networks to start from; give one of them")
    if network is not None:
        from nes_lab.training.networks import check_network

        check_network(network)
    checked = _configuration(config, overrides)
    source = next((each for each in (network, start, checked.start) if each is not None), None)
    about: dict[str, Any] = {"group": group, "detach": detach, "check": check, "allow_import": allow_import}
    run = create_run(RunStore(root), checked, source=source, data=data, loss=loss, metrics=metrics, **about)
    for note in run.info.notes:
        warnings.warn(note, StartWarning, stacklevel=2)
    if on_progress is not None:
        try:
            on_progress({"phase": "created", "done": 0, "total": 0, "label": run.id})
        except BaseException:
            launcher.cancel(run.store, run.id)  # a queued run would wait for ever
            raise
    return run.resume(**begin)


def _configuration(
    config: ExperimentConfig | Mapping[str, Any] | str | Path | None, overrides: Mapping[str, Any] | None
) -> ExperimentConfig:
    if isinstance(config, ExperimentConfig):
        config = config.model_dump(exclude_unset=True)
    if not isinstance(config, Mapping | str | Path | None):
        raise OptionError(f"config is a {type(config).__name__}; give a mapping, a YAML file or the name of a recipe")
    tree = {} if config is None else config if isinstance(config, Mapping) else experiment_tree(config)
    return load_config(tree, overrides)
