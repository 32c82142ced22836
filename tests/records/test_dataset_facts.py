"""Every data set has one row of facts, and what the configuration, the loaders and the documentation say follows from it."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from nes_lab.config import DataConfig
from nes_lab.datasets.registry import DATASETS, load_dataset
from nes_lab.records.dataset_facts import DATASET_FACTS, DatasetName, default_data_root, markdown_table
from tests.house.tree import ROOT


def test_dataset_facts_cover_the_names_the_loaders_and_the_documentation():
    assert list(get_args(DatasetName)) == list(DATASET_FACTS) == list(DATASETS)
    table = markdown_table()
    assert table in (ROOT / "docs/data.md").read_text(encoding="utf-8"), f"docs/data.md should hold:\n{table}"


def test_dataset_facts_name_fields_of_the_config_as_unused():
    for name, facts in DATASET_FACTS.items():
        assert set(facts.unused) <= set(DataConfig.model_fields), name


def test_dataset_facts_agree_with_the_loaded_digits():
    facts, data = DATASET_FACTS["digits"], load_dataset(DataConfig(), seed=1)
    assert (data.num_classes, data.input_shape, data.kind) == (facts.classes, facts.input_shape, facts.kind)
    assert (len(data.train), len(data.val)) == facts.examples


def test_default_data_root_follows_the_home(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("NES_LAB_HOME", "/somewhere")
    assert default_data_root("cifar10") == Path("/somewhere/cifar10")
    monkeypatch.delenv("NES_LAB_HOME")
    assert default_data_root("cifar10") == Path("data/cifar10")
