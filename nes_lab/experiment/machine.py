"""Measure what a training takes of its machine: processor, memory, and memory of the GPU.

Tests: tests/experiment/test_machine.py.
"""

from __future__ import annotations

from typing import Any

import torch

from nes_lab.errors import MissingPackageError
from nes_lab.packages import need

__all__ = ["MachineMeter"]


class MachineMeter:
    """Measures what this process takes of its machine. A measurement takes well under a millisecond.

    Without the package psutil, only the memory of the GPU is measured.

    Examples:
        >>> sorted(MachineMeter(torch.device("cpu")).read())
        ['cpu_percent', 'memory_bytes', 'memory_percent']
    """

    def __init__(self, device: torch.device) -> None:
        """Begin to measure.

        Args:
            device: The device that trains.
        """
        self.device = device
        self._process: Any = None
        try:
            psutil = need("psutil", "measuring the machine")
            self._process, self._cores = psutil.Process(), psutil.cpu_count() or 1
            self._error = psutil.Error
            self._process.cpu_percent()  # the next call measures from here on
        except MissingPackageError:
            pass

    def read(self) -> dict[str, float]:
        """Return what the process takes now; the processor's share is a mean since the last call.

        Returns:
            ``cpu_percent`` (of all cores), ``memory_bytes`` and ``memory_percent`` (of the machine's memory), and on CUDA
            ``gpu_memory_bytes`` and ``gpu_memory_percent``, which torch has reserved. What cannot be measured is left out.
        """
        found: dict[str, float] = {}
        if self._process is not None:
            try:
                found["cpu_percent"] = round(self._process.cpu_percent() / self._cores, 1)
                found["memory_bytes"] = int(self._process.memory_info().rss)
                found["memory_percent"] = round(self._process.memory_percent(), 2)
            except (self._error, OSError):  # a system may not tell
                pass
        if self.device.type == "cuda":
            reserved, total = (
                torch.cuda.memory_reserved(self.device),
                torch.cuda.get_device_properties(self.device).total_memory,
            )
            found |= {"gpu_memory_bytes": reserved, "gpu_memory_percent": round(100 * reserved / total, 2)}
        return found
