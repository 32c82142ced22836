"""Evaluate a network on data, such as the validation images."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from nes_lab.backbones.class_names import classes_of
from nes_lab.backbones.preprocessing import preprocessing_note, preprocessing_of
from nes_lab.cost.batch_pair import check_pair
from nes_lab.cost.probe import evaluating
from nes_lab.datasets.as_dataset import as_split
from nes_lab.datasets.class_order import permutation_note
from nes_lab.datasets.spec import DatasetSpec, Split
from nes_lab.errors import OptionError
from nes_lab.progress_bar import OnProgress, progress_reporter
from nes_lab.records.options import AmpMode
from nes_lab.training import distributed
from nes_lab.training.device import layout_of
from nes_lab.training.head import Head, largest_class
from nes_lab.training.metrics import AnyMetric, in_float32
from nes_lab.training.networks import check_network
from nes_lab.training.precision import Precision
from nes_lab.training.running_metrics import RunningMetrics
from nes_lab.training.task import CLASSIFICATION, Loss, Task

__all__ = ["evaluate", "evaluate_split"]


def _never() -> bool:
    return False


def evaluate(
    network: nn.Module,
    data: Any,
    *,
    loss: Loss | None = None,
    metrics: Mapping[str, AnyMetric] | None = None,
    batch_size: int = 256,
    device: torch.device | str | None = None,
    amp: AmpMode = "off",
    channels_last: bool = False,
    progress: bool = False,
    on_progress: OnProgress | None = None,
) -> dict[str, float]:
    """Return the mean loss and the metrics of a network on data.

    Every example has the same weight, also if the last batch is shorter. The network runs in evaluation mode. Afterwards every
    module is set back to its previous mode.

    Args:
        network: The network.
        data: A map-style data set of (input, target) pairs, a pair of tensors (inputs, targets), a loader of batches
            ``(inputs, targets)``, or a data set of NES Lab, whose validation split is used.
        loss: Function of (outputs, targets) that returns the mean loss of the batch, a tensor with a loss per example, or a pair
            (sum, count). None: cross entropy, in nats.
        metrics: Name -> function of (outputs, targets), or a pair (function, ``"lower"``), or a
            :class:`~nes_lab.training.metrics.Metric`. A function returns the mean over the batch, a tensor with a value per
            example, or a pair (sum, count). None: top-1 and top-5 accuracy in percent for cross entropy, and no metrics for
            another loss.
        batch_size: Number of examples per forward pass; not used if ``data`` is a loader. It changes the returned values only by
            rounding errors.
        device: The device of the network; inputs and targets are moved to it. None: the device of its first parameter.
        amp: Mixed precision: ``"auto"`` (on GPUs), ``"off"``, ``"bf16"`` or ``"fp16"``.
        channels_last: Store images in torch's channels-last memory format.
        progress: Show a bar on standard error.
        on_progress: Function that is called after each batch with a :class:`~nes_lab.progress_bar.ProgressEvent` that counts
            examples. None: no function is called.

    Returns:
        A dict with ``loss`` and one entry per metric.

    Raises:
        DataError: If the data has another form, or is empty; the message says what it is.
        OptionError: If a loss or metric is not a function or returns something else, or the default loss does not suit the data.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> import nes_lab
        >>> inputs, targets = torch.zeros(5, 3), torch.tensor([[1.0], [2.0], [3.0], [4.0], [5.0]])
        >>> network = nn.Linear(3, 1)
        >>> _ = nn.init.zeros_(network.bias)
        >>> absolute = (lambda outputs, targets: (outputs - targets).abs(), "lower")
        >>> nes_lab.evaluate(network, (inputs, targets), loss=nn.MSELoss(), metrics={"error": absolute}, batch_size=2)
        {'loss': 11.0, 'error': 3.0}
    """
    check_network(network)
    if batch_size < 1:
        raise OptionError(f"batch_size={batch_size!r} should be at least 1")
    task, split = Task.of(loss, metrics), as_split(data)
    if note := permutation_note(classes_of(network), _class_names(data)):
        warnings.warn(note, stacklevel=2)
    if isinstance(data, DatasetSpec) and (note := preprocessing_note(preprocessing_of(network), data.preprocessing)):
        warnings.warn(note, stacklevel=2)
    head = Head(len(_class_names(data) or ()), may_have_more=True) if loss is None else None
    if device is None:
        device = next((parameter.device for parameter in network.parameters()), torch.device("cpu"))
    options = {"batch_size": batch_size, "device": device, "amp": amp, "channels_last": channels_last}
    with progress_reporter(progress, on_progress, "evaluation") as report:
        numbers = evaluate_split(network, split, task, **options, on_progress=report, head=head)
    assert numbers is not None  # nothing asks it to stop
    return numbers


def _class_names(data: Any) -> list[str] | None:
    names = getattr(data, "classes", None)  # of a DatasetSpec, or of a data set of torchvision
    return [str(name) for name in names] if isinstance(names, tuple | list) else None


def evaluate_split(
    model: nn.Module,
    split: Split,
    task: Task = CLASSIFICATION,
    *,
    batch_size: int = 256,
    device: torch.device | str = "cpu",
    amp: AmpMode = "off",
    should_stop: Callable[[], bool] = _never,
    all_ranks: bool = False,
    channels_last: bool = False,
    on_progress: OnProgress | None = None,
    head: Head | None = None,
) -> dict[str, float] | None:
    """Return a network's mean loss and metrics on a split, in one process or in several that train together.

    Args:
        model: A network on ``device``.
        split: The inputs and targets.
        task: The loss and the metrics.
        batch_size: Number of examples per forward pass.
        device: Device of the network. Inputs and targets are moved to this device.
        amp: Mixed precision: ``"auto"`` (on GPUs), ``"off"``, ``"bf16"`` or ``"fp16"``.
        should_stop: Function that is called before every batch. If it returns True, the evaluation stops.
        all_ranks: True: divide the batches among all processes of a training. Every process must then call this
            function, and each gets the values for all examples.
        channels_last: Store images in torch's channels-last memory format.
        on_progress: Function that is called after each batch; None: no function is called.
        head: Compares the outputs with the classes of the data; None: they are not compared.

    Returns:
        A dict with ``loss`` and one entry per metric, or None if the evaluation was stopped.
    """
    device = torch.device(device)
    precision, running, loss_of = Precision(device, amp), RunningMetrics(device, task.metrics), task.loss_on(device)
    done = 0
    with evaluating(model):
        for batch in _batches(split, batch_size, all_ranks and distributed.world_size() > 1, should_stop):
            if batch is None:
                return None
            if not done:
                check_pair("data", batch, model, targets_used=True)
            inputs = batch[0].to(device, non_blocking=True, copy=True)  # the network may write into its input
            inputs = inputs.to(memory_format=layout_of(inputs, channels_last))
            targets = batch[1].to(device, non_blocking=True)
            with precision.autocast():
                outputs = model(inputs)
            outputs = in_float32(outputs)
            if head is not None:
                head.check(outputs, largest_class(batch[1]))
            running.update(loss_of(outputs, targets), outputs, targets)
            done += len(targets)
            if on_progress is not None:
                on_progress({"phase": "examples", "done": done, "total": len(split), "label": ""})
    return running.means(all_ranks)


def _batches(
    split: Split, batch_size: int, all_ranks: bool, should_stop: Callable[[], bool]
) -> Iterator[tuple[Tensor, Tensor] | None]:
    """Yield the batches of a split. Yield None instead of a batch if the evaluation should stop."""
    if not all_ranks:
        for batch in split.eval_batches(batch_size):
            yield None if should_stop() else batch
        return
    rank, world = distributed.rank(), distributed.world_size()
    own_batches = iter(split.eval_batches(batch_size, shard=(rank, world)))
    for _ in range(math.ceil(math.ceil(len(split) / batch_size) / world)):  # all processes repeat equally often
        batch = distributed.next_on_all_ranks(own_batches)
        if any(distributed.max_over_ranks(should_stop())):
            yield None
        elif batch is not None:
            yield batch
