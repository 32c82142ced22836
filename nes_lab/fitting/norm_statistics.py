"""Batch norms and fitting: their statistics measured anew, and factors of rows handed to the norm that reads them."""

from __future__ import annotations

import copy
from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from nes_lab.cost.count import run_example
from nes_lab.errors import OptionError
from nes_lab.fitting.calibration_batches import batches_of
from nes_lab.progress_bar import OnProgress, progress_reporter
from nes_lab.renamed import progress_or_callback, renamed_arguments
from nes_lab.surgery.foldable_norms import fusable

__all__ = ["give_to_norm", "reestimate_norms", "reestimate_norms_", "scaling_norms"]


@renamed_arguments(progress=progress_or_callback)
def reestimate_norms(
    model: nn.Module, batches: Any, *, progress: bool = False, on_progress: OnProgress | None = None
) -> nn.Module:
    """A copy of a model whose batch norms have the statistics of these batches.

    A changed network feeds its norms other numbers than those whose mean and variance they keep; a few hundred examples mend that,
    without labels or gradients. Means and variances become plain averages over the batches, all norms in the same passes, each fed
    by norms that use their batch. All else runs as in evaluation; modes and momenta are kept.

    Args:
        model: Left as it was.
        batches: A data loader or a list of batches, on the model's device: tensors, ``(inputs, labels)`` or dicts of arguments.
        progress: Show a bar on standard error.
        on_progress: Called with a :class:`~nes_lab.progress_bar.ProgressEvent` at each piece of work; None: nobody is.

    Raises:
        OptionError: If there is no batch, if one is no input of the model, or if a statistic would not be finite.

    Examples:
        >>> model = nn.Sequential(nn.BatchNorm1d(2)).eval()
        >>> x = torch.tensor([[1.0, 10.0], [3.0, 30.0]])
        >>> reestimate_norms(model, [x])[0].running_mean, model[0].running_mean
        (tensor([ 2., 20.]), tensor([0., 0.]))
    """
    if not isinstance(model, nn.Module):
        raise OptionError(f"model is a {type(model).__name__}; reestimate_norms takes a torch module")
    model = copy.deepcopy(model)
    with progress_reporter(progress, on_progress) as show:
        reestimate_norms_(model, batches, "batches", show)
    return model


def reestimate_norms_(model: nn.Module, batches: Any, argument: str, show: OnProgress) -> int:
    """As :func:`reestimate_norms`, in place; returns the number of batches."""
    norms = {n: m for n, m in model.named_modules() if isinstance(m, _BatchNorm) and m.running_mean is not None}
    modes = [(m, m.training) for m in model.modules()]
    momenta = {name: norm.momentum for name, norm in norms.items()}
    total = len(batches) if hasattr(batches, "__len__") and not isinstance(batches, Tensor) else 0
    count = 0
    try:
        model.eval()
        for norm in norms.values():
            norm.reset_running_stats()
            norm.momentum = None  # torch's sign for a cumulative average
            norm.training = True
        with torch.no_grad():
            for count, x in enumerate(batches_of(argument, batches), start=1):
                run_example(model, x)
                show({"done": count, "total": max(total, count), "phase": "norms", "label": f"{len(norms)} norms"})
    finally:
        for module, training in modes:
            module.training = training
        for name, norm in norms.items():
            norm.momentum = momenta[name]
    spoiled = [n for n, m in norms.items() if not bool((m.running_mean + m.running_var).isfinite().all())]  # type: ignore[operator]
    if spoiled:
        raise OptionError(
            f"{argument}: the statistics of norm {spoiled[0]!r} are not finite; look for NaN in the batches"
        )
    return count


def scaling_norms(model: nn.Module, names: Collection[str]) -> dict[str, str]:
    """Layers whose rows may each have a factor, and the batch norm that takes it: the only reader of the layer's output."""
    pairs = {layer: norm for norm, layer in fusable(model).items() if layer in names}
    norms = {layer: model.get_submodule(norm) for layer, norm in pairs.items()}
    return {layer: norm for layer, norm in pairs.items() if getattr(norms[layer], "weight", None) is not None}


def give_to_norm(norm: nn.Module, bias: Tensor | None, row_scale: Tensor | None, shift: Tensor | None) -> None:
    """Let a norm see ``y / row_scale + shift`` where it saw ``y``, with the same result in evaluation.

    The norm's variance takes the factor's size and its weight the sign, so that statistics measured anew divide it out again. A
    channel whose variance was nearly nothing (what ``eps`` is for) keeps the little weight it had.

    Args:
        norm: With running statistics and weight; changed.
        bias: Of the layer before it; changed.
        row_scale: Factor by which the layer's rows are now too small; None for ones.
        shift: By how much the mean of the layer's output moved, after scaling; None for nothing.
    """
    mean, var, weight = (getattr(norm, n) for n in ("running_mean", "running_var", "weight"))
    with torch.no_grad():
        if row_scale is not None:
            scale = row_scale.to(mean.dtype)
            weight.mul_(scale.sign() * (var / (var + norm.eps)).sqrt())
            mean.div_(scale)
            var.copy_((var / scale.square() - norm.eps).clamp_min(0))  # type: ignore[operator]
            if bias is not None:
                bias.div_(scale.to(bias.dtype))
        if shift is not None:
            mean.add_(shift.to(mean.dtype))
