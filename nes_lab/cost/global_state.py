"""The global state that a network's forward method may change: random states, and settings of torch and of the process.

Tests: tests/cost/test_left_as_it_was.py
"""

from __future__ import annotations

import os
import random
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

__all__ = ["RANDOM_STATES", "SETTINGS", "global_restores"]


def _write_environment(before: dict[str, str]) -> None:
    for name in os.environ.keys() - before.keys():
        del os.environ[name]
    os.environ.update(before)


def _working_directory() -> str:
    try:
        return os.getcwd()
    except FileNotFoundError:  # it was removed
        return ""


def _cuda_states() -> list[Tensor]:
    return torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []


def _write_warning_filters(before: list[Any]) -> None:
    warnings.resetwarnings()
    warnings.filters.extend(before)  # type: ignore[attr-defined]


def _product_precision() -> str:
    try:
        return torch.get_float32_matmul_precision()
    except RuntimeError:  # torch refuses if it was set for one backend alone
        return ""


RANDOM_STATES: dict[str, tuple[Callable[[], Any], Callable[[Any], object]]] = {
    "Python": (random.getstate, random.setstate),
    "numpy": (np.random.get_state, np.random.set_state),
    "torch": (torch.get_rng_state, torch.set_rng_state),
    "CUDA": (_cuda_states, lambda states: torch.cuda.set_rng_state_all(states) if states else None),
}
"""Global random generators by name: a function that reads the state, and one that writes it."""

_CUDNN = torch.backends.cudnn

SETTINGS: dict[str, tuple[Callable[[], Any], Callable[[Any], object]]] = {
    "gradients": (torch.is_grad_enabled, torch.set_grad_enabled),
    "default dtype": (torch.get_default_dtype, torch.set_default_dtype),
    "deterministic algorithms": (
        lambda: (torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()),
        lambda before: torch.use_deterministic_algorithms(before[0], warn_only=before[1]),
    ),
    "threads": (torch.get_num_threads, torch.set_num_threads),
    "precision of products": (
        _product_precision,
        lambda before: torch.set_float32_matmul_precision(before) if before else None,
    ),
    "fast path of attention": (torch.backends.mha.get_fastpath_enabled, torch.backends.mha.set_fastpath_enabled),
    **{
        f"cudnn.{name}": (
            lambda name=name: getattr(_CUDNN, name),
            lambda before, name=name: setattr(_CUDNN, name, before),
        )
        for name in ("enabled", "benchmark", "deterministic")
    },
    "warning filters": (lambda: list(warnings.filters), _write_warning_filters),
    "environment": (lambda: dict(os.environ), _write_environment),
    "working directory": (_working_directory, lambda before: os.chdir(before) if before else None),
}
"""Global settings by name: a function that reads the setting, and one that writes it."""


def global_restores() -> Iterator[Callable[[], object]]:
    """Read all random states and settings, and yield functions that put them back."""
    for read, write in RANDOM_STATES.values():
        yield partial(write, read())
    for read, write in SETTINGS.values():
        yield partial(_write_changed, read, write, read())


def _write_changed(read: Callable[[], Any], write: Callable[[Any], object], before: Any) -> None:
    if read() != before:
        write(before)
