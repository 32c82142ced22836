"""From a config to what is trained: data, backbone, plan, the compressed network and its teacher; no run, no training."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field, fields
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor, nn

from nes_lab.config import ExperimentConfig
from nes_lab.cost.count import count
from nes_lab.datasets.registry import load_dataset
from nes_lab.datasets.sampling import keyed_generator, stream_seed
from nes_lab.datasets.spec import DatasetSpec
from nes_lab.errors import OptionError
from nes_lab.fitting.fit import fit
from nes_lab.models.create import dense_backbone
from nes_lab.nn.inspect import epitome_layers
from nes_lab.planning.from_config import plan_from_config
from nes_lab.records.compression_plan import CompressionPlan
from nes_lab.records.cost_report import CostReport
from nes_lab.records.fit_report import FitReport
from nes_lab.surgery.replace import compress
from nes_lab.training.device import check_processes, pick_device
from nes_lab.training.recipe import Recipe
from nes_lab.training.recipe_checks import check_recipe, check_training
from nes_lab.training.rng import isolated_rng
from nes_lab.training.trackers import check_trackers

__all__ = ["Built", "build", "check", "recipe_of"]


@dataclass(frozen=True)
class Built:
    """All that a config stands for, before any training.

    Attributes:
        model: The network to train, compressed if the config says so, on the CPU.
        plan: What was replaced; None for a dense network.
        data: The dataset, checked; its splits serve the batches.
        dense_cost: What the backbone costs uncompressed, for one input.
        cost: What ``model`` costs, for one input.
        teacher: The dense network to distil from, in evaluation mode; None without distillation.
        fit: How near the epitomes came to the dense weights, where they were searched for.
    """

    model: nn.Module
    plan: CompressionPlan | None
    data: DatasetSpec
    dense_cost: CostReport
    cost: CostReport
    teacher: nn.Module | None = field(default=None, repr=False)
    fit: FitReport | None = field(default=None, repr=False)


def build(config: ExperimentConfig, plan: CompressionPlan | None = None, data: DatasetSpec | None = None) -> Built:
    """Load the data, make the backbone from the config's seed, and compress it. Global random states are left alone.

    Args:
        config: What to build.
        plan: Compress by this plan instead of making one, e.g. that of the run to be resumed. The weights are then those of
            a checkpoint to come: nothing is fitted.
        data: What :func:`check` has loaded for this very config, so that it is read only once.

    Raises:
        DataError: If the data is missing, incomplete or damaged.
        OptionError: If the backbone or the dataset is not known, or there is no teacher to distil from.
        CheckpointError: If weights to begin with cannot be read, or are of another network.
        BudgetError: If the budget cannot be met; names the least that can be reached.

    Examples:
        >>> from nes_lab.config import load_config
        >>> built = build(load_config({"compression": {"madds": "60%", "round_to": 1}}))
        >>> built.cost.madds <= 0.6 * built.dense_cost.madds
        True
    """
    if data is None:
        data = load_dataset(config.data, seed=config.seed)
    dense = _backbone(config, data)
    example = torch.zeros(1, *data.input_shape)
    dense_cost = count(dense, example)
    teacher = _teacher(config, data, dense)
    if config.compression is None:
        return Built(dense, None, data, dense_cost, dense_cost, teacher)
    resumed = plan is not None
    plan = plan or plan_from_config(dense, example, config.compression, config.seed)
    if config.compression.search_starts and not resumed:
        model, report = _searched(config, plan, dense, data)
    else:
        initial_weights = "reset" if resumed else config.compression.initial_weights
        model, report = (
            compress(dense, plan, initial_weights=initial_weights, generator=keyed_generator(config.seed, 2)),
            None,
        )
        if config.compression.snap:  # the starts to come are those of a search among whole cells
            for _, layer in epitome_layers(model):
                layer.snap()
    return Built(model, plan, data, dense_cost, count(model, example), teacher, report)


def check(config: ExperimentConfig) -> DatasetSpec | None:
    """Find the mistakes that can be known before a run exists: device, data, backbone, compression and training.

    Data that is to be downloaded is left to the run.

    Returns:
        The data, for :func:`build`; None where it is still to be downloaded.

    Raises:
        OptionError: If the device, the backbone or the preset is not known here, or the training does not suit the data.
        DataError: If the data is missing, incomplete or damaged.
        CheckpointError: If weights to begin with cannot be read, or are of another network.
        BudgetError: If the budget cannot be met.

    Examples:
        >>> from nes_lab.config import load_config
        >>> check(load_config({"compression": {"madds": "60%", "round_to": 1}})).name
        'digits'
    """
    device = pick_device(config.training.device)
    check_processes(device, config.training.processes)
    check_trackers(config.training.trackers)
    recipe = recipe_of(config)
    check_recipe(recipe, device)
    if config.data.download:
        return None
    data = load_dataset(config.data, seed=config.seed)
    dense, example = _backbone(config, data), torch.zeros(1, *data.input_shape)
    _teacher(config, data, dense)
    if config.compression is None:
        count(dense, example)  # such inputs may be none for this network
    else:
        plan_from_config(dense, example, config.compression, config.seed)
    check_training(recipe, data, dense, config.training.processes)
    return data


def recipe_of(config: ExperimentConfig) -> Recipe:
    """The flat recipe that the training section and the batch size stand for; configs end here.

    Examples:
        >>> from nes_lab.config import load_config
        >>> recipe_of(load_config({"data": {"batch_size": 8}, "training": {"lr": 0.5}})).lr
        0.5
    """
    known = {item.name for item in fields(Recipe)}
    wanted = {name: value for name, value in config.training.model_dump().items() if name in known}
    return Recipe(batch_size=config.data.batch_size, **wanted)


def _backbone(config: ExperimentConfig, data: DatasetSpec, checkpoint: Path | None = None) -> nn.Module:
    """The dense network with the weights it begins with, or those of another file."""
    wanted = config.backbone
    try:
        with isolated_rng(0):
            return dense_backbone(
                wanted.name,
                pretrained=wanted.pretrained and checkpoint is None,
                checkpoint=checkpoint or wanted.checkpoint,
                new_head=wanted.new_head and checkpoint is None,
                seed=stream_seed(config.seed, 1),
                num_classes=data.num_classes,
                in_channels=data.in_channels,
                width=wanted.width,
                **wanted.options,
            )
    except TypeError as error:
        raise OptionError(f"backbone.options={wanted.options!r} does not suit {wanted.name!r}: {error}") from error


def _teacher(config: ExperimentConfig, data: DatasetSpec, dense: nn.Module) -> nn.Module | None:
    training, backbone = config.training, config.backbone
    if not training.kd_weight:
        return None
    if training.kd_checkpoint is not None:
        teacher = _backbone(config, data, training.kd_checkpoint)
    elif backbone.pretrained or backbone.checkpoint is not None:
        if backbone.new_head:
            raise OptionError(
                f"training.kd_weight={training.kd_weight:g}: with backbone.new_head the dense network's classifier knows "
                "nothing yet; train it first and give its weights as training.kd_checkpoint"
            )
        teacher = copy.deepcopy(dense)
    else:
        raise OptionError(
            f"training.kd_weight={training.kd_weight:g} needs a teacher that has learned: give training.kd_checkpoint, "
            "backbone.checkpoint or backbone.pretrained"
        )
    return teacher.eval().requires_grad_(False)


def _searched(
    config: ExperimentConfig, plan: CompressionPlan, dense: nn.Module, data: DatasetSpec
) -> tuple[nn.Module, FitReport]:
    """Fit epitomes and starts to the dense weights, calibrated on training images if asked."""
    wanted = config.compression
    assert wanted is not None  # build asks only then
    batches = _calibration(data, wanted.calibration, config.seed)
    dense.eval()
    about = {"snap": wanted.snap, "calibration": batches, "norms": batches, "seed": config.seed}
    model, report = fit(dense, plan, search_starts=True, **about)
    return model.train(), report


def _calibration(data: DatasetSpec, images: int, seed: int) -> list[Tensor] | None:
    if not images:
        return None
    size = max(1, min(32, images, len(data.train)))
    batches = data.train.train_batches(size, seed=stream_seed(seed, 3), epoch=0)
    return [inputs for inputs, _ in islice(batches, -(-images // size))]
