"""Name settings and objectives of a sweep for people: no name of a configuration file is left.

Tests: tests/sweeps/test_form.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nes_lab.records.field_names import choice_words, field_words
from nes_lab.runs.measures import COSTS, RESULTS
from nes_lab.text import space_percent

__all__ = ["objective_words", "setting_words"]

_BARE = ("backbone.name", "compression.routing", "data.name")
"""Fields whose values say by themselves what they are."""


def setting_words(settings: Mapping[str, Any]) -> str:
    """Return settings in a sentence.

    Args:
        settings: Path of each field, and its value.

    Examples:
        >>> setting_words({"compression.madds": "50%", "compression.routing": "tiled", "training.lr": 0.05, "seed": 1})
        'MAdds 50 %, tiled, learning rate 0.05, seed 1'
        >>> setting_words({"compression": None, "seed": 1}), setting_words({"compression": {"madds": "60%"}})
        ('dense, seed 1', 'compressed (MAdds 60 %)')
    """
    return ", ".join(_words(path, value) for path, value in settings.items())[:500]


def objective_words(name: str) -> str:
    """Return the name of an objective in a sentence.

    Examples:
        >>> objective_words("top1"), objective_words("best_ema_top1")
        ('top-1', 'best ema top-1')
    """
    known = COSTS | RESULTS
    return known[name].name if name in known else name.replace("_", " ").replace("top1", "top-1")


def _words(path: str, value: Any) -> str:
    if path == "compression":
        inner = setting_words({f"compression.{name}": each for name, each in (value or {}).items()})
        return "dense" if value is None else f"compressed ({inner})" if inner else "compressed"
    text = f"{value:.4g}" if isinstance(value, float) else space_percent(choice_words(path, str(value)))
    return text if path in _BARE else f"{field_words(path).removesuffix(' budget')} {text}"
