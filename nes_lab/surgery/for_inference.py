"""Copy a network so that it keeps its sampled weights from one call to the next, for inference only.

Tests: tests/nn/test_inference_cache.py
"""

from __future__ import annotations

import torch

from nes_lab.cost.probe import in_mode
from nes_lab.nn.bake import bake
from nes_lab.nn.copy_network import Model, copy_network
from nes_lab.nn.inspect import epitome_layers
from nes_lab.nn.model_checks import check_copyable, check_module

__all__ = ["for_inference", "keep_for_inference_"]


def for_inference(network: Model) -> Model:
    """Copy a network for inference. The copy samples each weight once and keeps it, without looking for changes of its numbers.

    Without this call, an epitome layer is always right, and a little slower. On a CPU it compares its parameters with a copy
    at each call, and samples the weight again if they differ. On other devices it samples the weight at each call. The page
    docs/speed.md says what this costs.

    In the copy, a layer relies on torch's count of in-place changes. So these changes are seen, and the weight is sampled
    again: ``load_state_dict``, ``copy_`` and other in-place operations, a new parameter, ``to``. These changes are **not**
    seen, so do not make them in the copy: writing through ``.data`` or through numpy, ``vector_to_parameters``, and steps of
    fused optimizers without a backward pass.

    The method ``train()`` of the copy, or of a layer in it, ends this: such layers look for changes again, also after
    ``eval()``. Copies of the copy and saved files begin without it too. Call ``for_inference`` again for them.

    Weights are kept in evaluation mode, inside ``torch.no_grad()`` or ``torch.inference_mode()``. They take as much memory as
    the dense layers' weights. Compiled code (``torch.compile``) keeps nothing. Pruning masks and parametrizations of epitome
    layers are baked into their tensors.

    Args:
        network: Any module; it is not changed.

    Returns:
        The copy, of the network's class, in evaluation mode.

    Raises:
        OptionError: If ``network`` is not a Python module, or if a copy of it would run the layers of the original.

    Examples:
        >>> import nes_lab, torch
        >>> network = torch.nn.Sequential(nes_lab.EpitomeLinear(64, 64, epitome_shape=(32, 32)))
        >>> serving = nes_lab.for_inference(network)
        >>> with torch.inference_mode():
        ...     serving(torch.randn(4, 64)).shape
        torch.Size([4, 64])
    """
    check_module(network, "for_inference")
    check_copyable(network, "for_inference")
    with torch.inference_mode(False):
        return keep_for_inference_(in_mode(copy_network(bake(network))))


def keep_for_inference_(network: Model) -> Model:
    """Let the epitome layers of a network keep their weights, as in the copy that :func:`for_inference` makes.

    Args:
        network: Any module in evaluation mode. It is changed, and returned.

    Examples:
        >>> keep_for_inference_(torch.nn.Linear(2, 2).eval()).training
        False
    """
    for _, layer in epitome_layers(network):
        layer.keep_for_inference_()
    return network
