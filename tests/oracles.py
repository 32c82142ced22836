"""Slow, obvious answers to compare with: nested loops over hat functions, in float64."""

from __future__ import annotations

from itertools import product

import numpy as np

from nes_lab.geometry.epitome_geometry import EpitomeGeometry


def hat(position: float, cell: int, cells: int, circular: bool) -> float:
    """Share with which a read at ``position`` sees ``cell``: max(0, 1 - |distance|)."""
    distance = abs(position - cell)
    if circular:
        distance = abs((position - cell + cells / 2) % cells - cells / 2)
    share = max(0.0, 1.0 - distance)
    if circular and cells == 1:
        share = 1.0
    return share


def start_of(geometry: EpitomeGeometry, starts, axis: int, out_patch: int, in_patch: int) -> float:
    """The start of an axis for one block of the weight, whatever the scope."""
    table = starts[axis]
    if table is None:
        return (out_patch, in_patch)[axis] * geometry.axes[axis].patch if axis < 2 else 0.0
    if geometry.scope == "joint":
        return float(table[out_patch, in_patch])
    return float(table[in_patch if axis == 1 else out_patch])


def sample(epitome: np.ndarray, starts, geometry: EpitomeGeometry) -> np.ndarray:
    """The weight, one entry at a time: ``W[index] = sum over cells of E[cell] * product of hats``."""
    weight = np.zeros(geometry.weight_shape)
    circular = geometry.boundary == "circular"
    b_out, b_in = geometry.patch_shape[:2]
    for index in product(*map(range, geometry.weight_shape)):
        patch = (index[0] // b_out, index[1] // b_in)
        inside = (index[0] % b_out, index[1] % b_in, *index[2:])
        shares = []
        for axis, cells in enumerate(geometry.epitome_shape):
            position = start_of(geometry, starts, axis, *patch) + inside[axis]
            seen = [(c, hat(position, c, cells, circular)) for c in range(cells)]
            shares.append([(c, share) for c, share in seen if share > 0])
        for reads in product(*shares):
            share = 1.0
            for _, one in reads:
                share *= one
            weight[index] += share * epitome[tuple(c for c, _ in reads)]
    return weight


def read_counts(starts, geometry: EpitomeGeometry) -> np.ndarray:
    """Channel pairs of the weight that read each cell of the channel plane, counted one by one."""
    counts = np.zeros(geometry.epitome_shape[:2], int)
    circular = geometry.boundary == "circular"
    b_out, b_in = geometry.patch_shape[:2]
    for o, i in product(range(geometry.weight_shape[0]), range(geometry.weight_shape[1])):
        patch = (o // b_out, i // b_in)
        at = (start_of(geometry, starts, 0, *patch) + o % b_out, start_of(geometry, starts, 1, *patch) + i % b_in)
        for p, q in product(*map(range, counts.shape)):
            if hat(at[0], p, counts.shape[0], circular) and hat(at[1], q, counts.shape[1], circular):
                counts[p, q] += 1
    return counts
