"""Copy weights between an epitome layer and a plain torch layer, in both directions.

Tests: tests/surgery/test_replace.py, tests/nn/test_kinds.py
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Self, get_args

import torch
from torch import Tensor, nn

from nes_lab.epitome.routing_map import RoutingMap
from nes_lab.errors import GeometryError, OptionError, check_choice
from nes_lab.nn.bake import bake
from nes_lab.nn.copy_network import copy_network
from nes_lab.nn.flat_epitome import load_flat_
from nes_lab.nn.init import copy_epitome, fit_epitome
from nes_lab.nn.kinds import class_kind
from nes_lab.nn.own_attributes import own_attributes
from nes_lab.records.options import EpitomeInit
from nes_lab.renamed import renamed_arguments

_SETTINGS = (bool, int, float, str, type(None))
SAMPLED_FROM = ("epitome", "alpha")
"""Names of the parameters from which a layer's weight is sampled."""

__all__ = ["SAMPLED_FROM", "DenseExchange", "fill_dense", "hollow_copy"]


class DenseExchange(nn.Module, ABC):
    """Base class of epitome layers: copies weights from a dense layer, and makes a dense layer with the sampled weight."""

    kind: str
    """Name of the kind of layer, as compression plans write it."""
    shell: nn.Module | None = None
    """Copy, without parameters, of the dense layer that this layer was made from; None if that was of torch's own class."""
    carried: frozenset[str] = frozenset()
    """Names of the parameters, buffers and submodules that users had added to the dense layer, which this layer has too."""
    dense: type[nn.Module]
    """Torch's own class for this kind of layer."""
    epitome: nn.Parameter
    alpha: nn.Parameter | None
    bias: nn.Parameter | None
    scale: Tensor | None

    @abstractmethod
    def routing_map(self) -> RoutingMap:
        """Return the routing map: the starts (positions of patches in the epitome) that inference uses."""

    @abstractmethod
    def materialize(self) -> Tensor:
        """Sample the layer's weight from its epitome."""

    @abstractmethod
    def plain(self) -> nn.Module:
        """Make a layer of torch's own class (such as ``nn.Conv2d``) with the sampled weight."""

    @renamed_arguments(weights="initial_weights")
    def load_dense_(self, weight: Tensor, bias: Tensor | None, initial_weights: EpitomeInit = "fit") -> Self:
        """Set this layer's epitome and bias from a dense layer's weight and bias, and return this layer.

        Nothing changes if ``weight`` or the epitome is on torch's meta device, where tensors have no values.

        Args:
            weight: Weight of the dense layer, of shape ``geometry.weight_shape``.
            bias: Bias of the dense layer; None leaves this layer's bias as it is.
            initial_weights: ``"fit"``: the epitome becomes the one whose sampled weight is nearest to ``weight``; ``"reset"``:
                each cell takes the value of one weight that reads it; ``"none"``: nothing changes.

        Raises:
            OptionError: If ``weight`` holds NaN or infinity, or if ``initial_weights`` is not one of these three words.
            GeometryError: If ``weight`` does not have the shape ``geometry.weight_shape``.
        """
        check_choice("initial_weights", initial_weights, get_args(EpitomeInit))
        if initial_weights == "none" or weight.is_meta or self.epitome.is_meta:
            return self
        with torch.inference_mode(False), torch.no_grad():
            if not bool(weight.isfinite().all()):
                raise OptionError("weight holds NaN or infinity; an epitome cannot be made from it")
            self.scale = None
            self._load_cells_(weight, initial_weights)
            if self.bias is not None and bias is not None:
                self.bias.copy_(bias)
        return self

    def _load_cells_(self, weight: Tensor, initial_weights: EpitomeInit) -> None:
        if self.alpha is not None:
            load_flat_([self], [weight], initial_weights)
        else:
            make = fit_epitome if initial_weights == "fit" else copy_epitome
            self.epitome.copy_(make(self.routing_map(), weight))

    def copy_dense_state_(self, dense: nn.Module, initial_weights: EpitomeInit = "fit") -> Self:
        """Copy a dense layer's weight, bias, training mode and ``requires_grad`` flags into this layer, and return this layer.

        Args:
            dense: Dense layer of the same kind and shape; it is not changed.
            initial_weights: ``"fit"``: the epitome becomes the one whose sampled weight is nearest to the dense weight;
                ``"reset"``: each cell takes the value of one weight that reads it; ``"none"``: epitome and bias do not change.

        Raises:
            GeometryError: If ``dense`` is a layer of another kind.
        """
        if class_kind(type(dense)) != self.kind:
            raise GeometryError(
                f"{type(self).__name__} cannot replace a {type(dense).__name__}, which computes something else"
            )
        self.load_dense_(dense.weight, dense.bias, initial_weights)  # type: ignore[arg-type]
        for name, parameter in self.named_parameters(recurse=False):
            source = getattr(dense, "weight" if name in SAMPLED_FROM else name)
            parameter.requires_grad_(source.requires_grad)
        if type(dense) is not self.dense:
            object.__setattr__(self, "shell", hollow_copy(dense))  # not a child: it holds no numbers
        return self.train(dense.training)

    def to_dense(self) -> nn.Module:
        """Make a dense layer with the sampled weight. Its outputs equal this layer's up to rounding.

        If this epitome layer replaced a dense layer, the new layer has the class of that layer. Otherwise it has torch's own
        class, such as ``nn.Conv2d``. Pruning masks and parametrizations are baked into its tensors.
        """
        baked = bake(self)
        if baked is not self:
            return baked.to_dense()
        if self.shell is None:
            return self.plain()
        dense = copy_network(self.shell)
        with torch.no_grad():
            dense.weight = nn.Parameter(self.materialize().detach().clone())
        for name, parameter in self.named_parameters(recurse=False):
            if name not in SAMPLED_FROM:
                setattr(dense, name, nn.Parameter(parameter.detach().clone()))
        return _copy_flags(dense, self)


def hollow_copy(module: nn.Module) -> nn.Module:
    """Copy only the class and the settings of a layer, without its parameters, buffers and hooks.

    Examples:
        >>> hollow_copy(nn.Linear(2, 3)).weight is None
        True
    """
    shell, own = module.__new__(type(module)), own_attributes(type(module))
    bare = nn.Module().__dict__
    kept = {name: value for name, value in vars(module).items() if name in own or isinstance(value, _SETTINGS)}
    shell.__dict__.update(kept, **bare)
    shell.__dict__["_parameters"] = {name: None for name in module._parameters if name in own}
    return shell


def fill_dense(module: nn.Module, layer: DenseExchange) -> nn.Module:
    """Copy an epitome layer's sampled weight and bias into a dense module, and return the module.

    The training mode and the ``requires_grad`` flags are copied too.
    """
    with torch.no_grad():
        module.weight.copy_(layer.materialize())  # type: ignore[union-attr, operator]
        if layer.bias is not None:
            module.bias.copy_(layer.bias)  # type: ignore[union-attr, operator]
    return _copy_flags(module, layer)


def _copy_flags(dense: nn.Module, layer: DenseExchange) -> nn.Module:
    for name, parameter in dense.named_parameters(recurse=False):
        parameter.requires_grad_(getattr(layer, "epitome" if name == "weight" else name).requires_grad)
    return dense.train(layer.training)
