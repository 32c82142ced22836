"""Load the data that a configuration names, prepared for the backbone's weights if ``data.preprocess`` asks for it.

Tests: tests/backbones/test_preprocessing.py
"""

from __future__ import annotations

from torch import nn

from nes_lab.backbones.preprocessing import preprocessing_of
from nes_lab.backbones.registry import named_preprocessing
from nes_lab.config import ExperimentConfig
from nes_lab.datasets.registry import load_dataset
from nes_lab.datasets.spec import DatasetSpec
from nes_lab.records.preprocessing import Preprocessing

__all__ = ["load_data", "trained_preprocessing"]


def load_data(config: ExperimentConfig, network: nn.Module | None = None) -> DatasetSpec:
    """Load and check the data that a configuration names.

    Args:
        config: The configuration of the experiment.
        network: The network from which the run starts; None: the configuration names it.

    Raises:
        OptionError: If the data section is wrong, or ``data.preprocess`` asks for what is not known of this network.
        DataError: If the data is missing, incomplete or damaged.

    Examples:
        >>> from nes_lab.config import load_config
        >>> load_data(load_config({"data": {"limit": 64}})).num_classes
        10
    """
    backbone = trained_preprocessing(config, network) if config.data.preprocess == "backbone" else None
    return load_dataset(config.data, seed=config.seed, backbone=backbone)


def trained_preprocessing(config: ExperimentConfig, network: nn.Module | None = None) -> Preprocessing | None:
    """Return how images were prepared for the weights that a run begins with; None if it is not known.

    Args:
        config: The configuration of the experiment.
        network: The network from which the run starts; None: a backbone of timm has timm's data configuration.
    """
    return named_preprocessing(config.backbone.name) if network is None else preprocessing_of(network)
