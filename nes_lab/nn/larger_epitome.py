"""Warn if an epitome holds more numbers than the weights that are sampled from it, so that it saves nothing.

Tests: tests/nn/test_larger_epitome.py
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from nes_lab.errors import warn_user
from nes_lab.geometry.epitome_geometry import EpitomeGeometry, larger_than_weights

__all__ = ["no_warning_of_larger_epitomes", "warn_of_larger_epitome"]

_warns: ContextVar[bool] = ContextVar("warns", default=True)


@contextmanager
def no_warning_of_larger_epitomes() -> Iterator[None]:
    """Do not warn of single layers in a ``with`` block, where a plan has been checked or a saved layer is made again.

    Several layers of a plan can share an epitome, which may then be larger than the weight of each of them.
    """
    token = _warns.set(False)
    try:
        yield
    finally:
        _warns.reset(token)


def warn_of_larger_epitome(geometry: EpitomeGeometry) -> None:
    """Warn if a layer's epitome holds more numbers than its weight.

    Args:
        geometry: Shapes of the weight and the epitome.
    """
    sentence = larger_than_weights(geometry.epitome_shape, [geometry.weight_shape])
    if sentence and _warns.get():
        warn_user(sentence)
