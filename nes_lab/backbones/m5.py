"""Define M5, a convolutional network for raw sound."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from nes_lab.backbones.stage_widths import stage_widths
from nes_lab.errors import OptionError

__all__ = ["M5"]

_CHANNELS = (128, 128, 256, 512)
_FIRST_KERNEL, _FIRST_STRIDE, _KERNEL, _POOL = 80, 4, 3, 4
_SHORTEST = _FIRST_STRIDE * _POOL**4


class M5(nn.Module):
    """M5, a network for raw sound: four 1-D convolutions with batch norm, ReLU and max pooling, and a linear classifier.

    The classifier gets the mean over time. The first convolution has stride 4 and a kernel of 80 samples.

    Args:
        num_classes: Number of outputs.
        in_channels: Channels of the sound; 1 for mono.
        width: Multiplies the number of channels of every layer; the result is rounded to an even number.
        widths: Channels of the four convolutions; None: ``(128, 128, 256, 512)`` times ``width``.

    Shape:
        - input ``(N, in_channels, T)`` with ``T`` of 1,024 or more, output ``(N, num_classes)``

    Raises:
        OptionError: If ``width`` is not above 0 and at most 8. ``forward`` raises it if a clip is too short or the input is not
            sound.

    Examples:
        >>> import torch
        >>> M5(num_classes=10, width=0.25)(torch.zeros(2, 1, 4000)).shape
        torch.Size([2, 10])

    Source: Dai et al., ICASSP 2017, arXiv:1610.00087, table 1 (M5). Differences from the paper: this network ends with a linear
    layer and without softmax, and its convolutions pad their input, so clips may have any length from 1,024 samples.
    """

    def __init__(
        self, num_classes: int = 10, in_channels: int = 1, width: float = 1.0, widths: Sequence[int] | None = None
    ) -> None:
        super().__init__()
        before, blocks = in_channels, []
        for index, after in enumerate(stage_widths(_CHANNELS, width, widths, step=2)):
            blocks.append(_block(before, after, first=index == 0))
            before = after
        self.blocks = nn.Sequential(*blocks)
        self.classifier = nn.Linear(before, num_classes)
        self.default_cfg = {"first_conv": "blocks.0.0", "classifier": "classifier"}
        for module in self.modules():
            if isinstance(module, nn.Conv1d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """Return the class scores (logits) of a batch of sounds."""
        if x.ndim != 3:
            raise OptionError(
                f"input of shape {tuple(x.shape)}: m5 takes sound, (batch, channels, samples); for images choose another "
                "backbone, such as small_mobilenetv2"
            )
        if x.shape[-1] < _SHORTEST:
            raise OptionError(f"clips of {x.shape[-1]} samples are too short for m5, which needs {_SHORTEST} or more")
        return self.classifier(self.blocks(x).mean(-1))


def _block(c_in: int, c_out: int, first: bool) -> nn.Sequential:
    kernel, stride = (_FIRST_KERNEL, _FIRST_STRIDE) if first else (_KERNEL, 1)
    padding = (kernel - stride) // 2 if first else kernel // 2
    return nn.Sequential(
        nn.Conv1d(c_in, c_out, kernel, stride, padding, bias=False),
        nn.BatchNorm1d(c_out),
        nn.ReLU(inplace=True),
        nn.MaxPool1d(_POOL),
    )
