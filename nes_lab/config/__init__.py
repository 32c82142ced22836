"""Define the configuration of an experiment and of a sweep: the type, default, range and description of every field.

``base``: the base class of all sections of a configuration.
``sections``: the fields of an experiment and of its sections data, backbone and compression.
``training``: the fields of the training section.
``sweep``: the fields of a sweep, and a function that reads them from a file.
``load``: read the configuration of an experiment from a file or a mapping, and list its fields.
``changed``: say which fields differ from their defaults.
``written``: write a configuration as a command, as Python code and as YAML.
``on_resume``: say which fields may change when a run is resumed, and compare two configurations by field.
"""

from nes_lab.packages import needed_for

with needed_for("reading a configuration"):
    from nes_lab.config.base import Section
    from nes_lab.config.changed import changed_fields
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
    "changed_fields",
    "knobs",
    "load_config",
    "load_sweep",
    "read_yaml",
]
