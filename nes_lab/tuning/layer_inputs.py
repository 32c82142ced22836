"""How the epitome layers of a network are called: the layouts of their inputs in one forward, and the conditions around it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from nes_lab.cost.count import input_shape, run_example
from nes_lab.cost.timing import device_name
from nes_lab.nn.inspect import epitome_layers
from nes_lab.nn.layer import EpitomeLayer
from nes_lab.records.tune_report import TuneKey

__all__ = ["Calls", "Layout", "record_calls", "tune_key"]


@dataclass(frozen=True)
class Layout:
    """What a layer's input is, but for its numbers."""

    shape: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype
    device: torch.device

    @classmethod
    def of(cls, x: Tensor) -> Layout:
        """The layout of a tensor."""
        return cls(tuple(x.shape), x.stride(), x.dtype, x.device)

    def make(self) -> Tensor:
        """A tensor of this layout, of normal numbers; an expanded axis is written out."""
        stride = self.stride if 0 not in self.stride else torch.empty(self.shape, device="meta").stride()
        empty = torch.empty_strided(self.shape, stride, dtype=self.dtype, device=self.device)
        return empty.normal_(generator=torch.Generator(self.device).manual_seed(0))

    @property
    def channels_last(self) -> bool:
        """Whether the channels of a batch of images lie innermost."""
        return len(self.shape) == 4 and self.stride[1] < self.stride[3]


Calls = dict[str, Counter[Layout]]
"""Per layer, how often it is called with inputs of each layout."""


def record_calls(model: nn.Module, example_input: Any) -> Calls:
    """Run a model once and note what its epitome layers are called with.

    Forwards are wrapped for the time, not hooked: torch's transformer layers leave their fast path where there are hooks.

    Args:
        model: In the mode it is to be looked at.
        example_input: As :func:`nes_lab.count` takes it.

    Raises:
        OptionError: If the model cannot run the example input.

    Examples:
        >>> from nes_lab.nn import EpitomeLinear
        >>> layer = EpitomeLinear(4, 8, epitome_shape=(4, 4))
        >>> [(x.shape, n) for x, n in record_calls(nn.Sequential(layer), torch.randn(2, 4))["0"].items()]
        [((2, 4), 1)]
    """
    layers = dict(epitome_layers(model))
    calls: Calls = {name: Counter() for name in layers}
    for name, layer in layers.items():
        layer.forward = _recorder(layer, calls[name])
    try:
        with torch.inference_mode():
            run_example(model, example_input)
    finally:
        for layer in layers.values():
            del layer.forward
    return calls


def _recorder(layer: EpitomeLayer, calls: Counter[Layout]) -> Callable[[Tensor], Tensor]:
    forward = layer.forward

    def recording(input: Tensor) -> Tensor:
        calls[Layout.of(input)] += 1
        return forward(input)

    return recording


def tune_key(model: nn.Module, example_input: Any, calls: Calls) -> TuneKey:
    """The conditions under which these calls are timed."""
    _, first = next(epitome_layers(model))
    device, dtype = first.epitome.device, str(first.epitome.dtype)
    if torch.is_autocast_enabled(device.type):
        dtype = f"autocast {torch.get_autocast_dtype(device.type)}"
    last = any(layout.channels_last for layouts in calls.values() for layout in layouts)
    return TuneKey(
        device=device_name(device),
        dtype=dtype.replace("torch.", ""),
        input_shape=input_shape(example_input),
        memory_format="channels_last" if last else "contiguous",
        threads=torch.get_num_threads(),
        torch=torch.__version__,
    )
