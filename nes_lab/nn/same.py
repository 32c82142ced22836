"""Provide convolutions with TensorFlow's ``SAME`` padding: an axis of length ``size`` gets ``ceil(size / stride)`` outputs.

The number of zeros depends on the size of the input.

Tests: tests/nn/test_kinds.py
"""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor, nn

from nes_lab.execution.base import SAME_TF, LayerOp
from nes_lab.nn.conv import EpitomeConv2d
from nes_lab.nn.dense import fill_dense

__all__ = ["Conv2dSame", "EpitomeConv2dSame"]


class Conv2dSame(nn.Conv2d):
    """Dense convolution with TensorFlow's ``SAME`` padding; the argument ``padding`` is ignored.

    An axis of length ``size`` gets ``ceil(size / stride)`` outputs.

    Shape:
        - input ``(N, C_in, H, W)``, output ``(N, C_out, ceil(H / stride), ceil(W / stride))``

    Examples:
        >>> import torch
        >>> Conv2dSame(3, 8, 3, stride=2)(torch.randn(1, 3, 7, 8)).shape
        torch.Size([1, 8, 4, 4])
    """

    def forward(self, input: Tensor) -> Tensor:
        """Pad the input with zeros, as TensorFlow's ``SAME`` does, and convolve the padded input."""
        op = LayerOp(self.kernel_size, self.stride, SAME_TF, self.dilation, self.groups)
        return op(input, self.weight, self.bias)


class EpitomeConv2dSame(EpitomeConv2d):
    r"""Two-dimensional convolution with TensorFlow's ``SAME`` padding, whose weight is sampled from a smaller tensor.

    Zeros are added so that an axis of length ``size`` has ``ceil(size / stride)`` outputs. If the number of zeros is odd, the end
    gets one more than the beginning. A layer that replaced timm's ``Conv2dSame`` becomes a ``Conv2dSame`` again when it is
    converted to a dense layer.

    Args:
        in_channels, out_channels, kernel_size, stride, dilation, groups, bias, device, dtype: Arguments of
            :class:`torch.nn.Conv2d`.
        padding_mode: Only ``"zeros"`` is allowed.
        padding: Ignored: the size of the input sets the number of zeros.
        epitome_shape: Shape of the epitome, ``(E_out, E_in, E_h, E_w)``: its lengths along output channels, input channels and
            the two kernel axes.
        patch_channels, routing, scope, boundary, execution, seed, windows, epitome_dtype, reach, squash, momentum, learner: Arguments of
            :class:`nes_lab.EpitomeConv2d`, with the same meaning and defaults.

    Shape:
        - input ``(N, C_in, H, W)``, output ``(N, C_out, ceil(H / stride), ceil(W / stride))``

    Raises:
        GeometryError: If a patch does not fit in the epitome; the message names the axis and the lengths of patch and epitome.
        PlanError: If the layer cannot be computed as ``execution`` says; the message says why.
        OptionError: If another option has a value that is not allowed.

    Examples:
        >>> import torch, nes_lab
        >>> layer = nes_lab.EpitomeConv2dSame(16, 32, 3, stride=2, epitome_shape=(16, 16, 3, 3))
        >>> layer(torch.randn(2, 16, 7, 8)).shape
        torch.Size([2, 32, 4, 4])

    Source: Zhou et al., ICLR 2020, arXiv:1907.05642; the padding is TensorFlow's, as in timm's ``Conv2dSame``.
    """

    kind = "conv2d_same"

    @staticmethod
    def operation(op: LayerOp) -> LayerOp:
        """Return a convolution like the given one, but with TensorFlow's ``SAME`` padding."""
        return replace(op, padding=SAME_TF)

    def plain(self) -> nn.Module:
        """Make a plain convolution with the sampled weight.

        If the padding is the same for all input sizes and at both ends, it is an ``nn.Conv2d``. Otherwise it is a
        :class:`Conv2dSame`.
        """
        reach = [d * (k - 1) for d, k in zip(self.dilation, self.kernel_size, strict=True)]
        static = all(s == 1 for s in self.stride) and all(r % 2 == 0 for r in reach)
        make, padding = (nn.Conv2d, tuple(r // 2 for r in reach)) if static else (Conv2dSame, (0, 0))
        conv = make(
            self.in_channels,
            self.out_channels,
            self.kernel_size,  # type: ignore[arg-type]
            self.stride,  # type: ignore[arg-type]
            padding,  # type: ignore[arg-type]
            self.dilation,  # type: ignore[arg-type]
            self.groups,
            self.bias is not None,
            device=self.epitome.device,
            dtype=self.epitome.dtype,
        )
        return fill_dense(conv, self)
