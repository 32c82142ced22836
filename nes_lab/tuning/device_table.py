"""Measure how long convolutions, folds and expansions take on this device, once, and keep the times for planning.

The file is ``device-times-<threads>-threads.json`` in ``$NES_LAB_HOME``, or in ``data`` if this variable is not set.

Tests: tests/planning/test_speed.py
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch
import torch.nn.functional as F

from nes_lab.cost.timing import device_name, time_rounds
from nes_lab.epitome.sampling import expand, fold
from nes_lab.errors import NesLabError, OptionError
from nes_lab.nn.conv import EpitomeConv2d
from nes_lab.progress_bar import OnProgress, progress_reporter
from nes_lab.records.dataset_facts import default_data_root
from nes_lab.records.device_table import ConvTime, DeviceTable, PassTime
from nes_lab.records.spread import quartiles
from nes_lab.runs.replace import write_target

__all__ = ["CALIBRATE", "calibrate_device", "load_table", "table_path"]

CALIBRATE = "nes-lab calibrate-device"
"""The command that a message names."""

CHANNELS = (8, 16, 32, 64, 128, 256, 512, 1024)
SIDES = (7, 14, 28, 56)
"""Images are squares with this many pixels a side."""
MOST_MADDS = 4e8
"""Convolutions with more multiply-adds are not timed: their time per multiply-add is that of smaller ones."""
PASS_CHANNELS = (32, 128, 512)
ROUNDINGS = (8, 16, 32)
SECONDS_EACH = 0.08
"""Time limit in seconds for one measurement, beyond the fewest rounds."""


def table_path() -> Path:
    """Return the path of the file with the times of this device, for the present number of threads."""
    return default_data_root(f"device-times-{torch.get_num_threads()}-threads.json")


def load_table() -> DeviceTable:
    """Load the stored times of this device.

    Raises:
        OptionError: If there are none, or they are of another device, another number of threads or another version of torch, or the
            file is damaged. The message names the command that measures them.
    """
    path = table_path()
    if not path.is_file():
        raise OptionError(
            f"strategy='speed' needs the times of this device, and {path} does not exist; measure them once with: {CALIBRATE}"
        )
    try:
        table = DeviceTable.from_json(path.read_text(encoding="utf-8"))
    except (NesLabError, OSError, ValueError) as error:
        raise OptionError(
            f"{path} cannot be read ({error}); measure the times of this device again with: {CALIBRATE}"
        ) from error
    here = {"device": device_name(torch.device("cpu")), "threads": torch.get_num_threads(), "torch": torch.__version__}
    for name, value in here.items():
        stored = getattr(table, name)
        if stored != value:
            raise OptionError(
                f"{path} has times of {name}={stored!r}, and here {name} is {value!r}; measure the times of this device with: {CALIBRATE}"
            )
    return table


def calibrate_device(progress: bool = False, on_progress: OnProgress | None = None) -> DeviceTable:
    """Measure the times of this machine's CPU, store them for planning with ``strategy="speed"``, and return them.

    It takes a few seconds, or a minute on a slow machine. Nothing else should run meanwhile. The times are those of float32 and of the
    present number of threads.

    Args:
        progress: Show a progress bar on standard error.
        on_progress: Function that is called with a :class:`~nes_lab.progress_bar.ProgressEvent` at each step; None calls nothing.

    Raises:
        OSError: If the file cannot be written.

    Examples:
        >>> import nes_lab
        >>> table = nes_lab.calibrate_device(progress=True)  # doctest: +SKIP
    """
    begun = time.perf_counter()
    path = table_path()
    path.parent.mkdir(parents=True, exist_ok=True)
    spreads: list[float] = []
    convs: list[ConvTime] = []
    passes: list[PassTime] = []
    shapes, passing = list(_conv_shapes()), list(_pass_shapes())
    with progress_reporter(progress, on_progress, "calibrating") as report, torch.inference_mode():
        total = len(shapes) + len(passing) + 1
        for done, (k, c_in, c_out, side) in enumerate(shapes):
            report({"phase": "convolutions", "done": done, "total": total, "label": f"{k}x{k} {c_in}-{c_out}"})
            convs.append(ConvTime(k * k, c_in, c_out, side * side, _ms(_conv(k, c_in, c_out, side), spreads)))
        for done, (kind, fractional, channels, side) in enumerate(passing, len(shapes)):
            report({"phase": "folds", "done": done, "total": total, "label": f"{kind} {channels}"})
            ms = _ms(_pass(kind, fractional, channels, side), spreads)
            passes.append(PassTime(kind, fractional, channels * side * side, ms))
        report({"phase": "roundings", "done": total - 1, "total": total, "label": ""})
        round_to = _best_rounding()
    table = DeviceTable(
        device=device_name(torch.device("cpu")),
        threads=torch.get_num_threads(),
        torch=torch.__version__,
        date=datetime.now(UTC).strftime("%Y-%m-%d"),
        round_to=round_to,
        convs=tuple(convs),
        passes=tuple(passes),
        spread=median(spreads),
        seconds=time.perf_counter() - begun,
    )
    write_target(path, table.to_json())
    return table


def _conv_shapes() -> Iterator[tuple[int, int, int, int]]:
    for k in (1, 3):
        for side in SIDES:
            for c_in in CHANNELS:
                for c_out in CHANNELS:
                    if k * k * c_in * c_out * side * side <= MOST_MADDS:
                        yield k, c_in, c_out, side


def _pass_shapes() -> Iterator[tuple[str, bool, int, int]]:
    for kind in ("fold", "expand"):
        for fractional in (False, True):
            for side in SIDES:
                for channels in PASS_CHANNELS:
                    yield kind, fractional, channels, side


def _ms(call: Callable[[], Any], spreads: list[float]) -> float:
    """Return the median milliseconds of a call, and add how much its times scatter to ``spreads``."""
    times = time_rounds({"call": call}, torch.device("cpu"), SECONDS_EACH, least=5, most=50)["call"]
    low, middle, high = quartiles(times)
    spreads.append((high - low) / middle)
    return middle


def _conv(k: int, c_in: int, c_out: int, side: int) -> Callable[[], Any]:
    x, weight = torch.randn(1, c_in, side, side), torch.randn(c_out, c_in, k, k)
    return partial(F.conv2d, x, weight, None, 1, k // 2)


def _pass(kind: str, fractional: bool, channels: int, side: int) -> Callable[[], Any]:
    routing, half = "free" if fractional else "tiled", channels // 2
    if kind == "fold":
        layer = EpitomeConv2d(channels, 8, 1, epitome_shape=(8, half, 1, 1), patch_channels=(8, 16), routing=routing)
        taps = layer.taps()[1]
        assert taps is not None  # the axis is shorter than the weight's
        return partial(fold, torch.randn(1, channels, side, side), taps, 1)
    layer = EpitomeConv2d(8, channels, 1, epitome_shape=(half, 8, 1, 1), patch_channels=(16, 8), routing=routing)
    taps = layer.taps()[0]
    assert taps is not None  # the axis is shorter than the weight's
    return partial(expand, torch.randn(1, half, side, side), taps, 1)


def _best_rounding() -> int:
    """Return the smallest multiple of channels with which the time per multiply-add is within 5 % of the best."""
    widths = {8: 104, 16: 112, 32: 96}
    calls = {str(r): _conv(1, widths[r], widths[r], 14) for r in ROUNDINGS}
    times = time_rounds(calls, torch.device("cpu"), 5 * SECONDS_EACH, least=15, most=100)
    speed = {r: median(times[str(r)]) / widths[r] ** 2 for r in ROUNDINGS}
    return next(r for r in ROUNDINGS if speed[r] <= 1.05 * min(speed.values()))
