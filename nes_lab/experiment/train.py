"""Define ``nes_lab.train``: create a run from a configuration, and train it in this process or in the background."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nes_lab.config import ExperimentConfig, load_config
from nes_lab.errors import OptionError
from nes_lab.experiment.ranks import only_first
from nes_lab.experiment.run import Run, open_run
from nes_lab.progress_bar import OnProgress
from nes_lab.recipes.registry import experiment_tree
from nes_lab.runs.store import RunStore

if TYPE_CHECKING:
    from nes_lab.datasets.spec import DatasetSpec

__all__ = ["train"]


def train(
    config: ExperimentConfig | Mapping[str, Any] | str | Path | None = None,
    *,
    data: DatasetSpec | None = None,
    overrides: Mapping[str, Any] | None = None,
    group: str = "",
    check: bool = True,
    detach: bool = False,
    progress: bool = True,
    on_progress: OnProgress | None = None,
    resume: str | Run | None = None,
    root: str | Path | None = None,
) -> Run:
    """Create a training run and train it, in this process or in the background.

    A mistake in the configuration, the data or the budget is reported before a run is created. SIGTERM, Ctrl-C or a click on
    "interrupt" stops the training after the current step. The run then has the state ``cancelled`` and can be resumed.

    Args:
        config: The experiment: a mapping of sections, the path of a YAML file, or the name of a recipe. ``nes-lab recipes``
            lists the recipes. ``nes-lab train --help`` lists the fields. None: the default experiment, or the one of ``resume``.
        data: A data set in memory. None: the one that ``config`` names.
        overrides: Values that replace those of ``config``, by dotted path, such as ``{"training.epochs": 3}``. None: none.
        group: Name that related runs share, for :func:`nes_lab.list_runs`; may be empty.
        check: Whether to check data, network and budget first. Without the check, a mistake makes the run fail when
            it starts. The call is then fast if ``detach`` is True, because it does not import torch.
        detach: Train in the background, after the runs that are already waiting, and return at once.
        progress: Show a bar on standard error while this process trains.
        on_progress: Function that is called with progress events: first one of phase ``"created"``, whose label is the id of
            the run, then at most five a second. None: nothing is called.
        resume: Continue this run instead of creating one: its id or the run itself. Only the arguments ``data``, ``detach``,
            ``progress`` and ``on_progress`` may be given with it. None: a run is created.
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
    begin: dict[str, Any] = {"detach": detach, "progress": progress, "on_progress": on_progress}
    if resume is not None:
        if config is not None or overrides:
            raise OptionError("resume= continues a run with its own configuration; leave out config and overrides=")
        run = resume if isinstance(resume, Run) else open_run(resume, root=root)
        return run.resume(data=data, **begin)
    checked = _configuration(config, overrides)
    loaded = _checked_data(checked) if check and data is None else data
    store = RunStore(root)
    run = Run(store, only_first(lambda: store.create(checked.to_dict(), label=checked.label, group=group)))
    if on_progress is not None:
        on_progress({"phase": "created", "done": 0, "total": 0, "label": run.id})
    return run.resume(data=None if detach else loaded, **begin)


def _configuration(
    config: ExperimentConfig | Mapping[str, Any] | str | Path | None, overrides: Mapping[str, Any] | None
) -> ExperimentConfig:
    if isinstance(config, ExperimentConfig):
        config = config.model_dump(exclude_unset=True)
    if not isinstance(config, Mapping | str | Path | None):
        raise OptionError(f"config is a {type(config).__name__}; give a mapping, a YAML file or the name of a recipe")
    tree = {} if config is None else config if isinstance(config, Mapping) else experiment_tree(config)
    return load_config(tree, overrides)


def _checked_data(config: ExperimentConfig) -> DatasetSpec | None:
    from nes_lab.experiment.build import check

    return check(config)
