"""Load or save the network that a run has trained, from its newest or its best checkpoint."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from nes_lab.backbones.class_names import set_classes
from nes_lab.backbones.preprocessing import set_preprocessing
from nes_lab.config import ExperimentConfig, load_config
from nes_lab.cost.probe import in_mode
from nes_lab.datasets.spec import DatasetSpec
from nes_lab.errors import RunError
from nes_lab.experiment.build import build
from nes_lab.experiment.initial_network import load_initial
from nes_lab.experiment.same_settings import trained_config
from nes_lab.export.pretrained import save_pretrained
from nes_lab.nn.inspect import epitome_layers
from nes_lab.records.compression_plan import CompressionPlan
from nes_lab.records.preprocessing import Preprocessing
from nes_lab.runs import layout
from nes_lab.runs.bundled import BUNDLED_GROUP
from nes_lab.runs.files import read_json
from nes_lab.runs.imports import imports_of_run
from nes_lab.runs.info import RunInfo
from nes_lab.training.checkpoint import load_into, load_state, load_weights

if TYPE_CHECKING:
    from nes_lab.runs.store import RunStore

__all__ = ["TrainedNetwork", "save_trained", "trained_network"]


@dataclass(frozen=True)
class TrainedNetwork:
    """A network that a run has trained.

    Attributes:
        network: The network, on the CPU and in evaluation mode. Its attribute ``nes_lab_plan`` is its plan, if it has
            one.
        input_shape: Shape of one input, without the batch axis.
        about: A dict with the run's id, the training step, and whether the weights are averaged. For the best checkpoint
            it also has the metric that decided, and its value.
        dtype: Type of the numbers of an input.
        text: Name of the network in messages, such as ``averaged weights of step 40, top1 60.3``.
    """

    network: nn.Module
    input_shape: tuple[int, ...]
    about: dict[str, Any]
    dtype: torch.dtype = torch.float32
    text: str = ""

    def example(self, shape: tuple[int, ...] | None = None) -> Tensor:
        """Return an input with a batch axis: random numbers, or zeros if inputs are integers.

        Args:
            shape: Shape of one input without the batch axis; None: that of the data.
        """
        size = (1, *(shape or self.input_shape))
        if not self.dtype.is_floating_point:
            return torch.zeros(size, dtype=self.dtype)
        return torch.randn(size, generator=torch.Generator().manual_seed(0))  # zeros would hide differences


def trained_network(
    store: RunStore, run_id: str, *, averaged: bool | None = None, best: bool = False, network: nn.Module | None = None
) -> TrainedNetwork:
    """Load the network of a run's newest or best checkpoint. The run may still be training.

    Its data is not needed, except for a run of version 0.1.0, which did not record the shape of its inputs.

    Args:
        store: The store of the run.
        run_id: Id of the run.
        averaged: True: the weights averaged over training (EMA). False: the weights that the optimizer updated. None: the
            better of both if ``best`` is True, otherwise the weights that the optimizer updated.
        best: Use the checkpoint with the best validation instead of the newest. The first metric of the run decides, usually
            top-1.
        network: The network that was given in memory when the run was created, or one with the same layers; it does not
            change. None: the run's files can make it.

    Raises:
        RunError: If the run has no checkpoint yet, or it was created with a network in memory and ``network`` is None.
        CheckpointError: If its checkpoints are damaged, or hold no averaged weights.
    """
    checkpoint = store.best_checkpoint(run_id, averaged) if best else store.latest_checkpoint(run_id)
    if checkpoint is None or checkpoint.state is None:
        raise RunError(_without_checkpoint(store.get(run_id), best))
    folder, info = store.path(run_id), store.get(run_id)
    config = _untaught(trained_config(folder) or load_config(info.config))
    with imports_of_run(folder):
        start = load_initial(folder, info, config, network)
        built = build(config, _stored_plan(folder), _recorded_data(store, run_id), start)
    _let_rest(built.model, load_state(checkpoint.state).get("routing"))
    mean = checkpoint.averaged if best else bool(averaged)
    load_into(built.model, load_weights(checkpoint.weights, ema=mean), checkpoint.weights)
    if built.plan is not None:
        built.model.nes_lab_plan = built.plan  # type: ignore[assignment]
    set_classes(built.model, built.data.classes)
    shown = built.data.preprocessing
    set_preprocessing(built.model, shown and replace(shown, source=f"run {run_id}"))
    about = {"run": run_id, "step": checkpoint.step, "averaged": mean}
    if checkpoint.score is not None:
        about |= {"metric": checkpoint.score.metric, "value": checkpoint.value}
    text = replace(checkpoint, averaged=mean).text()
    return TrainedNetwork(in_mode(built.model), built.data.input_shape, about, built.data.dtype, text)


def save_trained(
    store: RunStore,
    run_id: str,
    folder: str | Path,
    *,
    averaged: bool | None = None,
    best: bool = False,
    network: nn.Module | None = None,
) -> tuple[int, ...]:
    """Save the network of a run's newest checkpoint as a folder that ``from_pretrained``, ``export`` and ``tune`` read.

    The run may still be training.

    Args:
        store: The store of the run.
        run_id: Id of the run.
        folder: A new or empty folder.
        averaged: True: the weights averaged over training (EMA). False: the weights that the optimizer updated. None: the
            better of both if ``best`` is True, otherwise the weights that the optimizer updated. The folder's
            ``config.json`` says which weights it holds.
        best: Use the checkpoint with the best validation instead of the newest.
        network: The network that was given in memory when the run was created; None: the run's files can make it.

    Returns:
        The shape of one input, without the batch axis.

    Raises:
        RunError: If the run has no checkpoint yet.
        CheckpointError: If its checkpoints are damaged, or hold no averaged weights.

    Examples:
        >>> import tempfile
        >>> from nes_lab.experiment.run_experiment import run_experiment
        >>> from nes_lab.runs.store import RunStore
        >>> place = tempfile.mkdtemp()
        >>> store = RunStore(f"{place}/runs")
        >>> run_id = store.create({"data": {"limit": 64}, "training": {"epochs": 1, "threads": 1}})
        >>> _ = run_experiment(store, run_id)
        >>> save_trained(store, run_id, f"{place}/net")
        (1, 8, 8)
    """
    trained = trained_network(store, run_id, averaged=averaged, best=best, network=network)
    made_by_name = "network" not in store.get(run_id).given  # otherwise the folder is loaded with model=
    about = trained.about | {"source": trained.text}
    stamp = None if made_by_name else ""
    save_pretrained(trained.network, folder, backbone=stamp, metadata=about, verify=False)  # build has compared it
    return trained.input_shape


def _untaught(config: ExperimentConfig) -> ExperimentConfig:
    """Return the config without a teacher network and without initial weights.

    The teacher and the initial weights are not needed, because all weights are loaded from a checkpoint.
    """
    backbone = config.backbone.model_copy(update={"pretrained": False, "checkpoint": None, "new_head": False})
    training = config.training.model_copy(update={"kd_weight": 0.0})
    return config.model_copy(update={"backbone": backbone, "training": training})


def _recorded_data(store: RunStore, run_id: str) -> DatasetSpec | None:
    """Return a data set that has no examples, but knows the shape of its inputs and the number of classes.

    The run recorded both when it loaded its data. Return None if the run recorded nothing.
    """
    facts = [event for event in store.events(run_id) if event["kind"] == "data" and "input_shape" in event]
    if not facts:
        return None
    classes, shape = facts[-1]["classes"], tuple(facts[-1]["input_shape"])
    nothing: Any = None
    return DatasetSpec(
        name=facts[-1]["name"],
        classes=tuple(facts[-1].get("class_names") or ("",) * classes),  # version 0.1 did not record the names
        image_size=0,
        in_channels=facts[-1]["in_channels"],
        train=nothing,
        val=nothing,
        mean=(),
        std=(),
        shape=shape,
        dtype=getattr(torch, facts[-1]["dtype"]),
        preprocessing=Preprocessing.from_dict(shown) if (shown := facts[-1].get("preprocessing")) else None,
    )


def _stored_plan(folder: Path) -> CompressionPlan | None:
    path = folder / layout.PLAN
    return CompressionPlan.from_dict(read_json(path)) if path.exists() else None


def _without_checkpoint(info: RunInfo, best: bool) -> str:
    """Return a message that says why a run has no network to load. For a bundled run, its notes say why."""
    why = " ".join(info.notes) if info.group == BUNDLED_GROUP else ""
    known = f". {why}" if why else ", so there is no network to load"
    return f"run {info.id} has no{' best' * best} checkpoint{'' if why else ' yet'}{known}"


def _let_rest(model: nn.Module, routing: object) -> None:
    """Freeze the starts of all epitome layers, or round them to integers, as it was done in the saved training.

    Starts are the positions at which a layer reads its epitome. Frozen starts are no longer learned. If the training
    neither froze nor rounded the starts, nothing changes.
    """
    done = routing if isinstance(routing, dict) else {}
    for _, layer in epitome_layers(model):
        if done.get("snapped"):
            layer.snap()
        elif done.get("frozen"):
            layer.freeze()
