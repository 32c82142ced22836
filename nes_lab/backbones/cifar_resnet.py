"""Define ResNet-14, -20, -32, -44 and -56 for 32-pixel images, following the ResNet paper (He et al., 2016)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch.nn.functional as F
from torch import Tensor, nn

from nes_lab.backbones.stage_widths import stage_widths

__all__ = ["CIFAR_RESNETS", "CifarBlock", "CifarResNet"]

_WIDTHS = (16, 32, 64)


class CifarBlock(nn.Module):
    """Residual block: two 3x3 convolutions with batch norms, and a shortcut without params (option A of the ResNet paper).

    If the shape changes, the shortcut keeps every ``stride``-th pixel and adds channels of zeros. Half of them come
    before the input's channels and half after.

    Args:
        c_in, c_out: Channels of input and output.
        stride: Stride of the first convolution.

    Shape:
        - input ``(N, c_in, H, W)``, output ``(N, c_out, ceil(H / stride), ceil(W / stride))``
    """

    def __init__(self, c_in: int, c_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(c_in, c_out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(c_out)
        self.conv2 = nn.Conv2d(c_out, c_out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(c_out)
        self.stride, self.more = stride, c_out - c_in

    def forward(self, x: Tensor) -> Tensor:
        """Return the output of the residual block for input ``x``."""
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.stride != 1 or self.more:
            before = self.more // 2
            x = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, before, self.more - before))
        return F.relu(y + x)


class CifarResNet(nn.Module):
    """A ResNet for images of about 32x32 pixels, with three stages and ``6 * blocks + 2`` layers.

    Its state dict has the same names as published weights: ``conv1``, ``bn1``, ``layer1.0.conv1`` ... ``linear``.

    Args:
        blocks: Residual blocks per stage: 2, 3, 5, 7, 9 for ResNet-14, -20, -32, -44, -56.
        num_classes: Number of outputs.
        in_channels: Channels of the image.
        width: Multiplies the number of channels of every layer; the result is rounded to an integer.
        widths: Channels of the three stages, such as ``(11, 22, 45)``; None: ``(16, 32, 64)`` times ``width``.

    Shape:
        - input ``(N, in_channels, H, W)``, output ``(N, num_classes)``

    Examples:
        >>> net = CifarResNet(3, 10)
        >>> net(torch.randn(2, 3, 32, 32)).shape, sum(p.numel() for p in net.parameters())
        (torch.Size([2, 10]), 269722)

    Source: He et al., *Deep Residual Learning for Image Recognition*, CVPR 2016, section 4.2.
    """

    def __init__(
        self,
        blocks: int,
        num_classes: int,
        in_channels: int = 3,
        width: float = 1.0,
        widths: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        widths = stage_widths(_WIDTHS, width, widths, most=16)
        self.conv1 = nn.Conv2d(in_channels, widths[0], 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0])
        self.layer1 = _stage(widths[0], widths[0], blocks, 1)
        self.layer2 = _stage(widths[0], widths[1], blocks, 2)
        self.layer3 = _stage(widths[1], widths[2], blocks, 2)
        self.linear = nn.Linear(widths[2], num_classes)
        self.default_cfg = {"first_conv": "conv1", "classifier": "linear"}
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Return the class scores (logits) of a batch of images."""
        x = F.relu(self.bn1(self.conv1(x)))
        return self.linear(self.layer3(self.layer2(self.layer1(x))).mean((2, 3)))


def _stage(c_in: int, c_out: int, blocks: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        *(CifarBlock(c_in if i == 0 else c_out, c_out, stride if i == 0 else 1) for i in range(blocks))
    )


CIFAR_RESNETS: dict[str, Callable[..., nn.Module]] = {
    f"cifar_resnet{6 * blocks + 2}": partial(CifarResNet, blocks) for blocks in (2, 3, 5, 7, 9)
}
"""Constructors of the CIFAR ResNets, by name, from ``cifar_resnet14`` to ``cifar_resnet56``."""
