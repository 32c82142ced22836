"""Measure single convolutions: ``factored`` and its floor beside the dense layer, and factorized layers of equal params."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec

import torch
from torch import Tensor, nn

from benchmarks.opponents import factorized_layer
from benchmarks.speed_parts.floors import LayerFloor
from benchmarks.speed_parts.record import Row, compare
from benchmarks.speed_parts.settings import Job, Settings
from benchmarks.speed_parts.timing import take_turns
from nes_lab.cost.count import count
from nes_lab.epitome.taps import start_limits
from nes_lab.nn.conv import EpitomeConv2d
from nes_lab.nn.layer import EpitomeLayer

__all__ = ["AXES", "MOBILENETV2", "RESNET50", "Shape", "dense_layer", "epitome_layer", "jobs"]

AXES = {"input axis": (1.0, 0.5), "output axis": (0.5, 1.0), "both axes": (0.5, 0.5)}
"""Cells of the output axis and of the input axis, as shares of the channels."""
ALLOWANCE = {"integer": 0.15, "fractional": 0.25}


@dataclass(frozen=True)
class Shape:
    """The shape of a convolution of stride 1; ``size`` is the height and width of its input."""

    network: str
    kernel: int
    c_in: int
    c_out: int
    size: int

    def __str__(self) -> str:
        return f"{self.kernel}x{self.kernel} {self.c_in}-{self.c_out} at {self.size} px"

    @property
    def madds(self) -> int:
        """Return the multiply-adds of the dense layer for one image."""
        return self.size**2 * self.kernel**2 * self.c_in * self.c_out

    @property
    def has_target(self) -> bool:
        """Check whether the target for single layers applies."""
        return self.madds >= 20e6 and min(self.c_in, self.c_out) >= 64


def _stage(planes: int, size: int) -> tuple[Shape, ...]:
    return (
        Shape("resnet50", 1, 4 * planes, planes, size),
        Shape("resnet50", 3, planes, planes, size),
        Shape("resnet50", 1, planes, 4 * planes, size),
    )


RESNET50 = (*_stage(64, 56), *_stage(128, 28), *_stage(256, 14), *_stage(512, 7))
MOBILENETV2 = tuple(
    Shape("mobilenetv2", 1, c_in, c_out, size)
    for c_in, c_out, size in ((24, 144, 56), (144, 24, 56), (96, 576, 14), (576, 96, 14), (160, 960, 7), (320, 1280, 7))
)


def jobs(settings: Settings) -> Iterator[Job]:
    """Yield one job per shape and batch, and one for the factorized layers."""
    shapes = (RESNET50[4], MOBILENETV2[4]) if settings.quick else (*RESNET50, *MOBILENETV2)
    for shape in shapes:
        for batch in (1, 32):
            name = f"layers/{shape.network}/{shape}/batch {batch}"
            yield Job(name, partial(_measure, shape, batch, settings))
    missing = None if find_spec("tltorch") else "tensorly-torch is not installed (extra bench)"
    for batch in (1, 32):
        yield Job(
            f"factorized/{RESNET50[4]}/batch {batch}", partial(_factorized, RESNET50[4], batch, settings), missing
        )


def epitome_layer(
    shape: Shape, shares: tuple[float, float], starts: str, seed: int, round_to: int = 4
) -> EpitomeConv2d:
    """Return an epitome convolution that runs ``factored``: tiled, or with frozen fractional starts and patches of up to 16 channels."""
    channels = (shape.c_out, shape.c_in)
    cells = [
        c if share == 1 else int(c * share) // round_to * round_to for c, share in zip(channels, shares, strict=True)
    ]
    fractional = starts == "fractional"
    # a patch as long as its axis has one start only, so an axis that is not shrunk has the complete axis as its patch
    patch = tuple(min(16, n // 2) if n < c else n for n, c in zip(cells, channels, strict=True))
    layer = EpitomeConv2d(
        shape.c_in,
        shape.c_out,
        shape.kernel,
        padding=shape.kernel // 2,
        bias=False,
        epitome_shape=(*cells, shape.kernel, shape.kernel),
        patch_channels=patch if fractional else None,  # type: ignore[arg-type]
        routing="free" if fractional else "tiled",
        execution="factored",
    )
    if fractional:
        _move(layer, seed)
        layer.freeze()
    return layer.eval().requires_grad_(False)


def _move(layer: EpitomeLayer, seed: int) -> None:
    """Move every start to a random position between two cells."""
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for axis, table in layer.routing.tables():
            starts = layer.routing.read(axis)
            below = torch.minimum(starts, start_limits(layer.geometry, axis, table) - 1).clamp_min(0)
            layer.routing.set_starts_(axis, below + torch.empty_like(table).uniform_(0.1, 0.9, generator=draw))


def _measure(shape: Shape, batch: int, settings: Settings) -> list[Row]:
    torch.manual_seed(settings.seed)
    x = torch.randn(settings.batch(batch), shape.c_in, shape.size, shape.size)
    dense = dense_layer(shape)
    rows = []
    for axes, shares in AXES.items():
        for starts in ALLOWANCE:
            layer = epitome_layer(
                shape, shares, starts, settings.seed
            )  # outside inference_mode: its tensors are never cached
            with torch.inference_mode():
                rows.append(_one(shape, x, dense, layer, axes, starts, settings) | {"batch": batch})
    return rows


def _one(
    shape: Shape, x: Tensor, dense: nn.Module, layer: EpitomeConv2d, axes: str, starts: str, settings: Settings
) -> Row:
    floor = LayerFloor(layer, x)
    calls = {"dense": partial(dense, x), "epitome": partial(layer, x), "floor": floor}
    times = take_turns(calls, settings.effort(0.5))
    share = layer.cost(tuple(x.shape)).madds / (shape.madds * x.shape[0])
    target = {"key": f"layer_{starts}", "target": share + ALLOWANCE[starts]} if shape.has_target else {}
    return compare(
        times,
        "epitome",
        "dense",
        str(shape),
        network=shape.network,
        axes=axes,
        starts=starts,
        madd_ratio=share,
        params_ratio=layer.stored_params() / dense.weight.numel(),  # type: ignore[union-attr, operator]
        floor=times.ratio("floor", "dense"),
        **target,
    )


def dense_layer(shape: Shape) -> nn.Conv2d:
    """Return the dense convolution of a shape."""
    conv = nn.Conv2d(shape.c_in, shape.c_out, shape.kernel, padding=shape.kernel // 2, bias=False)
    return conv.eval().requires_grad_(False)


def _factorized(shape: Shape, batch: int, settings: Settings) -> list[Row]:
    """Measure layers of about half the params: tiled epitomes, Tucker, CP."""
    torch.manual_seed(settings.seed)
    x = torch.randn(settings.batch(batch), shape.c_in, shape.size, shape.size)
    dense = dense_layer(shape)
    layers: dict[str, nn.Module] = {
        f"epitome, {axes}": epitome_layer(shape, AXES[axes], "integer", settings.seed)
        for axes in ("input axis", "output axis")
    }
    for kind in ("tucker", "cp"):
        layers[f"tensorly-torch {kind}"] = factorized_layer(dense, dense.weight.numel() / 2, kind)
    with torch.inference_mode():
        calls: dict[str, Callable[[], object]] = {name: partial(m, x) for name, m in {"dense": dense, **layers}.items()}
        times = take_turns(calls, settings.effort(1.0))
    full = count(dense, x)
    rows = []
    for name, layer in layers.items():
        cost = count(layer, x)
        shares = {"madd_ratio": cost.madds / full.madds, "params_ratio": cost.params / full.params}
        rows.append(compare(times, name, "dense", str(shape), batch=batch, **shares))
    return rows
