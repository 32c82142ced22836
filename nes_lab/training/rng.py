"""Seed, save and restore the global random generators of Python, numpy and torch."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

__all__ = ["capture_rng", "isolated_rng", "restore_rng", "seed_rng"]


def capture_rng() -> dict[str, Any]:
    """Return the states of the global random generators of Python, numpy, torch and CUDA, as plain numbers and tensors."""
    version, internal, gauss = random.getstate()
    _, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
    return {
        "python": {"version": version, "internal": list(internal), "gauss": gauss},
        "numpy": {
            "keys": torch.from_numpy(np.asarray(keys).astype(np.int64)),
            "position": int(position),
            "has_gauss": int(has_gauss),
            "cached": float(cached),
        },
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else [],
    }


def restore_rng(state: dict[str, Any]) -> None:
    """Set the global random generators to the states that :func:`capture_rng` returned."""
    python, numpy = state["python"], state["numpy"]
    random.setstate((python["version"], tuple(python["internal"]), python["gauss"]))
    keys = numpy["keys"].numpy().astype(np.uint32)
    np.random.set_state(("MT19937", keys, numpy["position"], numpy["has_gauss"], numpy["cached"]))
    torch.set_rng_state(state["torch"])
    if state["cuda"] and torch.cuda.device_count() == len(state["cuda"]):
        torch.cuda.set_rng_state_all(state["cuda"])


def seed_rng(seed: int) -> None:
    """Seed the global random generators of Python, numpy and torch."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


@contextmanager
def isolated_rng(start: int | dict[str, Any]) -> Iterator[None]:
    """Set the global random generators inside the ``with`` block, and restore their previous states at its end.

    Args:
        start: A seed, or the states that :func:`capture_rng` returned.

    Examples:
        >>> before = torch.get_rng_state()
        >>> with isolated_rng(0):
        ...     _ = torch.rand(3)
        >>> torch.equal(torch.get_rng_state(), before)
        True
    """
    before = capture_rng()
    try:
        if isinstance(start, int):
            seed_rng(start)
        else:
            restore_rng(start)
        yield
    finally:
        restore_rng(before)
