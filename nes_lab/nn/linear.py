"""Provide the epitome linear layer, with the arguments of :class:`torch.nn.Linear`.

Tests: tests/nn/test_layer.py
"""

from __future__ import annotations

from typing import Self, Unpack

import torch
from torch import nn

from nes_lab.errors import GeometryError
from nes_lab.execution.base import LayerOp
from nes_lab.geometry.epitome_geometry import Boundary, Scope
from nes_lab.nn.dense import fill_dense
from nes_lab.nn.layer import EpitomeLayer
from nes_lab.records.keywords import EpitomeKeywords
from nes_lab.records.options import EpitomeDtype, EpitomeInit, ExecutionOption, LearnerKind, Routing, Squash
from nes_lab.renamed import renamed_arguments

__all__ = ["EpitomeLinear"]


class EpitomeLinear(EpitomeLayer):
    r"""Linear layer whose weight is sampled from a smaller tensor, the epitome.

    With every ``execution`` (way to compute the layer), output and gradients equal those of
    ``F.linear(x, layer.materialize(), bias)``.

    Args:
        in_features, out_features, bias, device, dtype: Arguments of :class:`torch.nn.Linear`.
        epitome_shape: Shape of the epitome, ``(E_out, E_in)``: its lengths along output and input features.
        patch_channels, routing, scope, boundary, execution, seed, windows, epitome_dtype, reach, squash, momentum, learner: Arguments of
            :class:`~nes_lab.nn.conv.EpitomeConv2d`.

    Shape:
        - input ``(..., in_features)``, output ``(..., out_features)``

    Raises:
        GeometryError: If a patch does not fit in the epitome; the message names the axis and the lengths of patch and epitome.

    Examples:
        >>> import torch, nes_lab
        >>> layer = nes_lab.EpitomeLinear(32, 64, epitome_shape=(16, 16))
        >>> layer(torch.randn(5, 32)).shape
        torch.Size([5, 64])

    Source: Zhou et al., ICLR 2020, arXiv:1907.05642.
    """

    kind = "linear"
    dense = nn.Linear

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        epitome_shape: tuple[int, ...],
        patch_channels: int | tuple[int, int] | None = None,
        routing: Routing = "tiled",
        scope: Scope = "separable",
        boundary: Boundary = "clamp",
        execution: ExecutionOption = "auto",
        seed: int = 0,
        windows: int = 1,
        epitome_dtype: EpitomeDtype = "float",
        reach: float = 1.0,
        squash: Squash = "tanh",
        momentum: float = 0.9,
        learner: LearnerKind = "mlp",
    ) -> None:
        super().__init__(
            (out_features, in_features),
            LayerOp(),
            bias,
            epitome_shape=epitome_shape,
            patch_channels=patch_channels,
            routing=routing,
            scope=scope,
            boundary=boundary,
            execution=execution,
            seed=seed,
            windows=windows,
            epitome_dtype=epitome_dtype,
            reach=reach,
            squash=squash,
            momentum=momentum,
            learner=learner,
            device=device,
            dtype=dtype,
        )
        self.in_features, self.out_features = in_features, out_features

    @classmethod
    @renamed_arguments(weights="initial_weights")
    def from_linear(
        cls, linear: nn.Linear, initial_weights: EpitomeInit = "fit", **epitome: Unpack[EpitomeKeywords]
    ) -> Self:
        """Make the epitome layer that replaces a dense linear layer.

        The new layer has the dtype, the device and the training mode of the dense layer. It has a bias if the dense
        layer has one.

        Args:
            linear: The dense layer; it is not changed.
            initial_weights: ``"fit"``: the epitome is the one whose sampled weight is nearest to the dense weight; ``"reset"``:
                each cell takes the value of one weight that reads it; ``"none"``: epitome and bias are random.
            **epitome: Keyword arguments of the new layer: ``epitome_shape``, and others such as ``patch_channels`` and
                ``routing``.

        Raises:
            GeometryError: If a patch does not fit in the epitome, or if ``linear`` is not a linear layer.

        In the example, the epitome is as large as the weight. So the layer's weight is equal to the dense weight.

        Examples:
            >>> linear = nn.Linear(4, 8)
            >>> layer = EpitomeLinear.from_linear(linear, epitome_shape=(8, 4))
            >>> torch.equal(layer.weight, linear.weight)
            True
        """
        if not isinstance(linear, nn.Linear):
            raise GeometryError(f"linear is a {type(linear).__name__}; from_linear takes a Linear")
        layer = cls(
            linear.in_features,
            linear.out_features,
            linear.bias is not None,
            linear.weight.device,
            linear.weight.dtype,
            **epitome,
        )
        return layer.copy_dense_state_(linear, initial_weights)

    def plain(self) -> nn.Linear:
        """Make a plain torch linear layer with the sampled weight. Its outputs equal this layer's up to rounding."""
        linear = nn.Linear(
            self.in_features, self.out_features, self.bias is not None, self.epitome.device, self.epitome.dtype
        )
        return fill_dense(linear, self)  # type: ignore[return-value]
