"""A table of times of a made-up device: thin convolutions cost a fixed time, and so does each pass over the activations."""

from __future__ import annotations

import torch

from nes_lab.cost.timing import device_name
from nes_lab.records.device_table import ConvTime, DeviceTable, PassTime


def fake_table(round_to: int = 8, fold_ms: float = 0.01, expand_ms: float = 0.02) -> DeviceTable:
    """Return a table in which a convolution takes at least 0.1 ms, and 1 ns per 10 multiply-adds above that."""
    convs = tuple(
        ConvTime(k, c_in, c_out, n, max(0.1, k * c_in * c_out * n / 1e7))
        for k in (1, 9)
        for c_in in (16, 64, 256)
        for c_out in (16, 64, 256)
        for n in (49, 784)
    )
    passes = tuple(
        PassTime(kind, fractional, numbers, ms * (1 + fractional))
        for kind, ms in (("fold", fold_ms), ("expand", expand_ms))
        for fractional in (False, True)
        for numbers in (1000, 100_000)
    )
    here = device_name(torch.device("cpu"))
    return DeviceTable(here, torch.get_num_threads(), torch.__version__, "2026-01-31", round_to, convs, passes)
