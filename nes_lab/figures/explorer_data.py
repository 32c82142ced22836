"""Turn snapshots of a layer into the data that the epitome explorer draws in a browser, and read the explorer's JavaScript.

The explorer computes the weight from epitome and starts by itself (``figures/static/sampling.js``), so that pointing at a patch needs
no answer from Python.

Tests: tests/figures/test_explorer.py
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from nes_lab.errors import OptionError
from nes_lab.geometry.layer_snapshot import LayerSnapshot

__all__ = ["explorer_data", "explorer_js"]

_STATIC = Path(__file__).parent / "static"


@cache
def explorer_js() -> str:
    """Return the JavaScript of the explorer as one module, which exports ``mount(node, data, options)``."""
    sampling, explorer = ((_STATIC / name).read_text(encoding="utf-8") for name in ("sampling.js", "explorer.js"))
    alone = re.sub(r'^import \{[^}]*\} from "\./sampling\.js";\n', "", explorer, flags=re.MULTILINE)
    return f"{sampling}\n{alone}"


def explorer_data(history: Mapping[int, LayerSnapshot]) -> dict[str, Any]:
    """Return what the explorer draws of one layer: its shapes, its starts at every step, and its epitomes.

    Args:
        history: Training step -> snapshot of the layer. At least one snapshot has an epitome; steps without one show the epitome
            before them.

    Returns:
        A dict for JSON. Epitomes are base64 text of little-endian float32 numbers.

    Raises:
        OptionError: If no snapshot has an epitome.

    Examples:
        >>> import nes_lab
        >>> layer = nes_lab.EpitomeLinear(16, 16, epitome_shape=(8, 8)).snapshot("fc")
        >>> data = explorer_data({0: layer})
        >>> data["weightShape"], data["steps"], data["starts"][0][0]
        ([16, 16], [0], [0.0, 0.0])
    """
    steps = sorted(history)
    epitomes = {step: history[step].epitome for step in steps}
    kept = {step: values for step, values in epitomes.items() if values is not None}
    if not kept:
        raise OptionError("history has no snapshot with an epitome; give at least one")
    layer = history[steps[-1]]
    largest = np.quantile(np.abs(np.concatenate([values.ravel() for values in kept.values()])), 0.995)
    return {
        "name": layer.name,
        "weightShape": list(layer.weight_shape),
        "epitomeShape": list(layer.epitome_shape),
        "patchShape": list(layer.patch_shape),
        "scope": layer.scope,
        "boundary": layer.boundary,
        "routing": layer.routing,
        "largest": float(largest) or 1.0,
        "steps": steps,
        "starts": [[_flat(axis) for axis in history[step].starts] for step in steps],
        "epitomes": {str(step): _base64(values) for step, values in kept.items()},
        "rounded": [step for step in kept if history[step].is_rounded],
    }


def _flat(starts: np.ndarray | None) -> list[float] | None:
    return None if starts is None else np.asarray(starts, dtype=np.float64).ravel().tolist()


def _base64(values: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(values, dtype="<f4").tobytes()).decode("ascii")
