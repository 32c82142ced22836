"""The one source of every knob. See ``sections`` for the fields and ``load`` for how they are read."""

from nes_lab.config.base import Section
from nes_lab.config.load import Knob, knobs, load_config, read_yaml
from nes_lab.config.sections import BackboneConfig, CompressionConfig, DataConfig, ExperimentConfig
from nes_lab.config.sweep import Range, SweepConfig, load_sweep
from nes_lab.config.training import TrainingConfig

__all__ = [
    "BackboneConfig",
    "CompressionConfig",
    "DataConfig",
    "ExperimentConfig",
    "Knob",
    "Range",
    "Section",
    "SweepConfig",
    "TrainingConfig",
    "knobs",
    "load_config",
    "load_sweep",
    "read_yaml",
]
