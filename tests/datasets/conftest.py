"""Folders that tests of data sets begin with."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.datasets.samples import make_tree


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Two classes in class folders: four training and two validation images each, one of them grey."""
    return make_tree(tmp_path / "tree")


@pytest.fixture
def large_tree(tmp_path: Path) -> Path:
    """Enough images that one broken image is less than one percent of a split."""
    return make_tree(tmp_path / "large", train=60, val=52, size=9)
