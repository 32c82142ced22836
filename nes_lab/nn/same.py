"""Provide convolutions with TensorFlow's ``SAME`` padding, which depends on the size of the input.

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
    """Dense convolution that pads its input so that there are ``ceil(size / stride)`` outputs; it ignores ``padding``.

    Shape:
        - input ``(N, C_in, H, W)``, output ``(N, C_out, ceil(H / stride), ceil(W / stride))``

    Examples:
        >>> import torch
        >>> Conv2dSame(3, 8, 3, stride=2)(torch.randn(1, 3, 7, 8)).shape
        torch.Size([1, 8, 4, 4])
    """

    def forward(self, input: Tensor) -> Tensor:
        """Pad the input with zeros, as TensorFlow's ``SAME`` does, and convolve it."""
        op = LayerOp(self.kernel_size, self.stride, SAME_TF, self.dilation, self.groups)
        return op(input, self.weight, self.bias)


class EpitomeConv2dSame(EpitomeConv2d):
    r"""Two-dimensional convolution with TensorFlow's ``SAME`` padding, its weight sampled from a smaller tensor.

    The arguments are those of :class:`~nes_lab.nn.conv.EpitomeConv2d`, but ``padding`` is ignored. Zeros are added so that there are
    ``ceil(size / stride)`` outputs; if their number is odd, the end gets one more than the beginning. A layer that was made from
    timm's ``Conv2dSame`` becomes one again when it is converted to a dense layer.

    Shape:
        - input ``(N, C_in, H, W)``, output ``(N, C_out, ceil(H / stride), ceil(W / stride))``

    Examples:
        >>> import torch
        >>> layer = EpitomeConv2dSame(16, 32, 3, stride=2, epitome_shape=(16, 16, 3, 3))
        >>> layer(torch.randn(2, 16, 7, 8)).shape
        torch.Size([2, 32, 4, 4])
    """

    kind = "conv2d_same"

    @staticmethod
    def operation(op: LayerOp) -> LayerOp:
        """Return the operation with TensorFlow's ``SAME`` padding, which depends on the size of the input."""
        return replace(op, padding=SAME_TF)

    def plain(self) -> nn.Module:
        """Make a plain convolution with the sampled weight.

        It is torch's own if inputs of every size get the same padding, equal on both sides; otherwise a :class:`Conv2dSame`.
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
