"""Turn snapshots of a layer into the data that the epitome explorer draws in a browser, and read the explorer's JavaScript.

The explorer computes the weight from epitome and starts by itself (``figures/static/sampling.js``), so that pointing at a patch needs
no answer from Python.

Tests: tests/figures/test_explorer.py
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from nes_lab.errors import OptionError
from nes_lab.geometry.flat_reads import sharing_layers
from nes_lab.geometry.layer_snapshot import LayerSnapshot

__all__ = ["explorer_data", "explorer_js", "missing_layer", "static_js"]

_STATIC = Path(__file__).parent / "static"
_MODULES = (
    "sampling",
    "flat_sampling",
    "numbers",
    "colors",
    "files",
    "view",
    "flat_view",
    "panes",
    "flat_panes",
    "words",
    "flat_words",
)
_MODULES += ("film", "explorer_style", "kinds", "explorer")


@cache
def explorer_js() -> str:
    """Return the JavaScript of the explorer as one module, which exports ``mount(node, data, options)``."""
    return static_js(*_MODULES)


def static_js(*names: str) -> str:
    """Return JavaScript modules of ``static/`` as one module.

    Args:
        names: Names of the modules, each after those that it imports.

    Examples:
        >>> "export function heat" in static_js("colors")
        True
    """
    texts = ((_STATIC / f"{name}.js").read_text(encoding="utf-8") for name in names)
    return "\n".join(re.sub(r'^import \{[^}]*\} from "\./\w+\.js";\n', "", text, flags=re.MULTILINE) for text in texts)


def explorer_data(
    history: Mapping[int, LayerSnapshot],
    title: str = "",
    facts: Sequence[str] = (),
    gradient_note: str = "",
    layers: Mapping[int, Mapping[str, LayerSnapshot]] | None = None,
) -> dict[str, Any]:
    """Return what the explorer draws of one layer: its shapes, its starts at every step, and its epitomes.

    Args:
        history: Training step -> snapshot of the layer. At least one snapshot has an epitome; steps without one show the epitome
            before them.
        title: Name of the run, for the head of its column where runs are compared.
        facts: Short texts for that head, such as ``"top-1 98.1 %"``.
        gradient_note: Sentence for the user if no snapshot has a gradient: why, and how a later run can keep them.
        layers: Training step -> all layers, by name. If the epitome is flat, the explorer says which of them read it too. None: it
            knows only this layer.

    Returns:
        A dict for JSON. Epitomes and gradients are base64 text of little-endian float32 numbers. Those that were stored with 8 bits
        are 8-bit integers; ``factors`` and ``gradientFactors`` have the number to multiply them with, by step. Starts are lists of
        numbers; those of a flat epitome are base64 text, or None where they are those of the step before.

    Raises:
        OptionError: If no snapshot has an epitome, or if the epitome is flat and no snapshot has the factors of its windows.

    Examples:
        >>> import nes_lab
        >>> layer = nes_lab.EpitomeLinear(16, 16, epitome_shape=(8, 8)).snapshot("fc")
        >>> data = explorer_data({0: layer})
        >>> data["weightShape"], data["steps"], data["starts"][0][0]
        ([16, 16], [0], [0.0, 0.0])
    """
    steps = sorted(history)
    kept = {step: epitome for step in steps if (epitome := history[step].epitome) is not None}
    if not kept:
        raise OptionError("history has no snapshot with an epitome; give at least one")
    gradients = {step: gradient for step in steps if (gradient := history[step].gradient) is not None}
    rounded = [step for step in kept if history[step].is_rounded]
    layer = history[steps[-1]]
    largest = np.quantile(np.abs(np.concatenate([values.ravel() for values in kept.values()])), 0.995)
    texts, factors = _texts(kept, rounded)
    gradient_texts, gradient_factors = _texts(gradients, list(gradients))
    is_flat = layer.scope == "flat"
    return {
        "name": layer.name,
        "about": {"title": title, "facts": list(facts)},
        "weightShape": list(layer.weight_shape),
        "epitomeShape": list(layer.epitome_shape),
        "patchShape": list(layer.patch_shape),
        "scope": layer.scope,
        "boundary": layer.boundary,
        "routing": layer.routing,
        "largest": float(largest) or 1.0,
        "steps": steps,
        "starts": [] if is_flat else [[_flat(axis) for axis in history[step].starts] for step in steps],
        "epitomes": texts,
        "factors": factors,
        "gradients": gradient_texts,
        "gradientFactors": gradient_factors,
        "gradientNote": gradient_note or "No gradients of the epitome were kept.",
        "rounded": rounded,
    } | (_windows(history, layers or {}) if is_flat else {})


def _windows(history: Mapping[int, LayerSnapshot], layers: Mapping[int, Mapping[str, LayerSnapshot]]) -> dict[str, Any]:
    """Return the factors of a layer's windows, and the shapes and starts of all layers that read its flat epitome."""
    steps = sorted(history)
    name = history[steps[-1]].name
    alphas = {str(step): _base64(alpha, "<f4") for step in steps if (alpha := history[step].alpha) is not None}
    if not alphas:
        raise OptionError(
            "history has no snapshot with the factors (alpha) of the windows; give one of a layer, not of its routing map"
        )
    last = layers.get(steps[-1], {})
    readers = sharing_layers(last, name) if name in last else {name: history[steps[-1]]}
    return {
        "windows": history[steps[-1]].windows,
        "alphas": alphas,
        "readers": [
            {
                "name": reader,
                "weightShape": list(copy.weight_shape),
                "patchShape": list(copy.patch_shape),
                "windows": copy.windows,
                "starts": _changing(
                    [
                        (history[step] if reader == name else layers.get(step, {}).get(reader, copy)).starts[0]
                        for step in steps
                    ]
                ),
            }
            for reader, copy in readers.items()
        ],
    }


def _changing(arrays: Sequence[np.ndarray | None]) -> list[str | None]:
    """Return the starts of each step as text; None where they are those of the step before."""
    texts = [_base64(np.asarray(array), "<f4") for array in arrays]
    return [text if not i or text != texts[i - 1] else None for i, text in enumerate(texts)]


def missing_layer(title: str, why: str) -> dict[str, Any]:
    """Return what the explorer shows in the column of a run that cannot be compared: its name and the reason.

    Examples:
        >>> missing_layer("tiled", "This run has no layer fc.")["missing"]
        'This run has no layer fc.'
    """
    return {"about": {"title": title, "facts": []}, "missing": why}


def _texts(arrays: Mapping[int, np.ndarray], rounded: Sequence[int]) -> tuple[dict[str, str], dict[str, float]]:
    """Return the numbers of each step as text, and the factors of those that are sent as 8-bit integers.

    Rounded numbers are multiples of their largest absolute value divided by 127, so nothing is lost.
    """
    texts, factors = {}, {}
    for step, values in arrays.items():
        largest = float(np.abs(values).max(initial=0.0))
        if step not in rounded or not np.isfinite(largest):
            texts[str(step)] = _base64(values, "<f4")
            continue
        factors[str(step)] = largest / 127 or 1.0
        texts[str(step)] = _base64(np.rint(values / factors[str(step)]), "i1")
    return texts, factors


def _flat(starts: np.ndarray | None) -> list[float] | None:
    return None if starts is None else np.asarray(starts, dtype=np.float64).ravel().tolist()


def _base64(values: np.ndarray, kind: str) -> str:
    return base64.b64encode(np.ascontiguousarray(values, dtype=kind).tobytes()).decode("ascii")
