"""Define ``nes_lab.fine_tune``: train a network in memory on your own data, without a run."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal

from torch import nn

from nes_lab.cost.left_as_it_was import left_as_it_was
from nes_lab.datasets.as_dataset import as_dataset
from nes_lab.datasets.spec import DatasetSpec
from nes_lab.errors import CheckpointError, OptionError, check_choice, closest
from nes_lab.progress_bar import OnProgress, progress_reporter
from nes_lab.records.training_report import TrainingReport
from nes_lab.training import distributed
from nes_lab.training.best_weights import BestWeights
from nes_lab.training.checkpoint_folder import CheckpointFolder
from nes_lab.training.device import pick_device
from nes_lab.training.hooks import Hooks
from nes_lab.training.loop import Trainer
from nes_lab.training.metrics import AnyMetric
from nes_lab.training.networks import broadcast_buffers, check_network
from nes_lab.training.recipe import Recipe
from nes_lab.training.task import Loss
from nes_lab.training.training_notes import notes_on_training
from nes_lab.training.training_state import TrainingState

__all__ = ["fine_tune"]

RECIPE: Mapping[str, Any] = {"epochs": 5, "batch_size": 32, "lr": 1e-3, "optimizer": "adamw", "weight_decay": 0.05}
"""The settings that hold if a recipe does not say otherwise."""


def fine_tune(
    network: nn.Module,
    train_loader: Any,
    val_loader: Any = None,
    recipe: Recipe | Mapping[str, Any] | None = None,
    *,
    loss: Loss | None = None,
    metrics: Mapping[str, AnyMetric] | None = None,
    keep: Literal["best", "last"] = "best",
    folder: str | Path | None = None,
    teacher: nn.Module | None = None,
    device: str = "auto",
    seed: int = 0,
    workers: int = 0,
    progress: bool = True,
    on_progress: OnProgress | None = None,
) -> TrainingReport:
    """Train a network in place, dense or compressed, on your own data.

    It is the training of ``nes-lab train`` without a run: nothing is written unless ``folder`` is given. Learned starts get no
    weight decay and their own learning rate. After the training every module is set back to its previous mode.

    Args:
        network: The network. It is moved to ``device`` and changed.
        train_loader: The training data: a loader of batches ``(inputs, targets)``, such as torch's ``DataLoader``; or a map-style
            data set of (input, target) pairs; or a pair of tensors (inputs, targets).
        val_loader: The validation data, in one of the same forms. None: ``train_loader`` is a pair of both.
        recipe: A :class:`nes_lab.Recipe`, or some of its fields as a dict. The defaults of such a dict are ``epochs=5``,
            ``lr=1e-3``, ``optimizer="adamw"``, ``weight_decay=0.05`` and ``batch_size=32``. A loader chooses its own batch size.
            None: the defaults.
        loss: Function of (outputs, targets) that returns the mean loss of the batch, a tensor with a loss per example, or a pair
            (sum, count). None: cross entropy.
        metrics: Name -> function of (outputs, targets) whose higher values are better; or a pair (function, ``"lower"``); or a
            :class:`nes_lab.Metric`. The first metric decides which weights are the best. None: top-1 and top-5 accuracy for
            cross entropy. With another loss, None means that the loss decides.
        keep: ``"best"``: the network gets the weights with the best validation, averaged or not. ``"last"``: it keeps those of
            the last step.
        folder: Folder for checkpoints, one per epoch. If it holds some, the training continues from the newest. On map-style data
            sets it then ends with the same weights as without the interruption, bit for bit on a CPU; on loaders it does not.
            None: nothing is saved.
        teacher: Dense network whose outputs ``network`` learns to imitate, if the recipe has a ``kd_weight``; it does not
            change. None: no teacher.
        device: ``"auto"``: a GPU if there is one. Otherwise the name of a device, such as ``"cpu"``.
        seed: Seed for the order of the examples, augmentation and dropout.
        workers: Number of processes that read examples of map-style data sets; with 0, this process does it.
        progress: Show a bar on standard error.
        on_progress: Function that is called at most five times a second with a :class:`~nes_lab.progress_bar.ProgressEvent`
            that counts training steps. None: no function is called.

    Returns:
        The metrics of every epoch, and which weights were the best.

    Raises:
        DataError: If the data has another form, or is empty; the message says what it is.
        OptionError: If the recipe, the loss or a metric is wrong, or does not suit the network or the data.
        CheckpointError: If ``folder`` holds something else, or checkpoints of another training.
        RunError: If a loss or a weight is not finite.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> from torch.utils.data import DataLoader, TensorDataset
        >>> import nes_lab
        >>> inputs = torch.randn(64, 3, generator=torch.Generator().manual_seed(0))
        >>> data = TensorDataset(inputs, inputs.sum(1, keepdim=True))
        >>> train, val = DataLoader(data, batch_size=16, shuffle=True), DataLoader(data, batch_size=64)
        >>> network = nn.Linear(3, 1)
        >>> report = nes_lab.fine_tune(network, train, val, {"epochs": 2, "lr": 0.1}, loss=nn.MSELoss(), progress=False)
        >>> report.steps, report.metric, report.notes
        (8, 'loss', ('not resumable bit for bit: the data comes from loaders',))
        >>> report.best.value == nes_lab.evaluate(network, val, loss=nn.MSELoss())["loss"]
        True
    """
    check_network(network)
    if teacher is not None:
        _check_teacher(teacher, network)
    check_choice("keep", keep, ("best", "last"))
    data = as_dataset(train_loader if val_loader is None else (train_loader, val_loader), workers=workers)
    settings = _recipe(recipe, data)
    if loss is not None and settings.label_smoothing:
        raise OptionError(
            f"label_smoothing={settings.label_smoothing:g} smooths the labels of cross entropy; with loss= set it to 0"
        )
    with distributed.joined(), left_as_it_was(teacher), _restored_modes(network):
        options = {"seed": seed, "device": pick_device(device), "teacher": teacher, "loss": loss, "metrics": metrics}
        trainer = Trainer(network, data, settings, **options)
        watch = _Watch(trainer, keep == "best", folder)
        with progress_reporter(progress and distributed.is_main(), on_progress, "fine-tuning") as report:
            trainer.hooks = watch.hooks(report)
            trainer.fit()
        if keep == "best":
            watch.best.load_into(network)
            broadcast_buffers(network, with_parameters=True)  # the first process knows the best weights
        return distributed.broadcast(watch.report(keep, _void_batch_size(recipe, data)))


def _check_teacher(teacher: nn.Module, network: nn.Module) -> None:
    check_network(teacher, "teacher")
    own = {id(parameter) for parameter in teacher.parameters()}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad and id(parameter) in own:
            raise OptionError(
                f"teacher shares the parameter {name!r} with the network, so training would change the teacher too; give "
                "teacher=copy.deepcopy(network)"
            )


class _Watch:
    """Collects the metrics and the best weights of a training. Saves checkpoints of the training, if there is a folder."""

    def __init__(self, trainer: Trainer, keep_best: bool, folder: str | Path | None) -> None:
        self.trainer, self.best = trainer, BestWeights(keep_best)
        self.rows: list[dict[str, Any]] = []
        self.begun, self.seconds_before = time.perf_counter(), 0.0
        self.folder = None if folder is None else _opened(folder)
        if self.folder is not None and (state := self.folder.load(trainer)):
            self.rows, self.seconds_before = json.loads(state["history"]), float(state["seconds"])
            self.best.resume(trainer, self.folder.best())

    def hooks(self, on_progress: OnProgress) -> Hooks:
        return Hooks(
            metric=self.rows.append, epoch_end=self.best.update, checkpoint=self._save, on_progress=on_progress
        )

    def _save(self, training: TrainingState) -> None:
        if self.folder is not None:
            self.folder.save(training, history=json.dumps(self.rows), seconds=self._seconds())

    def _seconds(self) -> float:
        return self.seconds_before + time.perf_counter() - self.begun

    def report(self, keep: Literal["best", "last"], notes: tuple[str, ...] = ()) -> TrainingReport:
        task, data = self.trainer.task, self.trainer.data
        weights = "last" if self.best.epoch is None else keep
        about = {
            "steps": self.trainer.step,
            "seconds": self._seconds(),
            "notes": (*data.notes, *notes, *notes_on_training(self.trainer, self.rows)),
        }
        better = "higher" if task.better == "higher" else "lower"
        return TrainingReport(task.decisive, better, tuple(self.rows), self.best.epoch, weights, **about)


def _opened(folder: str | Path) -> CheckpointFolder:
    """Open a folder for checkpoints in every process of the training. The first process creates it."""
    error = None
    try:
        if distributed.is_main():
            CheckpointFolder(folder)
    except CheckpointError as problem:
        error = problem
    distributed.raise_on_all_ranks(error)
    return CheckpointFolder(folder)


def _recipe(recipe: Recipe | Mapping[str, Any] | None, data: DatasetSpec) -> Recipe:
    if isinstance(recipe, Recipe):
        return recipe
    if not isinstance(recipe, Mapping | None):
        raise OptionError(
            f"recipe is a {type(recipe).__name__}; give a nes_lab.Recipe, or a dict such as {{'epochs': 5}}"
        )
    known = [item.name for item in fields(Recipe)]
    for name in recipe or {}:
        if name not in known:
            raise OptionError(
                f"recipe[{name!r}] is not known; the fields are {', '.join(known)}.{closest(name, known)}"
            )
    size = {} if data.batch_size is None else {"batch_size": data.batch_size}
    return Recipe(**{**RECIPE, **(recipe or {}), **size})


def _void_batch_size(recipe: Recipe | Mapping[str, Any] | None, data: DatasetSpec) -> tuple[str, ...]:
    """Return a sentence if the recipe has a batch size that the loaders do not use."""
    size = recipe.batch_size if isinstance(recipe, Recipe) else (recipe or {}).get("batch_size")
    if data.batch_size in (None, size) or size is None:
        return ()
    return (f"the loaders decide the batch size, {data.batch_size}; batch_size={size!r} does not apply",)


@contextmanager
def _restored_modes(network: nn.Module) -> Iterator[None]:
    """Set every module back to training or evaluation mode, as it was before the ``with`` block."""
    modes = [(module, module.training) for module in network.modules()]
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode
