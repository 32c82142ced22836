"""Check that a run's initial network has one output per class of the data, or replace its classifier.

Tests: tests/experiment/test_start_from.py.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from nes_lab.cost.probe import evaluating
from nes_lab.datasets.sampling import stream_seed
from nes_lab.datasets.spec import DatasetSpec
from nes_lab.errors import NesLabError, OptionError
from nes_lab.nn.copy_network import copy_network

__all__ = ["with_outputs_for"]


def with_outputs_for(data: DatasetSpec, network: nn.Module, name: str, *, new_head: bool, seed: int) -> nn.Module:
    """Return the network with as many outputs as the data has classes.

    It may have more of them if the classes were only counted from the targets.

    Args:
        data: The data of the run.
        network: The network from which the run starts; it does not change.
        name: Name of the network for messages; empty for a network in memory.
        new_head: Whether to give a network with another number of outputs a new, random classifier.
        seed: Seed of the new classifier.

    Raises:
        OptionError: If the network cannot take the inputs, or has another number of outputs and gets no new classifier.

    Examples:
        >>> from nes_lab.datasets.digits import load_digits
        >>> network = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
        >>> with_outputs_for(load_digits(limit=16), network, "mine", new_head=False, seed=0) is network
        True
    """
    about = f"start={name!r}" if name else f"network={type(network).__name__}"
    outputs = _outputs(network, about, data.example_input())
    if not data.num_classes or not isinstance(outputs, Tensor) or outputs.ndim != 2:
        return network
    if outputs.shape[1] == data.num_classes:
        return network
    if data.counted_classes and outputs.shape[1] > data.num_classes and not new_head:
        return network  # a class without an example may be meant; the training warns
    differ = f"{about} has {outputs.shape[1]:,} outputs, and the data {data.name} has {data.num_classes:,} classes"
    if not new_head:
        raise OptionError(f"{differ}; backbone.new_head=true gives it a new classifier")
    return _with_new_head(network, data.num_classes, stream_seed(seed, 1), differ)


def _outputs(network: nn.Module, about: str, example: Tensor) -> object:
    try:
        with evaluating(network, example):
            return tree_map_only(Tensor, torch.clone, network(example))
    except (RuntimeError, ValueError, TypeError, IndexError, AssertionError, NesLabError) as error:
        raise OptionError(
            f"{about} cannot take an input of shape {tuple(example.shape)}: {str(error)[:300]}"
        ) from error


def _with_new_head(network: nn.Module, classes: int, seed: int, differ: str) -> nn.Module:
    """Copy a network, and give the copy a new, random classifier.

    If the network's compression plan compresses the old classifier, the copy has no attribute ``nes_lab_plan``.
    """
    layer = (getattr(network, "default_cfg", None) or {}).get("classifier")
    network = copy_network(network)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if hasattr(network, "reset_classifier"):  # timm's networks
            network.reset_classifier(classes)  # type: ignore[operator]
        elif isinstance(layer, str) and isinstance(old := network.get_submodule(layer), nn.Linear):
            parent, _, last = layer.rpartition(".")
            setattr(network.get_submodule(parent), last, nn.Linear(old.in_features, classes, old.bias is not None))
        else:
            raise OptionError(
                f"{differ}, and its classifier is not known; replace it, and give the network as network="
            )
    plan = getattr(network, "nes_lab_plan", None)
    if plan is not None and layer in plan.layers:
        del network.nes_lab_plan
    return network
