"""Layers to draw."""

import pytest

from tests.figures.samples import make_snapshot


@pytest.fixture
def snapshot():
    return make_snapshot()


@pytest.fixture
def moved():
    return make_snapshot(shift=0.7)
