"""Measure the running mean and variance of a model's batch norms again, on given batches."""

from __future__ import annotations

from typing import Any, TypeVar

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from nes_lab.cost.left_as_it_was import left_as_it_was
from nes_lab.cost.probe import evaluating, run_example
from nes_lab.errors import OptionError
from nes_lab.fitting.calibration_batches import calibration_batches, number_of_batches
from nes_lab.nn.copy_network import copy_network
from nes_lab.progress_bar import OnProgress, progress_reporter
from nes_lab.renamed import progress_or_callback, renamed_arguments

__all__ = ["reestimate_norms", "reestimate_norms_"]

_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")

Model = TypeVar("Model", bound=nn.Module)


@renamed_arguments(progress=progress_or_callback)
def reestimate_norms(
    model: Model, batches: Any, *, progress: bool = False, on_progress: OnProgress | None = None
) -> Model:
    """Copy a model, and measure the running mean and variance of its batch norms on given batches.

    Compression changes the inputs of batch norms, so their stored statistics are wrong. A few hundred examples without
    labels are enough to correct them. The new statistics are plain averages over the batches. All norms are measured in
    one pass, in which each norm normalizes by the statistics of the batch. All other modules run in evaluation mode.
    The copy keeps the training or evaluation modes of the model and the ``momentum`` of the norms.

    Args:
        model: The model; it is not changed.
        batches: A data loader or a list of batches, on the model's device: tensors, ``(inputs, labels)`` or dicts of arguments.
            For a model with several arguments, ``((a, b), labels)``.
        progress: Show a progress bar on standard error.
        on_progress: Function called with a :class:`~nes_lab.progress_bar.ProgressEvent` after each batch; None: nothing is called.

    Raises:
        OptionError: If there is no batch, if a batch is not an input of the model, or if a new statistic is not finite.

    Examples:
        >>> import torch, nes_lab
        >>> model = torch.nn.Sequential(torch.nn.BatchNorm1d(2)).eval()
        >>> x = torch.tensor([[1.0, 10.0], [3.0, 30.0]])
        >>> nes_lab.reestimate_norms(model, [x])[0].running_mean, model[0].running_mean
        (tensor([ 2., 20.]), tensor([0., 0.]))
    """
    if not isinstance(model, nn.Module):
        raise OptionError(f"model is a {type(model).__name__}; reestimate_norms takes a torch module")
    model = copy_network(model)
    with progress_reporter(progress, on_progress, "norms") as report:
        reestimate_norms_(model, batches, "batches", report)
    return model


def reestimate_norms_(model: nn.Module, batches: Any, argument: str, report: OnProgress) -> int:
    """Measure the running mean and variance of a model's batch norms on given batches, and store them in the model.

    Args:
        model: The model; the statistics of its batch norms are changed.
        batches: A data loader or a list of batches: tensors, ``(inputs, labels)`` or dicts of arguments.
        argument: Name to use for ``batches`` in error messages.
        report: Function called with a :class:`~nes_lab.progress_bar.ProgressEvent` after each batch.

    Returns:
        The number of batches.
    """
    norms = {n: m for n, m in model.named_modules() if isinstance(m, _BatchNorm) and m.running_mean is not None}
    total, count = number_of_batches(batches), 0
    with evaluating(model):  # afterwards the model is as before, also what its forward method changes
        for norm in norms.values():
            norm.reset_running_stats()
            norm.momentum = None  # in torch None means a cumulative average
            norm.training = True
        for count, x in enumerate(calibration_batches(argument, batches, model), start=1):
            with left_as_it_was(x):
                run_example(model, x)
            report({"done": count, "total": max(total, count), "phase": "norms", "label": f"{len(norms)} norms"})
        measured = [norm.get_buffer(buffer).clone() for norm in norms.values() for buffer in _STATISTICS]
    for buffer, value in zip(
        (norm.get_buffer(b) for norm in norms.values() for b in _STATISTICS), measured, strict=True
    ):
        buffer.copy_(value)
    broken = [n for n, m in norms.items() if not bool((m.running_mean + m.running_var).isfinite().all())]  # type: ignore[operator]
    if broken:
        raise OptionError(
            f"{argument}: the statistics of norm {broken[0]!r} are not finite; look for NaN in the batches"
        )
    return count
