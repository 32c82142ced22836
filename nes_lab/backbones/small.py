"""Define a small MobileNetV2 for small images, made of the same blocks as the original."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from nes_lab.backbones.stage_widths import stage_widths

__all__ = ["InvertedBlock", "SmallMobileNetV2"]

# Stages as (expansion, channels, blocks, stride), from Sandler et al., CVPR 2018, scaled down to images of 8 to 32 pixels
_STAGES = ((1, 16, 1, 1), (4, 24, 2, 1), (4, 40, 2, 2), (4, 64, 1, 1))
_STEM, _HEAD = 16, 128


class InvertedBlock(nn.Module):
    """Inverted residual block with three convolutions: 1x1 expand, 3x3 depthwise, 1x1 project.

    The input is added to the output if their shapes agree.

    Args:
        c_in, c_out: Channels of input and output.
        expansion: Number of hidden channels per input channel. With 1, the expand convolution is left out.
        stride: Stride of the depthwise convolution.

    Shape:
        - input ``(N, c_in, H, W)``, output ``(N, c_out, ceil(H / stride), ceil(W / stride))``
    """

    def __init__(self, c_in: int, c_out: int, expansion: int, stride: int) -> None:
        super().__init__()
        hidden = c_in * expansion
        self.residual = stride == 1 and c_in == c_out
        self.expand = _conv_norm(c_in, hidden, 1) if expansion > 1 else nn.Identity()
        self.depthwise = _conv_norm(hidden, hidden, 3, stride, groups=hidden)
        self.project = _conv_norm(hidden, c_out, 1, activation=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the output of the inverted residual block for input ``x``."""
        y = self.project(self.depthwise(self.expand(x)))
        return x + y if self.residual else y


class SmallMobileNetV2(nn.Module):
    """A small MobileNetV2 for small images: stem, six inverted residual blocks, 1x1 head, linear classifier.

    Args:
        num_classes: Number of outputs.
        in_channels: Channels of the image.
        width: Multiplies the number of channels of every layer; the result is rounded to an even number.
        widths: Channels of the stem, the four stages and the head; None: ``(16, 16, 24, 40, 64, 128)`` times ``width``.

    Shape:
        - input ``(N, in_channels, H, W)`` with ``H`` and ``W`` of 8 or more, output ``(N, num_classes)``

    Examples:
        >>> SmallMobileNetV2(10, in_channels=1)(torch.randn(2, 1, 8, 8)).shape
        torch.Size([2, 10])
    """

    def __init__(
        self, num_classes: int, in_channels: int = 3, width: float = 1.0, widths: Sequence[int] | None = None
    ) -> None:
        super().__init__()
        usual = (_STEM, *(channels for _, channels, _, _ in _STAGES), _HEAD)
        channels, *stages, head = stage_widths(usual, width, widths, step=2)
        self.stem = _conv_norm(in_channels, channels, 3)
        blocks: list[nn.Module] = []
        for (expansion, _, repeats, stride), after in zip(_STAGES, stages, strict=True):
            for index in range(repeats):
                blocks.append(InvertedBlock(channels, after, expansion, stride if index == 0 else 1))
                channels = after
        self.blocks = nn.Sequential(*blocks)
        self.head = _conv_norm(channels, head, 1)
        self.classifier = nn.Linear(head, num_classes)
        self.default_cfg = {"first_conv": "stem.0", "classifier": "classifier"}
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")

    def forward(self, x: Tensor) -> Tensor:
        """Return the class scores (logits) of a batch of images."""
        return self.classifier(self.head(self.blocks(self.stem(x))).mean((2, 3)))


def _conv_norm(
    c_in: int, c_out: int, kernel: int, stride: int = 1, groups: int = 1, activation: bool = True
) -> nn.Sequential:
    layers = [
        nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(c_out),
    ]
    return nn.Sequential(*layers, nn.ReLU6()) if activation else nn.Sequential(*layers)
