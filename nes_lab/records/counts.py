"""Counts: the quantities of a model that a budget can limit.

To add a quantity, add a field to :class:`Counts`. The names of the fields are in :data:`QUANTITIES`.

Tests: tests/records/test_budget.py.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields

from nes_lab.records.record import Part

__all__ = ["QUANTITIES", "Counts", "total"]


@dataclass(frozen=True)
class Counts(Part):
    """Counts of a model or a layer: params, multiply-adds and stored bytes. ``+`` and ``-`` work field by field.

    Args:
        params: Number of stored numbers, without those of index learners (networks that predict starts during training).
        madds: Multiply-adds of one forward pass of the example input.
        stored_bytes: Bytes of the tensors in the file that ``save_pretrained`` writes: all parameters and persistent buffers,
            without those of index learners. A shared tensor counts once. The number is 0 in JSON of older versions, which do
            not record it.

    Examples:
        >>> Counts(10, 20) - Counts(4, 5)
        Counts(params=6, madds=15, stored_bytes=0)
        >>> Counts(4, 5).within(Counts(4, 20))
        True
    """

    params: int
    madds: int
    stored_bytes: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(**{name: getattr(self, name) + getattr(other, name) for name in QUANTITIES})

    def __sub__(self, other: Counts) -> Counts:
        return Counts(**{name: getattr(self, name) - getattr(other, name) for name in QUANTITIES})

    def within(self, other: Counts) -> bool:
        """Return True if none of these counts (params, multiply-adds, stored bytes) is larger than the same count in ``other``."""
        return all(getattr(self, name) <= getattr(other, name) for name in QUANTITIES)


QUANTITIES = tuple(field.name for field in fields(Counts))
"""Names of all quantities that a budget can limit: the fields of :class:`Counts`."""


def total(counts: Iterable[Counts]) -> Counts:
    """Return the sum of several counts, field by field.

    Examples:
        >>> total([Counts(1, 2), Counts(3, 4)]), total([])
        (Counts(params=4, madds=6, stored_bytes=0), Counts(params=0, madds=0, stored_bytes=0))
    """
    return sum(counts, start=Counts(**dict.fromkeys(QUANTITIES, 0)))
