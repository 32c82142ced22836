"""Every field of an experiment and of a sweep, defined once: type, default, range and description.

``base``: what all sections share: frozen, no unknown fields, clear messages.
``sections``: the experiment and its sections: data, backbone, compression.
``training``: the training section.
``sweep``: the sweep file.
``load``: read a configuration from a file or a mapping, and list its fields.
"""

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
