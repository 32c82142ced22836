"""DeviceTable: how long convolutions, folds and expansions take on one device, measured once, to plan for speed.

Tests: tests/planning/test_speed.py
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from math import exp, log, log2

from nes_lab.records.columns import Column
from nes_lab.records.record import Part, Record
from nes_lab.records.table import Table
from nes_lab.text import format_share

__all__ = ["ConvTime", "DeviceTable", "PassTime"]


@dataclass(frozen=True)
class ConvTime(Part):
    """Measured time of one convolution.

    Args:
        kernel: Number of kernel positions: 1 or 9.
        c_in, c_out: Channels of the input and of the output.
        positions: Output positions, such as pixels, summed over the batch.
        ms: Median time in milliseconds.
    """

    kernel: int
    c_in: int
    c_out: int
    positions: int
    ms: float


@dataclass(frozen=True)
class PassTime(Part):
    """Measured time of one fold or expansion: a pass over the activations that channels share cells for.

    Args:
        kind: ``fold`` or ``expand``.
        fractional: True if patches begin between two cells.
        numbers: Channels times positions of the wide side.
        ms: Median time in milliseconds.
    """

    kind: str
    fractional: bool
    numbers: int
    ms: float


@dataclass(frozen=True, repr=False)
class DeviceTable(Record):
    """Times of one device, from which the strategy ``speed`` predicts how long a layer takes. See :func:`calibrate_device`.

    Args:
        device: Name of the GPU or processor.
        threads: Number of threads that torch used on the CPU.
        torch: Version of torch.
        date: Day of the measurement, as ``2026-01-31``.
        round_to: Multiple of channels with which convolutions are fastest here: 8, 16 or 32.
        convs: Times of convolutions whose channels are powers of 2.
        passes: Times of folds and expansions.
        spread: Median over all measurements of (upper quartile - lower quartile) / median: how much the times scatter.
        seconds: Duration of the measurement in seconds.

    Examples:
        >>> from nes_lab.records.device_table import ConvTime, DeviceTable, PassTime
        >>> convs = tuple(ConvTime(1, c, 64, 49, c / 100) for c in (32, 64))
        >>> table = DeviceTable("a processor", 1, "2.8", "2026-01-31", 8, convs, (PassTime("fold", False, 100, 0.1),))
        >>> round(table.conv_ms(1, 64, 64, 49), 3), round(table.conv_ms(1, 48, 64, 49), 3)
        (0.64, 0.48)
    """

    NAME = "device table"

    device: str
    threads: int
    torch: str
    date: str
    round_to: int
    convs: tuple[ConvTime, ...]
    passes: tuple[PassTime, ...]
    spread: float = 0.0
    seconds: float = 0.0

    def conv_ms(self, kernel: int, c_in: float, c_out: float, positions: float) -> float:
        """Predict the milliseconds of a convolution or matrix product, from the measured ones with the nearest shapes.

        Between measured shapes, the time per multiply-add is interpolated. For larger shapes it stays the same. Smaller shapes
        take as long as the smallest measured one.

        Args:
            kernel: Number of kernel positions; 1 for a matrix product.
            c_in: Channels of the input.
            c_out: Channels of the output.
            positions: Output positions, summed over the batch.
        """
        known = self._speeds[1 if kernel == 1 else 9]
        axes = [sorted({point[axis] for point in known}) for axis in range(3)]
        c_in, c_out, positions = (max(v, axis[0]) for v, axis in zip((c_in, c_out, positions), axes, strict=True))
        corners = _corners(axes, (c_in, c_out, positions))
        weighed = [(weight, known[point]) for point, weight in corners if point in known]
        if not weighed:
            asked = (c_in, c_out, positions)
            nearest = min(known, key=lambda point: sum(abs(log2(a / b)) for a, b in zip(point, asked, strict=True)))
            weighed = [(1.0, known[nearest])]
        per_madd = exp(sum(w * speed for w, speed in weighed) / sum(w for w, _ in weighed))
        return per_madd * kernel * c_in * c_out * positions

    def pass_ms(self, kind: str, fractional: bool, numbers: float) -> float:
        """Predict the milliseconds of a fold or an expansion.

        Args:
            kind: ``fold`` or ``expand``.
            fractional: True if patches begin between two cells.
            numbers: Channels times positions of the wide side.
        """
        times = sorted((p.numbers, p.ms) for p in self.passes if (p.kind, p.fractional) == (kind, fractional))
        if numbers >= times[-1][0]:
            return times[-1][1] * numbers / times[-1][0]
        above = next((t for t in times if t[0] >= numbers), times[-1])
        below = max((t for t in times if t[0] < numbers), default=above)
        share = 0.0 if above == below else (numbers - below[0]) / (above[0] - below[0])
        return below[1] + share * (above[1] - below[1])

    @cached_property
    def _speeds(self) -> Mapping[int, Mapping[tuple[int, int, int], float]]:
        """Logarithm of the milliseconds per multiply-add of each measured shape, by kernel."""
        found: dict[int, dict[tuple[int, int, int], float]] = {}
        for c in self.convs:
            madds = c.kernel * c.c_in * c.c_out * c.positions
            found.setdefault(c.kernel, {})[c.c_in, c.c_out, c.positions] = log(c.ms / madds)
        return found

    def __repr__(self) -> str:
        return f"DeviceTable: {self.device}, {self.threads} threads, torch {self.torch}, {self.date}"

    def table(self) -> Table:
        """Return the times of 1x1 and 3x3 convolutions of equal channels as a table, with the conditions below it."""
        rows = [
            {"what": f"{'1x1' if c.kernel == 1 else '3x3'} {c.c_in}-{c.c_out}", "positions": c.positions, "ms": c.ms}
            for c in self.convs
            if c.c_in == c.c_out
        ]
        columns = (
            Column("what", "convolution", "Kernel and channels."),
            Column("positions", "positions", "Output positions.", "count"),
            Column("ms", "ms", "Median time.", "ms"),
        )
        return Table(columns, rows, after=self._lines())

    def _lines(self) -> tuple[str, ...]:
        return (
            f"{len(self.convs)} convolutions and {len(self.passes)} folds and expansions in {self.seconds:.0f} s",
            f"times scatter by {format_share(self.spread, digits=0)} (half of the rounds)",
            f"epitome channels in multiples of {self.round_to}",
            f"on {self.device}, {self.threads} threads, torch {self.torch}, {self.date}",
        )


def _corners(axes: list[list[int]], asked: tuple[float, float, float]) -> Iterator[tuple[tuple[int, int, int], float]]:
    """Yield the measured shapes around a shape, each with its weight: near ones weigh more, on a logarithmic scale."""
    sides = []
    for values, value in zip(axes, asked, strict=True):
        value = min(max(value, values[0]), values[-1])
        above = next(i for i, v in enumerate(values) if v >= value)
        below = max(above - 1, 0) if values[above] > value else above
        span = log(values[above] / values[below])
        share = log(value / values[below]) / span if span else 0.0
        sides.append([(values[below], 1 - share), (values[above], share)] if below != above else [(values[above], 1.0)])
    for picked in product(*sides):
        weight = picked[0][1] * picked[1][1] * picked[2][1]
        if weight > 0:
            yield (picked[0][0], picked[1][0], picked[2][0]), weight
