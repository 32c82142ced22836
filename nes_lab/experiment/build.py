"""Build what a config describes: data, backbone, plan, the compressed network and its teacher. Nothing is trained here."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field, fields, replace
from itertools import islice
from pathlib import Path

from torch import Tensor, nn

from nes_lab.backbones.imported import check_outputs
from nes_lab.config import ExperimentConfig
from nes_lab.cost.count import count
from nes_lab.cost.probe import in_mode
from nes_lab.datasets.sampling import keyed_generator, stream_seed
from nes_lab.datasets.spec import DatasetSpec
from nes_lab.errors import OptionError
from nes_lab.experiment.initial_network import is_compressed
from nes_lab.experiment.load_data import load_data
from nes_lab.fitting.fit import fit
from nes_lab.import_spec import is_import_spec
from nes_lab.models.create import dense_backbone
from nes_lab.nn.copy_network import copy_network
from nes_lab.planning.from_config import plan_from_config
from nes_lab.progress_bar import OnProgress
from nes_lab.records.compression_plan import CompressionPlan
from nes_lab.records.cost_report import CostReport
from nes_lab.records.fit_report import FitReport
from nes_lab.surgery.replace import materialize, replace_layers
from nes_lab.surgery.verify import why_not_verified
from nes_lab.training.device import check_processes, pick_device
from nes_lab.training.recipe import Recipe
from nes_lab.training.recipe_checks import check_recipe, check_training
from nes_lab.training.rng import isolated_rng
from nes_lab.training.trackers import check_trackers

__all__ = ["Built", "build", "check", "recipe_of"]


@dataclass(frozen=True)
class Built:
    """Everything that a config describes, before any training: network, plan, data, costs and teacher.

    Attributes:
        model: The network to train, on the CPU. It is compressed if the config says so.
        plan: The compression plan; None for a dense network.
        data: The checked dataset, with its splits.
        dense_cost: Params and multiply-adds of the uncompressed backbone, for one input.
        cost: Params and multiply-adds of ``model``, for one input.
        teacher: The dense network to distill from, in evaluation mode; None without distillation.
        fit: How well the epitomes match the dense weights; None if the epitomes were not fitted to them.
    """

    model: nn.Module
    plan: CompressionPlan | None
    data: DatasetSpec
    dense_cost: CostReport
    cost: CostReport
    teacher: nn.Module | None = field(default=None, repr=False)
    fit: FitReport | None = field(default=None, repr=False)


def build(
    config: ExperimentConfig,
    plan: CompressionPlan | None = None,
    data: DatasetSpec | None = None,
    network: nn.Module | None = None,
    on_progress: OnProgress | None = None,
) -> Built:
    """Load the data, create the backbone with the config's seed, and compress it. Global random states do not change.

    Args:
        config: The configuration of the experiment.
        plan: The compression plan of a run that is resumed; None makes a plan from the config. If a plan is given, the epitomes
            are not fitted to the dense weights. The caller later loads the epitomes from a checkpoint.
        data: The data that :func:`check` returned for the same config; None loads it.
        network: The network to start from, dense or compressed. A compressed one is not compressed again. None creates the backbone.
        on_progress: Function that is called with a :class:`~nes_lab.progress_bar.ProgressEvent` while the plan is made and the
            epitomes are fitted; None: nothing is called.

    Raises:
        DataError: If the data is missing, incomplete or damaged.
        OptionError: If the backbone or the dataset is not known, or there is no teacher to distill from.
        CheckpointError: If the initial weights cannot be read, or belong to another network.
        BudgetError: If the budget cannot be met. The message names the smallest budget that can be met.

    Examples:
        >>> from nes_lab.config import load_config
        >>> built = build(load_config({"compression": {"madds": "60%", "round_to": 1}}))
        >>> built.cost.madds <= 0.6 * built.dense_cost.madds
        True
    """
    if data is None:
        data = load_data(config, network)
    dense = _backbone(config, data) if network is None else network
    example = data.example_input()
    teacher = _teacher(config, data, dense, network)
    if is_compressed(dense):
        stored = getattr(dense, "nes_lab_plan", None)
        dense_cost = count(materialize(dense), example)
        plan = plan or stored
        _verify(dense, plan, example)
        return Built(dense, plan, data, dense_cost, count(dense, example), teacher)
    dense_cost = count(dense, example)
    if config.compression is None:
        return Built(dense, None, data, dense_cost, dense_cost, teacher)
    resumed = plan is not None
    plan = plan or plan_from_config(dense, example, config.compression, config.seed, on_progress=on_progress)
    if config.compression.search_starts and not resumed:
        model, report = _searched(config, plan, dense, data, example, on_progress)
    else:
        initial_weights = "reset" if resumed else config.compression.initial_weights
        # searched starts are integers from the beginning; without a search, training.starts_snap_epoch rounds them later
        now = replace(plan, snap=config.compression.snap and config.compression.search_starts)
        model, report = (
            replace_layers(dense, now, initial_weights=initial_weights, generator=keyed_generator(config.seed, 2)),
            None,
        )
        if not resumed:
            _verify(model, plan, example, dense)
    return Built(model, plan, data, dense_cost, count(model, example), teacher, report)


def _verify(model: nn.Module, plan: CompressionPlan | None, example: Tensor, dense: nn.Module | None = None) -> None:
    """Compare a compressed network with its plan before it is trained: an error names the layers that differ.

    Args:
        model: The compressed network.
        plan: Its plan; None: there is nothing to compare with.
        example: One input.
        dense: The network that was compressed; None if it is not available.
    """
    why_not = "" if plan is None else why_not_verified(model, plan, example, dense)
    if why_not:
        warnings.warn(f"the compressed network is not verified: {why_not}", stacklevel=3)


def check(
    config: ExperimentConfig, data: DatasetSpec | None = None, network: nn.Module | None = None
) -> DatasetSpec | None:
    """Check a config before a run is created: its device, data, backbone, compression and training.

    If the config says to download the data, only the device and the training options are checked. The run downloads the data
    and checks the rest.

    Args:
        config: The configuration of the experiment.
        data: The data, if it is loaded already; None loads the data that the config names.
        network: The network to start from, dense or compressed; None creates the backbone.

    Returns:
        The data, which can be passed to :func:`build`; None if the run will download the data.

    Raises:
        OptionError: If the device, the backbone or the compression preset is not available, or the training options do not suit
            the data.
        DataError: If the data is missing, incomplete or damaged.
        CheckpointError: If the initial weights cannot be read, or belong to another network.
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
    if data is None and config.data.download:
        return None
    data = load_data(config, network) if data is None else data
    dense, example = _backbone(config, data) if network is None else network, data.example_input()
    _teacher(config, data, dense, network)
    if config.compression is None:
        count(dense, example)  # raises an error if the network cannot take inputs of this shape
    else:
        plan_from_config(dense, example, config.compression, config.seed)
    check_training(recipe, data, dense, config.training.processes)
    return data


