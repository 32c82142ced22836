"""Make a table of the settings in which some runs differ, with names that people can read.

Tests: tests/runs/test_query.py.
"""

from __future__ import annotations

from collections.abc import Sequence

from nes_lab.records.columns import Column
from nes_lab.records.table import Table
from nes_lab.runs.info import RunInfo
from nes_lab.runs.query import config_difference
from nes_lab.text import format_value

__all__ = ["compared_settings", "setting_title"]

DENSE = "dense"
_TITLES = {
    "label": "Label",
    "seed": "Seed",
    "extended_from": "Trained further from",
    "backbone.name": "Network",
    "backbone.width": "Width of the network",
    "backbone.pretrained": "Pretrained weights",
    "data.name": "Data set",
    "data.root": "Folder of the data",
    "data.limit": "Images used at most",
    "data.holdout": "Images held out for validation",
    "data.batch_size": "Images in a batch",
    "compression": "Compression",
    "compression.madds": "Budget of MAdds",
    "compression.params": "Budget of params",
    "compression.latency_ms": "Budget of time, ms",
    "compression.preset": "Preset",
    "compression.routing": "Routing",
    "compression.scope": "Scope of the starts",
    "compression.patch": "Patch",
    "compression.round_to": "Channels rounded to",
    "compression.include": "Only these layers",
    "compression.exclude": "Not these layers",
    "compression.initial_weights": "Weights at the beginning",
    "training.epochs": "Epochs",
    "training.lr": "Learning rate",
    "training.batch_size": "Images in a batch",
    "training.weight_decay": "Weight decay",
    "training.warmup_epochs": "Epochs of warm-up",
    "training.starts_lr_scale": "Learning rate of the starts, as a multiple",
    "training.ema_decay": "Decay of the averaged weights",
}
_GIVEN = ("name", "root", "checkpoint", "kd_checkpoint", "start", "label", "class_order", "extended_from", "optimizer")
"""Settings whose text is a name or a path."""
_SECTIONS = {"data": "Data", "backbone": "Network", "compression": "Compression", "training": "Training"}
_WORDS = {
    "lr": "learning rate",
    "madds": "MAdds",
    "ema": "averaged weights",
    "ms": "(ms)",
    "min": "least",
    "max": "largest",
}


def setting_title(path: str) -> str:
    """Return a name for a field of the configuration that people can read.

    Args:
        path: Dotted path of the field.

    Examples:
        >>> setting_title("training.lr"), setting_title("training.label_smoothing")
        ('Learning rate', 'Training: label smoothing')
    """
    if path in _TITLES:
        return _TITLES[path]
    section, _, rest = path.partition(".")
    words = " ".join(_WORDS.get(word, word) for word in (rest or section).replace(".", " ").split("_"))
    return f"{_SECTIONS.get(section, section)}: {words}" if rest else words[:1].upper() + words[1:]


def compared_settings(runs: Sequence[RunInfo]) -> Table:
    """Return a table with one row per setting in which the runs differ, and one column per run.

    Settings of the compression are compared among the runs that are compressed. Values are words: ``both axes``, ``yes``, ``no``.

    Examples:
        >>> runs = [RunInfo("a", label="first", config={"seed": 0}), RunInfo("b", config={"seed": 1})]
        >>> print(compared_settings(runs).text())
        setting    first    b
        ---------  -------  ---
        Seed       0        1
    """
    shown = [Column("field", "setting", "Name of the setting.")]
    shown += [Column(f"run-{place}", info.label or info.id, "Value in this run.") for place, info in enumerate(runs)]
    compressed = [place for place, info in enumerate(runs) if info.config.get("compression")]
    rows = []
    for path, values in config_difference(runs).items():
        if path == "compression.routing":
            values = [values[place] if place in compressed else DENSE for place in range(len(runs))]
        elif path.startswith("compression"):
            # a dense run has none of these settings, which its row "Routing" says
            among = [values[place] for place in compressed]
            if all(value == among[0] for value in among):
                continue
        if path == "label":  # the heads of the columns
            continue
        texts = {f"run-{place}": _text(path, value) for place, value in enumerate(values)}
        rows.append({"field": setting_title(path)} | texts)
    return Table(shown, rows)


def _text(path: str, value: object) -> str:
    """Return the value of a setting as people write it. Names that a user gives stay as they are."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str) and path.rpartition(".")[2] not in _GIVEN:
        return value.replace("_", " ")
    return format_value(value)
