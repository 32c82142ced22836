"""Find the settings of a configuration that have no effect, because data or a loss in memory takes their place."""

from __future__ import annotations

from nes_lab.config import ExperimentConfig
from nes_lab.datasets.spec import DatasetSpec
from nes_lab.errors import OptionError
from nes_lab.import_spec import is_import_spec
from nes_lab.records.result_notes import ONE_CLASS

__all__ = ["notes_on_data", "without_label_smoothing"]


def notes_on_data(config: ExperimentConfig, data: DatasetSpec | None, in_memory: bool) -> tuple[str, ...]:
    """Return sentences about the data: fields that do not apply, and what was noted when own data was read.

    Args:
        config: The configuration that the user wrote.
        data: The data of the run; None: it is not loaded yet.
        in_memory: Whether the data was given as ``data=``, so that the configuration does not decide it.

    Examples:
        >>> from nes_lab.config import load_config
        >>> notes_on_data(load_config({"data": {"limit": 64}}), None, in_memory=True)
        ('data= decides the data of the run; data.limit=64 does not apply',)
    """
    section = config.data
    loader = data is not None and data.batch_size is not None
    void = [name for name in type(section).model_fields if in_memory and name != "batch_size"]
    void += ["batch_size"] if loader and data is not None and data.batch_size != section.batch_size else []
    lost = [
        f"data.{name}={getattr(section, name)!r}"
        for name in void
        if name in section.model_fields_set and getattr(section, name) != type(section).model_fields[name].default
    ]
    is_own = in_memory or is_import_spec(section.name)
    own = data.notes if data is not None and is_own else ()
    own += (ONE_CLASS,) if data is not None and data.num_classes == 1 else ()
    if not lost:
        return own
    decides = "data= decides the data of the run" if in_memory else "the loaders decide the batch size"
    return (f"{decides}; {', '.join(lost)} {'does' if len(lost) == 1 else 'do'} not apply", *own)


def without_label_smoothing(config: ExperimentConfig) -> ExperimentConfig:
    """Return the configuration of a run with a loss of its own: without label smoothing, which only cross entropy has.

    Raises:
        OptionError: If the user wrote ``training.label_smoothing``.

    Examples:
        >>> from nes_lab.config import load_config
        >>> without_label_smoothing(load_config({})).training.label_smoothing
        0.0
    """
    training = config.training
    if "label_smoothing" in training.model_fields_set and training.label_smoothing:
        raise OptionError(
            f"training.label_smoothing={training.label_smoothing:g} smooths the labels of cross entropy; with loss= set it to 0"
        )
    return config.model_copy(update={"training": training.model_copy(update={"label_smoothing": 0.0})})
