"""Sizes, patches, and the one error a bad geometry gives."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nes_lab.errors import GeometryError, OptionError
from nes_lab.geometry.epitome_geometry import Axis, EpitomeGeometry


@given(size=st.integers(1, 40), cells=st.integers(1, 40), patch=st.integers(1, 40))
def test_error_exactly_when_the_patch_does_not_fit(size, cells, patch):
    if min(patch, size) > cells:
        with pytest.raises(GeometryError):
            Axis("out", size, cells, patch)
        return
    axis = Axis("out", size, cells, patch)
    assert axis.lengths.sum() == size and len(axis.lengths) == axis.patches == -(-size // patch)
    assert (axis.lengths[:-1] == patch).all() and (axis.lengths <= cells).all()


def test_the_error_names_axis_need_and_have():
    with pytest.raises(GeometryError, match=r"axis 'in': a patch needs 8 epitome cells and has 5"):
        EpitomeGeometry((16, 16, 3, 3), (8, 5, 3, 3), patch_channels=(8, 8))
    with pytest.raises(GeometryError, match=r"axis 'k1': a patch needs 3 epitome cells and has 2"):
        EpitomeGeometry((16, 16, 3, 3), (8, 8, 3, 2))


@pytest.mark.parametrize("boundary", ["clamp", "circular"])
def test_the_rule_holds_under_either_boundary(boundary):
    with pytest.raises(GeometryError):
        EpitomeGeometry((8, 8), (4, 4), (6, 4), boundary=boundary)


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ({"epitome_shape": (4, 4, 3)}, GeometryError, "3 axes"),
        ({"epitome_shape": (0, 4)}, GeometryError, "at least 1"),
        ({"epitome_shape": (2.5, 4)}, GeometryError, "integer"),
        ({"epitome_shape": "ab"}, GeometryError, "integer"),
        ({"epitome_shape": 4}, GeometryError, "sequence"),
        ({"epitome_shape": (4, 4), "patch_channels": (1, 2, 3)}, GeometryError, "needs 2 numbers"),
        ({"epitome_shape": (4, 4), "patch_channels": 0}, GeometryError, "at least 1"),
        ({"epitome_shape": (4, 4), "patch_channels": True}, GeometryError, "integer"),
        ({"epitome_shape": (4, 4), "scope": "jiont"}, OptionError, "Did you mean 'joint'"),
        ({"epitome_shape": (4, 4), "boundary": "wrap"}, OptionError, "circular"),
    ],
)
def test_bad_arguments_are_named(arguments, error, says):
    with pytest.raises(error, match=says):
        EpitomeGeometry((8, 8), **arguments)


def test_one_patch_length_stands_for_both_axes():
    assert EpitomeGeometry((8, 8, 3), (4, 2, 3), patch_channels=3).patch_channels == (3, 2)


def test_patch_longer_than_the_weight_is_cropped():
    g = EpitomeGeometry((3, 5), (8, 8), (8, 8))
    assert g.patch_grid == (1, 1) and g.limits(0).tolist() == [5] and g.limits(1).tolist() == [3]


def test_starts_shapes():
    g = EpitomeGeometry((10, 7, 3), (6, 5, 4), (4, 3))
    assert [g.starts_shape(a) for a in range(3)] == [(3,), (3,), (3,)]
    joint = EpitomeGeometry((10, 8, 3), (6, 5, 4), (4, 4), scope="joint")
    assert [joint.starts_shape(a) for a in range(3)] == [(3, 2)] * 3
    assert np.array_equal(joint.limits(0), [[2, 2], [2, 2], [4, 4]])
