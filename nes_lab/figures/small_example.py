"""Give the data and the JavaScript of the smallest example: an epitome of 6 numbers, and the weight of 12 that is read from it.

The browser computes the weight by the same functions as the explorer (``figures/static/sampling.js``).

Tests: tests/figures/test_small_example.py
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

__all__ = ["EPITOME", "PATCH_LENGTH", "STARTS", "small_example", "small_example_js"]

EPITOME = (0.8, -0.5, 0.3, 0.9, -0.7, 0.2)
STARTS = (0.0, 1.4, 2.0)
PATCH_LENGTH = 4

_STATIC = Path(__file__).parent / "static"


def small_example() -> dict[str, Any]:
    """Return the layer that the example draws, as data for JSON: one output channel, 12 input channels, 3 patches of 4.

    Examples:
        >>> small_example()["weightShape"], small_example()["starts"][1]
        ([1, 12], [0.0, 1.4, 2.0])
    """
    return {
        "weightShape": [1, len(STARTS) * PATCH_LENGTH],
        "epitomeShape": [1, len(EPITOME)],
        "patchShape": [1, PATCH_LENGTH],
        "scope": "separable",
        "boundary": "clamp",
        "starts": [None, list(STARTS)],
        "epitome": list(EPITOME),
    }


@cache
def small_example_js() -> str:
    """Return the JavaScript of the example as one module, which exports ``drawSmallExample(node, layer)``."""
    sampling, example = ((_STATIC / name).read_text(encoding="utf-8") for name in ("sampling.js", "small_example.js"))
    alone = re.sub(r'^import \{[^}]*\} from "\./sampling\.js";\n', "", example, flags=re.MULTILINE)
    return f"{sampling}\n{alone}"
