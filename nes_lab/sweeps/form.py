"""Turn what a user enters into a form into the configuration of a sweep.

Tests: tests/sweeps/test_form.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nes_lab.errors import OptionError

__all__ = ["read_values", "sweep_tree"]


def read_values(text: str, field: str) -> list[float] | dict[str, Any] | None:
    """Read numbers that a user typed: some values, or a range. None if the text is empty.

    Args:
        text: Values with commas, such as ``0.01, 0.05``, or a range, such as ``0.01 to 0.1``, which is drawn from evenly on a
            logarithmic scale.
        field: Name of the field, for the error.

    Raises:
        OptionError: If a part is not a number.

    Examples:
        >>> read_values("0.01, 0.05", "learning rates"), read_values("0.01 to 0.1", "learning rates"), read_values(" ", "x")
        ([0.01, 0.05], {'low': 0.01, 'high': 0.1, 'log': True}, None)
    """
    try:
        if " to " in text:
            low, high = (float(part) for part in text.split(" to "))
            return {"low": low, "high": high, "log": True}
        return [float(part) for part in _parts(text)] or None
    except ValueError as error:
        raise OptionError(
            f"{field} {text!r} cannot be read; give values such as 0.01, 0.05, or a range such as 0.01 to 0.1"
        ) from error


def sweep_tree(
    name: str,
    base: str | Mapping[str, Any],
    *,
    madds: str = "",
    params: str = "",
    routing: Sequence[str] = (),
    dense: bool = False,
    seeds: int = 1,
    lr: str = "",
    sampler: str = "grid",
    trials: int | None = None,
) -> dict[str, Any]:
    """Return the configuration of a sweep as a mapping for :func:`nes_lab.config.load_sweep`.

    Args:
        name: Name of the sweep.
        base: The base experiment: its sections, or the name of a recipe.
        madds: Budgets of multiply-adds, with commas, such as ``50%, 75%``. Empty: the one of the base experiment.
        params: Budgets of params, with commas.
        routing: Ways to set starts that are compared. Empty: the one of the base experiment.
        dense: Whether the dense network is trained too.
        seeds: Number of seeds: 0, 1, 2 and so on.
        lr: Learning rates: values or a range, see :func:`read_values`.
        sampler: How trials are chosen.
        trials: Number of trials. A grid trains all combinations, so it is ignored there.

    Raises:
        OptionError: If a field cannot be read, or nothing varies.

    Examples:
        >>> sweep_tree("front", {}, madds="50%, 75%", seeds=2)["space"]
        {'compression.madds': ['50%', '75%'], 'seed': [0, 1]}
    """
    space: dict[str, Any] = {}
    if dense:
        section = base.get("compression") if isinstance(base, Mapping) else None
        space["compression"] = [None, dict(section or {"madds": "60%"})]
    for field, text in (("compression.madds", madds), ("compression.params", params)):
        if parts := _parts(text):
            space[field] = parts
    if routing:
        space["compression.routing"] = list(routing)
    if (rates := read_values(lr, "learning rates")) is not None:
        if sampler == "grid" and isinstance(rates, dict):
            raise OptionError(f"learning rates {lr!r} is a range; all combinations need values such as 0.01, 0.05")
        space["training.lr"] = rates
    if seeds > 1 or not space:
        space["seed"] = list(range(seeds))
    tree: dict[str, Any] = {
        "name": name,
        "base": base if isinstance(base, str) else dict(base),
        "space": space,
        "sampler": sampler,
    }
    return tree if sampler == "grid" else tree | {"trials": trials}


def _parts(text: str) -> list[str]:
    return list(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
