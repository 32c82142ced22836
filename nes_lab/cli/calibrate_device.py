"""``nes-lab calibrate-device``: measure once how fast this machine computes, to plan with ``--strategy speed``.

Tests: tests/planning/test_speed.py
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nes_lab.cli.json_output import print_json, stdout_to_stderr
from nes_lab.cli.options import parse
from nes_lab.errors import check_int

__all__ = ["CalibrateDeviceCommand", "run_command"]


@dataclass(frozen=True)
class CalibrateDeviceCommand:
    """Measure the times of convolutions, folds and expansions on this machine's CPU, and store them for --strategy speed.

    It takes a few seconds, or a minute on a slow machine. Run nothing else meanwhile. Run it again after a change of machine, threads or
    torch.
    """

    threads: int | None = None
    """Number of threads of torch, as it will be when the network runs; by default torch's own choice."""
    json: bool = False
    """Print the result as one JSON value on standard output; everything else goes to standard error."""


def run_command(words: Sequence[str]) -> int:
    """Measure the times of this machine, store them, and print what was measured."""
    options = parse(CalibrateDeviceCommand, "calibrate-device", words)
    if options.threads is not None:
        check_int("threads", options.threads, 1)
    with stdout_to_stderr():
        import torch

        from nes_lab.tuning.device_table import calibrate_device, table_path

        if options.threads is not None:
            torch.set_num_threads(options.threads)
        table = calibrate_device(progress=True)
    if options.json:
        print_json(table.to_dict())
    else:
        print(table)
        print(f"stored in {table_path()}; plan with strategy='speed', or with --strategy speed")
    return 0
