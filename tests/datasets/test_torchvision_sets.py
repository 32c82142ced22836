"""Files of torchvision are read; absent files say how to get them."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from nes_lab.config import DataConfig
from nes_lab.datasets.registry import load_dataset
from nes_lab.datasets.torchvision_sets import load_torchvision_set
from nes_lab.errors import DataError


@pytest.mark.parametrize("name", ["cifar10", "fashion_mnist"])
def test_load_torchvision_set_says_how_to_get_absent_files(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match=rf"data.name='{name}'.*data.download"):
        load_dataset(DataConfig(name=name, root=tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_load_torchvision_set_reads_cifar10(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files have torchvision's layout with ten images each; their checksums are not tested."""
    from torchvision.datasets import CIFAR10

    folder = tmp_path / CIFAR10.base_folder
    folder.mkdir()
    for name, _ in CIFAR10.train_list + CIFAR10.test_list:
        entry = {"data": np.full((10, 3072), 50, dtype=np.uint8), "labels": list(range(10))}
        entry["data"][:, 1024:2048] = 100
        (folder / name).write_bytes(pickle.dumps(entry))
    meta = {"label_names": [f"c{i}" for i in range(10)]}
    (folder / "batches.meta").write_bytes(pickle.dumps(meta))
    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda *_: True)
    spec = load_torchvision_set("cifar10", root=tmp_path, limit=20)
    assert (len(spec.train), len(spec.val), spec.input_shape) == (20, 10, (3, 32, 32))
    assert spec.mean == pytest.approx((50 / 255, 100 / 255, 50 / 255))
    assert spec.classes[3] == "c3"
