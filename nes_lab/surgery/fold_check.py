"""Compare a network with its copy in which norms are folded, and find the norms that must not be folded.

A norm must not be folded if the network reads the output of the layer before it in another place too.

Tests: tests/surgery/test_fuse.py
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map_only

from nes_lab.cost.probe import evaluating, run_example
from nes_lab.errors import OptionError
from nes_lab.nn.copy_network import copy_network
from nes_lab.surgery.foldable_norms import NormPairs
from nes_lab.text import list_some

__all__ = ["harmful_folds", "warn_compared", "warn_harmful", "warn_unsure"]

Fold = Callable[[nn.Module, Mapping[str, str]], nn.Module]

FLOAT64_TOLERANCE = 1e-7
"""Largest relative difference of outputs in float64. Rounding gives about 1e-13; a wrong fold changes the factors of a norm."""


def harmful_folds(model: nn.Module, pairs: Mapping[str, str], example_input: Any, fold: Fold) -> list[str]:
    """Return the names of the norms that change the outputs of a model for an example if they are folded.

    Outputs are compared in float64, or in the model's own dtype if it cannot run in float64.

    1. Fold all norms. If the outputs are the same, no norm is harmful.
    2. Otherwise fold each half of the norms alone, and search in each half that changes the outputs.
    3. Fold all the others at once. If the outputs differ even so, all norms are harmful.

    Args:
        model: Any module.
        pairs: Name of each norm -> name of its layer.
        example_input: Input of one forward pass.
        fold: Function of a model and such pairs that returns the copy with folded norms.

    Raises:
        OptionError: If the model cannot run the example, or if its outputs differ without any folded norm.
    """
    trial, x, expected, tolerance = _trial(model, example_input)

    def agrees(norms: Sequence[str]) -> bool:
        folded = fold(trial, {norm: pairs[norm] for norm in norms})
        try:
            return _same(_outputs(folded, x), expected, tolerance)
        except OptionError:  # the network reads an attribute of the norm, such as its statistics
            return False

    wrong = _search(list(pairs), agrees)
    if wrong and not agrees([norm for norm in pairs if norm not in wrong]):
        wrong = list(pairs)
    if wrong == list(pairs) and not agrees([]):
        raise OptionError(
            f"example_input: the outputs of {type(model).__name__} differ from one run to the next, so they cannot show that a "
            "fold is right; fuse without example_input"
        )
    return wrong


def _search(norms: list[str], agrees: Callable[[Sequence[str]], bool]) -> list[str]:
    if not norms or agrees(norms):
        return []
    if len(norms) == 1:
        return norms
    half = len(norms) // 2
    return [*_search(norms[:half], agrees), *_search(norms[half:], agrees)]


def _trial(model: nn.Module, example_input: Any) -> tuple[nn.Module, Any, list[Tensor], float]:
    """Return a model and an input to compare with, the outputs, and the largest difference that rounding explains."""
    try:
        wide = copy_network(model).double()
        x = tree_map_only(Tensor, lambda t: t.double() if t.is_floating_point() else t, example_input)
        return wide, x, _outputs(wide, x), FLOAT64_TOLERANCE
    except (OptionError, RuntimeError, TypeError):  # it mixes dtypes itself, or the device has no float64
        tensors = [t for t in (*model.parameters(), *model.buffers()) if t.is_floating_point()]
        rounding = max((torch.finfo(t.dtype).eps for t in tensors), default=0.0)
        return model, example_input, _outputs(model, example_input), max(1e-4, 10 * rounding)


def _outputs(model: nn.Module, example_input: Any) -> list[Tensor]:
    with evaluating(model, example_input), torch.inference_mode(False), torch.no_grad():
        outputs = run_example(model, example_input)
        return [t.detach().clone() for t in tree_leaves(outputs) if isinstance(t, Tensor)]


def _same(outputs: Sequence[Tensor], expected: Sequence[Tensor], tolerance: float) -> bool:
    return len(outputs) == len(expected) and all(
        _close(a, b, tolerance) for a, b in zip(outputs, expected, strict=True)
    )


def _close(output: Tensor, expected: Tensor, tolerance: float) -> bool:
    if output.shape != expected.shape or not expected.is_floating_point():
        return torch.equal(output, expected)
    largest = float(expected.abs().nan_to_num(0.0, 0.0, 0.0).max()) if expected.numel() else 0.0
    return torch.allclose(output, expected, rtol=0.0, atol=tolerance * largest, equal_nan=True)


def _untraced(pairs: NormPairs) -> str:
    """Return the names of the modules whose forward methods cannot be traced, as text for a warning."""
    return list_some([repr(name) if name else "the model itself" for name in pairs.unread], 3)


def warn_unsure(pairs: NormPairs, caller: str) -> None:
    """Warn about the norms that stay because a forward method cannot be traced. Without such norms, do nothing."""
    if pairs.unsure:
        warnings.warn(
            f"{caller}: the forward method of {_untraced(pairs)} cannot be traced, so it may call the layers inside in other "
            f"ways too. {len(pairs.unsure)} norms stay as they are: {list_some(list(pairs.unsure), 3)}. With an input of the "
            f"model ({'calibration=' if caller == 'fit' else 'example_input='}) they are folded if the outputs stay the same",
            stacklevel=3,
        )


def warn_compared(pairs: NormPairs, norms: Sequence[str], caller: str) -> None:
    """Warn about the norms that are folded only because an example showed the same outputs. Without such norms, do nothing.

    Args:
        pairs: The norms that follow a layer.
        norms: Names of these norms.
        caller: Name of the public function that asks.
    """
    if norms:
        shown = [f"{norm!r} into {pairs.unsure[norm]!r}" for norm in norms]
        warnings.warn(
            f"{caller}: the forward method of {_untraced(pairs)} cannot be traced, and the comparison covers only what the "
            f"example takes. If other inputs take another branch, or other methods call these layers, the outputs there may be "
            f"wrong: {list_some(shown, 3)}",
            stacklevel=3,
        )


def warn_harmful(pairs: Mapping[str, str], caller: str) -> None:
    """Warn about the norms that stay because an example showed another output. Without such norms, do nothing."""
    if pairs:
        shown = [f"{norm!r} into {layer!r}" for norm, layer in pairs.items()]
        warnings.warn(
            f"{caller}: folding {list_some(shown, 3)} changes the outputs, since the network reads the layer in another place "
            "too; these norms stay as they are",
            stacklevel=3,
        )
