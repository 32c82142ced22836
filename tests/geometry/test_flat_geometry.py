"""A flat epitome has one axis; patches are blocks of channels, and windows are pieces of neighboring cells."""

from __future__ import annotations

import numpy as np
import pytest

from nes_lab.errors import GeometryError
from nes_lab.geometry.epitome_geometry import EpitomeGeometry
from nes_lab.geometry.flat_geometry import FlatGeometry, make_geometry
from nes_lab.geometry.start_rules import is_identity, rule_starts


@pytest.mark.parametrize("rule", ["tiled", "stride", "random"])
def test_every_rule_gives_one_start_per_patch_and_window(rule: str) -> None:
    geometry = FlatGeometry((10, 7, 3), (50,), patch_channels=(4, 3), windows=2)
    (starts,) = rule_starts(geometry, rule, seed=3)
    assert starts is not None and starts.shape == (3, 3, 2) and starts.dtype == np.int64
    assert starts.min() >= 0 and starts.max() < 50 and len(np.unique(starts)) > 9


def test_tiled_windows_lie_side_by_side_and_wrap_around() -> None:
    (starts,) = rule_starts(FlatGeometry((4, 4), (10,), patch_channels=2, windows=2), "tiled")
    assert starts is not None and starts.flatten().tolist() == [0, 4, 8, 2, 6, 0, 4, 8]


def test_patches_are_cut_to_the_channels_of_the_weight() -> None:
    assert FlatGeometry((64, 3, 7, 7), (600,), patch_channels=4).patch_shape == (4, 3, 7, 7)
    assert FlatGeometry((64, 64), (600,)).patch_channels == (4, 4)
    assert FlatGeometry((2, 64), (600,), patch_channels=(8, 16)).patch_channels == (2, 16)


def test_an_epitome_as_large_as_the_weight_still_has_starts() -> None:
    assert not is_identity(FlatGeometry((4, 4), (16,), patch_channels=4), 0, "tiled")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"epitome_shape": (20, 4)}, "one number of cells"),
        ({"epitome_shape": (15,)}, "a patch needs 16 epitome cells and has 15"),
        ({"windows": 0}, "windows=0"),
        ({"windows": True}, "windows=True"),
        ({"scope": "joint", "windows": 2}, "need scope='flat'"),
    ],
)
def test_wrong_shapes_are_refused(options: dict, says: str) -> None:
    with pytest.raises(GeometryError, match=says):
        make_geometry(**{"weight_shape": (8, 8), "epitome_shape": (20,), "scope": "flat"} | options)


def test_the_usual_geometry_refuses_a_flat_epitome() -> None:
    with pytest.raises(GeometryError, match="FlatGeometry"):
        EpitomeGeometry((8, 8), (20,), scope="flat")
    with pytest.raises(GeometryError, match="has 1 axes"):
        EpitomeGeometry((8, 8), (20,), 4)
