"""Provide weight-standardized convolutions: each output channel's weights are first shifted and scaled to mean 0 and variance 1.

Source: Qiao et al., *Micro-Batch Training with Batch-Channel Normalization and Weight Standardization*, arXiv:1903.10520. The
gain, a learned factor per output channel, is from Brock et al., arXiv:2101.08692.

Tests: tests/nn/test_kinds.py
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal, Self, Unpack

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.fx import Proxy

from nes_lab.epitome.sampling import sample_patches
from nes_lab.execution.base import SAME_TF, LayerOp
from nes_lab.nn.conv import EpitomeConv2d
from nes_lab.nn.graph_call import record_call
from nes_lab.nn.same import EpitomeConv2dSame
from nes_lab.records.keywords import EpitomeKeywords
from nes_lab.records.options import EpitomeInit
from nes_lab.renamed import renamed_arguments

__all__ = ["EpitomeStdConv2d"]


class EpitomeStdConv2d(EpitomeConv2d):
    r"""Two-dimensional convolution whose weight is sampled from a smaller tensor and then standardized.

    It replaces timm's ``StdConv2d`` and ``ScaledStdConv2d``. To standardize is to shift and scale each output channel's weights
    to mean 0 and variance 1. This needs the complete weight. So the only execution (way to compute the layer) is
    ``materialize``, which samples the complete weight. The layer has fewer params than the dense one, but as many
    multiply-adds. :attr:`weight` is the weight before standardization, as in timm.

    Args:
        in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, padding_mode, device, dtype: Arguments of
            :class:`~nes_lab.nn.conv.EpitomeConv2d`.
        eps: Small number that is added to the variance before dividing.
        gain: True to multiply each output channel's weights by a learned factor, the gain.
        gain_scale: Constant that multiplies all gains.
        same_pad: True for TensorFlow's ``SAME`` padding: an axis of length ``size`` gets ``ceil(size / stride)`` outputs, and
            ``padding`` is ignored.
        **epitome: Keyword arguments of :class:`~nes_lab.nn.conv.EpitomeConv2d`: ``epitome_shape``, and others such as
            ``patch_channels`` and ``routing``.

    Shape:
        - input ``(N, C_in, H, W)``, output ``(N, C_out, H_out, W_out)``

    Raises:
        GeometryError: If a patch does not fit in the epitome; the message names the axis and the lengths of patch and epitome.
        PlanError: If ``execution`` is not ``"materialize"`` or ``"auto"``.
        OptionError: If another option has a value that is not allowed.

    Examples:
        >>> import torch, nes_lab
        >>> layer = nes_lab.EpitomeStdConv2d(16, 32, 3, epitome_shape=(16, 16, 3, 3), padding=1)
        >>> layer(torch.randn(2, 16, 8, 8)).shape, layer.available_executions()
        (torch.Size([2, 32, 8, 8]), ('materialize',))

    Source: Qiao et al., arXiv:1903.10520 (standardized weights); Brock et al., arXiv:2101.08692 (the gain).
    """

    kind = "conv2d_std"
    gain: nn.Parameter | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, ...],
        stride: int | tuple[int, ...] = 1,
        padding: int | tuple[int, ...] | Literal["same", "valid"] = 0,
        dilation: int | tuple[int, ...] = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: Literal["zeros"] = "zeros",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        eps: float = 1e-6,
        gain: bool = False,
        gain_scale: float = 1.0,
        same_pad: bool = False,
        **epitome: Unpack[EpitomeKeywords],
    ) -> None:
        geometry = (in_channels, out_channels, kernel_size, stride, padding, dilation, groups)
        super().__init__(*geometry, bias, padding_mode, device, dtype, **epitome)
        self.eps, self.gain_scale, self.same_pad = eps, gain_scale, same_pad
        self.op = replace(self.op, padding=SAME_TF) if same_pad else self.op
        ones = self.epitome.new_ones(self.out_channels, 1, 1, 1)
        self.register_parameter("gain", nn.Parameter(ones) if gain else None)

    @staticmethod
    def operation(op: LayerOp) -> LayerOp:
        """Return the given convolution, marked as one whose weight is standardized before use."""
        return replace(op, standardized=True)

    @classmethod
    @renamed_arguments(weights="initial_weights")
    def from_conv(
        cls, conv: nn.modules.conv._ConvNd, initial_weights: EpitomeInit = "fit", **epitome: Unpack[EpitomeKeywords]
    ) -> Self:
        """Make the epitome layer that replaces timm's ``StdConv2d`` or ``ScaledStdConv2d``, with its gain and padding.

        Args:
            conv: The dense layer; it is not changed.
            initial_weights: ``"fit"``: the epitome is the one whose sampled weight is nearest to the dense weight; ``"reset"``:
                each cell takes the value of one weight that reads it; ``"none"``: epitome and bias are random and the gain is
                1.
            **epitome: Keyword arguments of the new layer: ``epitome_shape``, and others such as ``patch_channels`` and
                ``routing``.
        """
        gain = getattr(conv, "gain", None)
        settings: dict[str, Any] = {
            "eps": conv.eps,
            "same_pad": getattr(conv, "same_pad", False),
            "gain": gain is not None,
        }
        settings |= {} if gain is None else {"gain_scale": conv.scale}
        layer = super().from_conv(conv, initial_weights, **settings, **epitome)
        if layer.gain is not None and gain is not None and not gain.is_meta and initial_weights != "none":
            layer.gain.data.copy_(gain.detach())
        return layer

    def forward(self, input: Tensor) -> Tensor:
        """Sample the weight, standardize it, and convolve the input with it."""
        if isinstance(input, Proxy):
            return record_call(self, input)
        return self.op(input, self._standardized_weight(input), self.bias)

    def _standardized_weight(self, x: Tensor) -> Tensor:
        """Sample the weight for one input, and standardize it. Without gradients it is kept, as long as nothing changes."""

        def build() -> Tensor:
            return self.standardized(sample_patches(self.cells(), self._taps_for(x), self.geometry))

        if torch.is_grad_enabled() or self.training or torch.jit.is_tracing():
            self._inference.clear()
            return build()
        name = f"standardized, {self.eps}, {self.gain_scale}"
        return self._inference.get(name, (self.epitome, self.gain, *self.routing.stored_tables()), build)

    def standardized(self, weight: Tensor) -> Tensor:
        """Shift and scale each output channel of a weight to mean 0 and variance 1, then multiply it by its gain."""
        factor = None if self.gain is None else (self.gain * self.gain_scale).flatten()
        channels = weight.reshape(1, self.out_channels, -1)
        channels = F.batch_norm(channels, None, None, weight=factor, training=True, momentum=0.0, eps=self.eps)
        return channels.reshape_as(weight)

    def stored_params(self) -> int:
        """Count the numbers that the layer stores for inference.

        These are the epitome, the bias, the gain (one learned factor per output channel), and the starts (positions of
        patches in the epitome). Starts that a fixed rule sets are not counted.
        """
        return super().stored_params() + (0 if self.gain is None else self.gain.numel())

    def plain(self) -> nn.Module:
        """Make a plain convolution whose weight is the standardized weight of this layer."""
        make = EpitomeConv2dSame if self.same_pad else EpitomeConv2d
        conv = make.plain(self)  # type: ignore[arg-type]
        with torch.no_grad():
            conv.weight.copy_(self.standardized(self.materialize()))  # type: ignore[union-attr, operator]
        return conv