def recipe_of(config: ExperimentConfig) -> Recipe:
    """Return the training recipe of a config.

    The recipe holds the fields of the config's training section, and the batch size from the config's data section.

    Examples:
        >>> from nes_lab.config import load_config
        >>> recipe_of(load_config({"data": {"batch_size": 8}, "training": {"lr": 0.5}})).lr
        0.5
    """
    names = {item.name for item in fields(Recipe)}
    options = {name: value for name, value in config.training.model_dump().items() if name in names}
    return Recipe(batch_size=config.data.batch_size, **options)


def _backbone(config: ExperimentConfig, data: DatasetSpec, checkpoint: Path | None = None) -> nn.Module:
    """Return the dense network of a config, with the weights in the file ``checkpoint``.

    If ``checkpoint`` is None, the network gets the initial weights that the config names.
    """
    backbone = config.backbone
    try:
        with isolated_rng(0):
            network = dense_backbone(
                backbone.name,
                pretrained=backbone.pretrained and checkpoint is None,
                checkpoint=checkpoint or backbone.checkpoint,
                new_head=backbone.new_head and checkpoint is None,
                seed=stream_seed(config.seed, 1),
                num_classes=data.num_classes,
                in_channels=data.in_channels,
                width=backbone.width,
                **backbone.options,
            )
    except TypeError as error:
        raise OptionError(f"backbone.options={backbone.options!r} does not suit {backbone.name!r}: {error}") from error
    except OptionError as error:
        if not isinstance(error.__cause__, TypeError):
            raise
        raise OptionError(f"backbone.{error}") from error
    if is_import_spec(backbone.name):
        check_outputs(network, backbone.name, data.example_input(), data.num_classes)
    return network


def _teacher(
    config: ExperimentConfig, data: DatasetSpec, dense: nn.Module, start: nn.Module | None
) -> nn.Module | None:
    """Return the dense network whose outputs the network learns to imitate; None without distillation.

    Args:
        config: The configuration of the experiment.
        data: The data.
        dense: The network before it is compressed.
        start: The network from which the run starts; None: it starts from a new backbone.
    """
    training, backbone = config.training, config.backbone
    if not training.kd_weight:
        return None
    if training.kd_checkpoint is not None:
        teacher = _backbone(config, data, training.kd_checkpoint)
    elif backbone.pretrained or backbone.checkpoint is not None or (start is not None and not is_compressed(start)):
        if backbone.new_head:
            raise OptionError(
                f"training.kd_weight={training.kd_weight:g}: with backbone.new_head the dense network's classifier "
                "is untrained; train it first and give its weights as training.kd_checkpoint"
            )
        teacher = copy_network(dense)
    else:
        raise OptionError(
            f"training.kd_weight={training.kd_weight:g} needs a teacher that has learned: give training.kd_checkpoint, "
            "backbone.checkpoint or backbone.pretrained"
            + ("" if start is None else "; the start is compressed already, so it cannot teach")
        )
    return in_mode(teacher).requires_grad_(False)


def _searched(
    config: ExperimentConfig,
    plan: CompressionPlan,
    dense: nn.Module,
    data: DatasetSpec,
    example: Tensor,
    on_progress: OnProgress | None,
) -> tuple[nn.Module, FitReport]:
    """Compress ``dense``, and search for the starts with which the epitomes match the dense weights best.

    Starts are the positions at which a layer reads its epitome. If the config gives a number of training images, the
    search also makes the outputs of the layers on these images match those of the dense layers.

    Returns:
        The compressed network, and a report on how well the epitomes match the dense weights.
    """
    compression = config.compression
    assert compression is not None  # build calls this only for a compressed network
    batches = _calibration(data, compression.calibration, config.seed)
    dense.eval()
    in_turn = compression.sequential  # such a fit corrects the norms on the way
    about = {"calibration": batches, "sequential": in_turn, "norms": None if in_turn else batches, "seed": config.seed}
    called = {"search_starts": True, "example_input": example, "on_progress": on_progress}
    model, report = fit(dense, plan, **called, **about)
    return in_mode(model, training=True), report


def _calibration(data: DatasetSpec, images: int, seed: int) -> list[Tensor] | None:
    if not images:
        return None
    size = max(1, min(32, images, len(data.train)))
    batches = data.train.train_batches(size, seed=stream_seed(seed, 3), epoch=0)
    return [inputs for inputs, _ in islice(batches, -(-images // size))]
