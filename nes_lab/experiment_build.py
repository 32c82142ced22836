"""From a config to what is trained: data, backbone, plan and the compressed network; no run, no training."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from nes_lab.backbones.registry import create_backbone
from nes_lab.compress.compression_plan import CompressionPlan
from nes_lab.compress.surgery import compress
from nes_lab.compress.wanted import plan_as_wanted
from nes_lab.config import ExperimentConfig
from nes_lab.cost.count import count
from nes_lab.cost.report import CostReport
from nes_lab.datasets.registry import load_dataset
from nes_lab.datasets.sampling import keyed_generator, stream_seed
from nes_lab.datasets.spec import DatasetSpec
from nes_lab.training.device import pick_device
from nes_lab.training.rng import isolated_rng

__all__ = ["Built", "build", "check"]


@dataclass(frozen=True)
class Built:
    """All that a config stands for, before any training.

    Attributes:
        model: The network to train, compressed if the config says so, on the CPU.
        plan: What was replaced; None for a dense network.
        data: The dataset, checked; its splits serve the batches.
        dense_cost: What the backbone costs uncompressed, for one image.
        cost: What ``model`` costs, for one image.
    """

    model: nn.Module
    plan: CompressionPlan | None
    data: DatasetSpec
    dense_cost: CostReport
    cost: CostReport


def build(config: ExperimentConfig, plan: CompressionPlan | None = None) -> Built:
    """Load the data, make the backbone from the config's seed, and compress it. Global random states are left alone.

    Args:
        config: What to build.
        plan: Compress by this plan instead of making one, e.g. that of the run to be resumed.

    Raises:
        DataError: If the data is missing, incomplete or damaged.
        OptionError: If the backbone or the dataset is not known.
        BudgetError: If the budget cannot be met; names the least that can be reached.

    Examples:
        >>> built = build(load_config({"compression": {"madds": "60%", "round_to": 1}}))
        >>> built.cost.madds <= 0.6 * built.dense_cost.madds
        True
    """
    data = load_dataset(config.data, seed=config.seed)
    dense = _backbone(config, data)
    example = torch.zeros(1, *data.input_shape)
    dense_cost = count(dense, example)
    if config.compression is None:
        return Built(dense, None, data, dense_cost, dense_cost)
    plan = plan or plan_as_wanted(dense, example, config.compression, config.seed)
    model = compress(dense, plan, weights=config.compression.weights, generator=keyed_generator(config.seed, 2))
    return Built(model, plan, data, dense_cost, count(model, example))


def check(config: ExperimentConfig) -> None:
    """Find the mistakes that can be known before a run exists: device, data, backbone, and how it is compressed.

    Data that is to be downloaded is left to the run.

    Raises:
        OptionError: If the device, the backbone or the preset is not known here.
        DataError: If the data is missing, incomplete or damaged.
        BudgetError: If the budget cannot be met.

    Examples:
        >>> check(load_config({"compression": {"madds": "60%", "round_to": 1}}))
    """
    pick_device(config.training.device)
    if config.data.download:
        return
    data = load_dataset(config.data, seed=config.seed)
    dense = _backbone(config, data)
    if config.compression is not None:
        plan_as_wanted(dense, torch.zeros(1, *data.input_shape), config.compression, config.seed)


def _backbone(config: ExperimentConfig, data: DatasetSpec) -> nn.Module:
    with isolated_rng(stream_seed(config.seed, 1)):
        return create_backbone(
            config.backbone.name,
            num_classes=data.num_classes,
            in_channels=data.in_channels,
            width=config.backbone.width,
        )
