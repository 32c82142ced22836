"""Names to datasets; what is not there says how to get it."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from nes_lab.config import DataConfig
from nes_lab.datasets.registry import load_dataset
from nes_lab.datasets.torchvision_sets import load_torchvision_set
from nes_lab.errors import DataError, OptionError


def test_unknown_name_suggests_the_closest() -> None:
    odd = DataConfig().model_copy(update={"name": "digit"})
    with pytest.raises(OptionError, match=r"data.name='digit'.*mean 'digits'"):
        load_dataset(odd)


@pytest.mark.parametrize("name", ["cifar10", "fashion_mnist"])
def test_absent_set_says_how_to_get_it(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match=rf"data.name='{name}'.*data.download"):
        load_dataset(DataConfig(name=name, root=tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_cifar10_from_torchvision_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The layout torchvision reads, with ten images a file and the checksums of these files."""
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


def test_a_folder_for_digits_is_refused() -> None:
    """It had no effect: whoever forgot data.name trained on digits instead of the data meant."""
    with pytest.raises(OptionError, match=r"data.root=.* come with scikit-learn; leave it out for data.name='digits'"):
        load_dataset(DataConfig(root="images"))
