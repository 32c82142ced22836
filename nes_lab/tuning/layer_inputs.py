"""Record what the time of a layer depends on: the layout of its inputs, the device, and the number of threads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from nes_lab.cost.probe import input_shape, run_example
from nes_lab.cost.timing import device_name
from nes_lab.nn.inspect import epitome_layers
from nes_lab.nn.layer import EpitomeLayer
from nes_lab.records.tune_report import TuneKey

__all__ = ["Calls", "InputLayout", "record_calls", "tune_key"]


@dataclass(frozen=True)
class InputLayout:
    """The layout of a layer's input: shape, stride, dtype and device. With the same layout, a layer takes the same time.

    Args:
        shape: Shape of the input.
        stride: Distance in memory between neighbors along each axis, in elements, as ``Tensor.stride`` returns it.
        dtype: Dtype of the input.
        device: Device of the input.
    """

    shape: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype
    device: torch.device

    @classmethod
    def of(cls, x: Tensor) -> InputLayout:
        """Return the layout of a tensor: shape, stride, dtype and device."""
        return cls(tuple(x.shape), x.stride(), x.dtype, x.device)

    def make(self) -> Tensor:
        """Return a new tensor of this layout, filled with normally distributed random numbers.

        An expanded axis (stride 0) becomes an ordinary axis: each element gets its own memory.
        """
        stride = self.stride if 0 not in self.stride else torch.empty(self.shape, device="meta").stride()
        empty = torch.empty_strided(self.shape, stride, dtype=self.dtype, device=self.device)
        return empty.normal_(generator=torch.Generator(self.device).manual_seed(0))

    @property
    def channels_last(self) -> bool:
        """True for a batch of images in torch's ``channels_last`` memory format."""
        return len(self.shape) == 4 and self.stride[1] < self.stride[3]


Calls = dict[str, Counter[InputLayout]]
"""For each layer name, how often the layer is called with inputs of each layout."""


def record_calls(model: nn.Module, example_input: Any) -> Calls:
    """Run a model once and record the layouts (shape, stride, dtype, device) of the inputs of its epitome layers.

    During the run, the ``forward`` method of each epitome layer is replaced. Hooks are not used, because torch's transformer
    layers leave their fast path if a submodule has hooks.

    Args:
        model: The model, in the mode (training or evaluation) in which it will be used.
        example_input: Input of the model: a tensor, a tuple of positional arguments, or a dict of keyword arguments.

    Returns:
        A dict from layer name to the layouts of the layer's inputs, with the number of calls for each layout.

    Raises:
        OptionError: If the model cannot run the example input.

    Examples:
        >>> from nes_lab.nn.linear import EpitomeLinear
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


def _recorder(layer: EpitomeLayer, calls: Counter[InputLayout]) -> Callable[[Tensor], Tensor]:
    forward = layer.forward

    def recording(input: Tensor) -> Tensor:
        calls[InputLayout.of(input)] += 1
        return forward(input)

    return recording


def tune_key(model: nn.Module, example_input: Any, calls: Calls) -> TuneKey:
    """Return the conditions under which the layers of a model are timed, such as its device, dtype and input shape.

    Args:
        model: A model with epitome layers.
        example_input: Input of the model.
        calls: Result of :func:`record_calls` for the model. The memory format is taken from it.
    """
    _, first = next(epitome_layers(model))
    device, dtype = first.epitome.device, str(first.epitome.dtype)
    if torch.is_autocast_enabled(device.type):
        dtype = f"autocast {torch.get_autocast_dtype(device.type)}"
    channels_last = any(layout.channels_last for layouts in calls.values() for layout in layouts)
    return TuneKey(
        device=device_name(device),
        dtype=dtype.replace("torch.", ""),
        input_shape=input_shape(example_input),
        memory_format="channels_last" if channels_last else "contiguous",
        threads=torch.get_num_threads(),
        torch=torch.__version__,
    )
