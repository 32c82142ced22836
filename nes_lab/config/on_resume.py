"""Say which fields of a configuration may change between two parts of one training, and compare two configurations by field.

A new field of the configuration also needs a line in one of the three tables here.

Tests: tests/config/test_on_resume.py, tests/experiment/test_same_settings.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

from nes_lab.config.load import knobs
from nes_lab.config.sections import ExperimentConfig
from nes_lab.records.budget import parse_bytes, parse_latency, parse_quantity

__all__ = ["DECIDE", "MAY_CHANGE", "MAY_MOVE", "OnResume", "SettingChange", "on_resume", "setting_changes"]

OnResume = Literal["decides", "may change", "may move"]
"""What a field means for a run that is resumed: it decides the training, may change, or is a path whose files may move."""

MAY_CHANGE = {
    "label": "a text for people",
    "data.download": "the data is the same, wherever it comes from",
    "data.workers": "the number of processes that read does not change the batches",
    "data.skip_broken": "the images that were left out stay the same, because the number of examples is compared",
    "training.compile": "the same computation, up to rounding",
    "training.channels_last": "the same computation, up to rounding",
    "training.checkpoint_every_epochs": "when to save",
    "training.checkpoint_every_steps": "when to save",
    "training.keep_checkpoints": "how much to keep",
    "training.keep_gradients": "how much to keep",
    "training.log_every_steps": "when to report",
    "training.trackers": "where to report",
    "training.threads": "the same computation, up to rounding",
    "training.device": "the same computation, up to rounding",
}
"""Fields that may change when a run is resumed, and why."""

MAY_MOVE = {
    "data.root": "the relative path and the size of each file are compared",
    "data.class_order": "the class names are compared, in their order",
    "backbone.checkpoint": "the SHA-256 of the file is compared",
    "training.kd_checkpoint": "the SHA-256 of the file is compared",
}
"""Paths that may change when a run is resumed, because files can be moved, and how the content is compared."""

DECIDE = {
    "": "schema_version seed start",
    "data": "name image_size batch_size limit holdout augment color_jitter erase crop_scale interpolation normalize "
    "preprocess samples val_fold",
    "backbone": "name width pretrained new_head options",
    "compression": "params madds latency_ms stored_bytes preset strategy routing scope boundary patch_channels share windows epitome_dtype "
    "round_to wiring min_channels include exclude overrides reach squash momentum learner initial_weights search_starts calibration "
    "sequential snap",
    "training": "epochs optimizer lr momentum optimizer_options weight_decay schedule decay_epochs decay_rate min_lr "
    "warmup_epochs warmup_lr label_smoothing mixup cutmix ema_decay ema_warmup kd_weight kd_temperature amp accumulate "
    "processes sync_batchnorm starts_lr_scale starts_warmup_epochs starts_momentum_end starts_freeze_epoch starts_snap_epoch "
    "learner_every clip_grad",
}
"""Fields that decide what is trained and how, by section. A run in which one of them has changed is not resumed."""

QUANTITIES: dict[str, Callable[[Any], float | str | None]] = {
    "compression.params": parse_quantity,
    "compression.madds": parse_quantity,
    "compression.latency_ms": parse_latency,
    "compression.stored_bytes": parse_bytes,
}
"""Fields whose values can be written in several ways, and how they are read."""


class SettingChange(NamedTuple):
    """A field that differs between two configurations.

    Attributes:
        path: Dotted path of the field, such as ``training.lr``.
        before: Its value in the first configuration.
        now: Its value in the second one.
    """

    path: str
    before: Any
    now: Any

    def text(self) -> str:
        """Return the change as text.

        Examples:
            >>> SettingChange("training.lr", 0.05, 0.5).text()
            'training.lr was 0.05, is 0.5'
        """
        return f"{self.path} was {_shown(self.before)}, is {_shown(self.now)}"


def on_resume(path: str) -> OnResume:
    """Return what a field means for a run that is resumed. A field that is in no table decides the training.

    Args:
        path: Dotted path of the field.

    Examples:
        >>> on_resume("training.lr"), on_resume("training.device"), on_resume("data.root")
        ('decides', 'may change', 'may move')
    """
    return "may change" if path in MAY_CHANGE else "may move" if path in MAY_MOVE else "decides"


def setting_changes(before: ExperimentConfig, now: ExperimentConfig) -> list[SettingChange]:
    """Return the fields that differ between two configurations, in the order of the fields.

    A section that only one of them has, such as ``compression``, is one field. The same budget in another spelling, such as
    ``0.7`` for ``70%``, is not a difference.

    Examples:
        >>> from nes_lab.config import load_config
        >>> setting_changes(load_config({}), load_config({"seed": 7}))
        [SettingChange(path='seed', before=0, now=7)]
    """
    trees = before.model_dump(mode="json"), now.model_dump(mode="json")
    found: dict[str, SettingChange] = {}
    for knob in knobs():
        parts = knob.path.split(".")
        values: list[Any] = list(trees)
        for depth, part in enumerate(parts):
            values = [value[part] for value in values]
            if not all(isinstance(value, Mapping) for value in values) or depth + 1 == len(parts):
                path = ".".join(parts[: depth + 1])
                if not _agree(path, *values):
                    found[path] = SettingChange(path, *values)
                break
    return list(found.values())


def _agree(path: str, before: Any, now: Any) -> bool:
    """Return True if two values of a field mean the same."""
    if before == now or path not in QUANTITIES:
        return before == now
    numbers = [QUANTITIES[path](value) for value in (before, now)]
    one, other = (number if isinstance(number, float) else math.nan for number in numbers)
    return numbers[0] == numbers[1] or math.isclose(one, other, rel_tol=1e-12)


def _shown(value: Any) -> str:
    if value is None or value == "":
        return "empty"
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return text if len(text) <= 120 else text[:117] + "..."
