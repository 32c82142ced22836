"""Compute the mean loss and metrics over many batches.

The sums stay on the GPU until the means are read. Therefore the CPU need not wait for the GPU after each batch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from nes_lab.errors import OptionError
from nes_lab.training.distributed import max_over_ranks, sum_on_cpu, world_size
from nes_lab.training.metrics import ACCURACY, Metric, Total, call_named, total_of

__all__ = ["RunningMetrics"]


class RunningMetrics:
    """Means of the loss and of metrics over all batches added so far. Every example has the same weight.

    Args:
        device: Device of the losses and outputs. The sums are kept there.
        metrics: Name -> metric; by default the top-1 and top-5 accuracy in percent.

    Examples:
        >>> metrics = RunningMetrics("cpu")
        >>> metrics.update(torch.tensor(0.5), torch.tensor([[3.0, 1.0], [0.0, 2.0]]), torch.tensor([0, 0]))
        >>> metrics.means()
        {'loss': 0.5, 'top1': 50.0, 'top5': 100.0}
    """

    def __init__(self, device: torch.device | str, metrics: Mapping[str, Metric] = ACCURACY) -> None:
        self._dtype = torch.float32 if torch.device(device).type == "mps" else torch.float64  # MPS has no float64
        self._device, self._metrics = device, metrics
        self._totals: dict[str, Total] = {}

    def update(self, loss: Any, outputs: Any, targets: Tensor) -> None:
        """Add the loss and metrics of a batch to the means.

        Args:
            loss: Mean loss of the batch, a loss per example, or a pair ``(sum, count)``.
            outputs: What the network returned.
            targets: The targets, with the examples along the first axis.
        """
        with torch.no_grad():
            self._add("loss", loss, len(targets))
            for name, metric in self._metrics.items():
                self._add(name, call_named(f"metric {name!r}", metric.function, outputs, targets), len(targets))

    def _add(self, name: str, value: Any, examples: int) -> None:
        total, count = (part.to(self._device) for part in total_of(f"metric {name!r}", value, examples, self._dtype))
        before = self._totals.get(name, Total(torch.zeros_like(total), torch.zeros_like(count)))
        if before.sum.shape != total.shape:
            numbers = f"{before.sum.numel()} sums for one batch and {total.numel()} for another"
            raise OptionError(f"metric {name!r} returned {numbers}; return the same number for each")
        self._totals[name] = Total(before.sum + total, before.count + count)

    def means(self, all_ranks: bool = False) -> dict[str, float]:
        """Return the means of the loss and of the metrics over all batches added so far, as a dict.

        Without batches the means are NaN.

        Args:
            all_ranks: True: include the batches of all processes of the training. Every process must then call this
                method.
        """
        names = ("loss", *self._metrics)
        totals = self._totals if not all_ranks or world_size() == 1 else self._of_all_ranks(names)
        return {name: self._mean(name, totals.get(name)) for name in names}

    def _mean(self, name: str, total: Total | None) -> float:
        if total is None:
            return math.nan
        counted = total.count != 0
        if not bool(counted.any()):
            return math.nan
        mean = float((total.sum[counted] / total.count[counted]).mean())
        finish = self._metrics[name].finish if name in self._metrics else None
        return mean if finish is None else float(finish(mean))

    def _of_all_ranks(self, names: tuple[str, ...]) -> dict[str, Total]:
        lengths = [0 if (total := self._totals.get(name)) is None else total.sum.numel() for name in names]
        sizes = max_over_ranks(*lengths)  # a process without batches has no totals yet
        flat = torch.zeros(2, sum(sizes), dtype=self._dtype)
        for name, part in zip(names, flat.split(sizes, dim=1), strict=True):
            if name in self._totals:
                part[:, : self._totals[name].sum.numel()] = torch.stack(self._totals[name]).flatten(1).cpu()
        summed = sum_on_cpu(flat).split(sizes, dim=1)
        return {name: Total(*part) for name, part in zip(names, summed, strict=True) if part.numel()}

    def reset(self) -> None:
        """Set the sums and counts of the loss and of the metrics back to zero."""
        self._totals.clear()

    def state_dict(self) -> dict[str, dict[str, Tensor]]:
        """Return sums and counts of the loss and of the metrics, as dicts for :meth:`load_state_dict`."""
        parts = {name: Total(*(part.cpu().clone() for part in total)) for name, total in self._totals.items()}
        return {
            "sums": {n: total.sum for n, total in parts.items()},
            "counts": {n: total.count for n, total in parts.items()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from the sums and counts that :meth:`state_dict` returned."""
        if "images" in state:  # of older versions: loss times images, top-1 hits, top-5 hits, and the number of images
            factors, count = (1, 100, 100), int(state["images"])
            values = torch.as_tensor(state["sums"]).tolist() if count else []
            sums = {name: f * value for name, f, value in zip(("loss", "top1", "top5"), factors, values, strict=False)}
            state = {"sums": sums, "counts": dict.fromkeys(sums, count)}
        self.reset()
        for name, value in state["sums"].items():
            self._add(name, (torch.as_tensor(value), torch.as_tensor(state["counts"][name])), 0)
