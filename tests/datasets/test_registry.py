"""Data sets are loaded by name."""

from __future__ import annotations

import pytest

from nes_lab.config import DataConfig
from nes_lab.datasets.registry import load_dataset
from nes_lab.errors import OptionError


def test_load_dataset_suggests_the_closest_name() -> None:
    unknown = DataConfig().model_copy(update={"name": "digit"})
    with pytest.raises(OptionError, match=r"data.name='digit'.*mean 'digits'"):
        load_dataset(unknown)
