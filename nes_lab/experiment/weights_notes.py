"""Say where the weights that a run starts from and its data may disagree, although their shapes fit.

Tests: tests/backbones/test_class_names.py
"""

from __future__ import annotations

from torch import nn

from nes_lab.backbones.class_names import classes_of
from nes_lab.backbones.preprocessing import preprocessing_note
from nes_lab.config import ExperimentConfig
from nes_lab.datasets.class_order import permutation_note, text_order_note
from nes_lab.datasets.spec import DatasetSpec
from nes_lab.experiment.load_data import trained_preprocessing

__all__ = ["notes_on_weights"]


def notes_on_weights(
    config: ExperimentConfig, data: DatasetSpec | None, network: nn.Module | None = None
) -> tuple[str, ...]:
    """Return sentences about trained weights that may not suit the data: other labels, or images prepared in another way.

    Args:
        config: The configuration of the run.
        data: The data of the run; None: it is not loaded yet.
        network: The network from which the run starts; None: the configuration names it.

    Examples:
        >>> from nes_lab.config import load_config
        >>> notes_on_weights(load_config({}), None)
        ()
    """
    if data is None:
        return ()
    return tuple(filter(None, [_order_note(config, data, network), _preprocessing_note(config, data, network)]))


def _order_note(config: ExperimentConfig, data: DatasetSpec, network: nn.Module | None) -> str:
    if config.backbone.new_head:
        return ""
    trained = None if network is None else classes_of(network)
    if trained is not None:
        return permutation_note(trained, data.classes)
    return text_order_note(data.classes) if _from_outside(config) else ""


def _preprocessing_note(config: ExperimentConfig, data: DatasetSpec, network: nn.Module | None) -> str:
    if not _from_outside(config):
        return ""
    note = preprocessing_note(trained_preprocessing(config, network), data.preprocessing)
    return f"{note}; data.preprocess: backbone prepares them so here" if note else ""


def _from_outside(config: ExperimentConfig) -> bool:
    """Return True if a classifier is loaded from a file or from timm, so that its labels are not known."""
    backbone, training = config.backbone, config.training
    taught = training.kd_weight and training.kd_checkpoint is not None
    return bool(backbone.pretrained or backbone.checkpoint is not None or config.start is not None or taught)
